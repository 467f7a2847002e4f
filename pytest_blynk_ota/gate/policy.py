"""The policy: what a release has to show. TOML, read as a whole, every mistake said at once.

See ``docs/reference/policy.md`` for the keys.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pydantic import ValidationError

from pytest_blynk_ota.errors import ConfigError
from pytest_blynk_ota.gate.mistakes import sentences
from pytest_blynk_ota.gate.policy_checks import mistakes_across, scenarios_of
from pytest_blynk_ota.gate.policy_file import TABLES, File, LineSection
from pytest_blynk_ota.gate.sequential import Walk, plan
from pytest_blynk_ota.gate.statistics import runs_needed


@dataclass(frozen=True, slots=True)
class Demand:
    """How many runs something takes, and how many of them may fail.

    Attributes:
        runs: the least number of results that can decide, all of them passed or all but
            ``allowed``.
        allowed: failures with which it passes.
        rate: failure rate that has to be shown; None: none.
        confidence: with which.
        walk: the plan of a test that stops early; None: the count is fixed.
    """

    runs: int
    allowed: int = 0
    rate: float | None = None
    confidence: float | None = None
    walk: Walk | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the policy, ready to be judged.

    Attributes:
        scenarios: ids, in the policy's order.
        repetitions: results that each scenario needs.
        pool: whether all scenarios count together for the rate.
        demand: for each scenario, or for all together.
        max_age_s: of the evidence, in seconds.
        findings: what each named finding does.
    """

    name: str
    property: str | None
    scenarios: tuple[str, ...]
    chips: tuple[str, ...]
    rig: str
    tested_as: str
    repetitions: int
    pool: bool
    demand: Demand
    max_age_s: float
    findings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Waiver:
    """A scenario of a line that need not be shown until the end of a day, in UTC.

    Attributes:
        chips: on these; None: on any.
    """

    line: str
    scenario: str
    chips: tuple[str, ...] | None
    reason: str
    owner: str
    until: date

    def expired(self, now: float) -> bool:
        """Whether the day is over, at so many seconds since the epoch."""
        return datetime.fromtimestamp(now, UTC).date() > self.until

    def __str__(self) -> str:
        on = f" on {', '.join(self.chips)}" if self.chips else ""
        return f"{self.scenario}{on} of {self.line!r}, by {self.owner} until {self.until}: " + (
            self.reason
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, checked.

    Attributes:
        sha256: of the file's bytes.
        rig_errors: the part of all results that may be errors of the rack.
        derived: derivations whose evidence counts for the binary.
        judge_again: whether each stored verdict is decided again.
        max_age_s: of evidence, where a line does not say it, in seconds.
        other_failures: what failures do that no line asks about.
        worse: what it does that New fails more often than the last release; None: not compared.
        worse_confidence: with which that has to be shown.
    """

    name: str
    sha256: str
    lines: tuple[Line, ...]
    waivers: tuple[Waiver, ...]
    rig_errors: float
    derived: tuple[str, ...]
    judge_again: bool
    max_age_s: float
    other_failures: str = "fail"
    worse: str | None = None
    worse_confidence: float = 0.95


def read_policy(data: bytes, where: str) -> Policy:
    """A policy from the bytes of its file.

    Args:
        where: the file's name, for messages.

    Raises:
        ConfigError: with every mistake, each with its key.
    """
    try:
        said = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(where, [f"is no TOML: {error}"]) from error
    problems: list[str] = []
    file = None
    try:
        file = File.model_validate(said)
    except ValidationError as error:
        problems += sentences(error.errors(include_url=False), TABLES)
    problems += mistakes_across(said)
    if problems or file is None:
        raise ConfigError(where, list(dict.fromkeys(problems)))
    return _policy(file, hashlib.sha256(data).hexdigest())


def _policy(file: File, sha256: str) -> Policy:
    lines = tuple(_line(one, file) for one in file.line)
    waivers = tuple(
        Waiver(one.line, one.scenario, tuple(one.chips) if one.chips else None, one.reason,
               one.owner, one.until)
        for one in file.waiver
    )  # fmt: skip
    last = file.last_release
    return Policy(
        file.policy.name,
        sha256,
        lines,
        waivers,
        file.policy.rig_errors,
        tuple(file.policy.derived),
        file.policy.judge_again,
        file.policy.max_age,
        file.policy.other_failures,
        last.worse if last else None,
        last.confidence if last else 0.95,
    )


def _line(one: LineSection, file: File) -> Line:
    scenarios = scenarios_of(one, file.properties)
    return Line(
        one.name,
        one.property,
        scenarios,
        tuple(one.chips),
        one.rig,
        one.tested_as,
        one.runs,
        one.pool,
        demand_of(one),
        one.max_age or file.policy.max_age,
        {**file.findings, **one.findings},
    )


def demand_of(one: LineSection) -> Demand:
    """How many runs a line takes. Of a line without mistakes alone."""
    if one.max_failure_rate is None or one.confidence is None:
        return Demand(one.runs, one.failures_allowed)
    rate, confidence = one.max_failure_rate, one.confidence
    if one.sequential is not None:
        walk = plan(one.sequential.good_rate, rate, 1 - confidence, one.sequential.false_fail)
        assert walk is not None
        return Demand(walk.pass_after[0], walk.allowed, rate, confidence, walk)
    needed = runs_needed(rate, confidence, one.failures_allowed)
    assert needed is not None
    return Demand(max(needed, one.runs), one.failures_allowed, rate, confidence)
