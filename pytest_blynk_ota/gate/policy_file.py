"""The tables of a policy file, each key with what it may hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import StrictBool as Bool

from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.words import did_you_mean

KINDS = ("real", "virtual", "emulated", "any")
FINDINGS = (
    "certificate date not checked",
    "certificate host not checked",
    "certificate not checked",
    "confirmation not seen",
    "config lost",
    "confirmed before self-test",
    "crash",
    "digest not checked",
    "false success",
    "fault not reached",
    "hang",
    "heap falling",
    "late",
    "no rollback protection",
    "offline too long",
    "other slot damaged",
    "secret in the log",
    "stall too long",
    "unexpected reset",
    "unexplained loss",
    "went back",
    "will not stay",
)
"""The names that the judge gives; a test holds the two together."""
SCENARIO = re.compile(r"[A-Z]{1,4}[0-9]{1,4}[a-z]?")
PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,8})?) ?%")
AGE = re.compile(r"([0-9]{1,5})(h|d|w)")
HOURS = {"h": 1, "d": 24, "w": 24 * 7}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,79}")
PROPERTY = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
MAX_REPETITIONS = 100_000


def _percent(said: object) -> float:
    """A part of a whole, from text as "1%"."""
    match = PERCENT.fullmatch(said) if isinstance(said, str) else None
    if match is None or float(match[1]) > 100:
        raise ValueError(f'expected a percentage as "1%" or "0.1%", got {shown(said)}')
    return float(match[1]) / 100


def _age(said: object) -> float:
    """Seconds, from text as "36h", "7d" or "2w"."""
    match = AGE.fullmatch(said) if isinstance(said, str) else None
    if match is None or not int(match[1]):
        raise ValueError(f'expected an age as "36h", "7d" or "2w", got {shown(said)}')
    return float(int(match[1]) * HOURS[match[2]] * 3600)


def _date(said: object) -> date:
    if type(said) is not date:
        raise ValueError(f"expected a date as 2026-12-24, without quotes, got {shown(said)}")
    return said


def _words(said: object) -> str:
    if not isinstance(said, str) or not said.strip():
        raise ValueError(f"expected words, got {shown(said)}")
    return said.strip()


def _shaped(what: str, pattern: re.Pattern[str]) -> BeforeValidator:
    def check(said: object) -> str:
        if not isinstance(said, str) or not pattern.fullmatch(said):
            raise ValueError(f"expected {what}, got {shown(said)}")
        return said

    return BeforeValidator(check)


def _one_of(what: str, words: Sequence[str]) -> BeforeValidator:
    def check(said: object) -> str:
        if said in words:
            return str(said)
        hint = did_you_mean(str(said), words)
        raise ValueError(f"expected a {what} ({', '.join(words)}), got {shown(said)}{hint}")

    return BeforeValidator(check)


def _scenario(said: object) -> str:
    if isinstance(said, str) and SCENARIO.fullmatch(said):
        return said
    if isinstance(said, str) and re.fullmatch("[A-Z]{1,4}", said):
        raise ValueError(
            f"{said!r} is a family, which does not say which scenarios have to be there: expected "
            "ids as D22 or D22a"
        )
    raise ValueError(f"expected a scenario's id as D22 or D22a, got {shown(said)}")


def _no_twins(said: list[str]) -> list[str]:
    twins = sorted({one for one in said if said.count(one) > 1})
    if twins:
        raise ValueError(f"{twins[0]!r} stands there twice")
    return said


Percent = Annotated[float, BeforeValidator(_percent)]
Age = Annotated[float, BeforeValidator(_age)]
Words = Annotated[str, BeforeValidator(_words)]
Name = Annotated[str, _shaped("a name of letters, digits, spaces, _ . and -", NAME)]
PropertyName = Annotated[str, _shaped("a name as STALL_RECOVERY", PROPERTY)]
Scenario = Annotated[str, BeforeValidator(_scenario)]
Scenarios = Annotated[list[Scenario], Field(min_length=1), AfterValidator(_no_twins)]
Chip = Annotated[str, _one_of("chip", sorted(CHIPS))]
Finding = Annotated[str, _one_of("finding", FINDINGS)]
What = Annotated[Literal["fail", "warn", "ignore"], _one_of("word", ["fail", "warn", "ignore"])]
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_REPETITIONS)]


class Table(BaseModel):
    """A table of the file in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Head(Table):
    """``[policy]``: what holds for all lines."""

    name: Name
    max_age: Age
    rig_errors: Percent = 0.1
    derived: list[Annotated[str, _one_of("derivation", ["version"])]] = []
    judge_again: Bool = True
    other_failures: Annotated[Literal["fail", "warn"], _one_of("word", ["fail", "warn"])] = "fail"


class Sequential(Table):
    """How a line stops early."""

    good_rate: Percent
    false_fail: Percent = 0.1


class LineSection(Table):
    """``[[line]]``: one thing that has to be shown."""

    name: Name
    property: PropertyName | None = None
    scenarios: Scenarios | None = None
    chips: Annotated[list[Chip], Field(min_length=1), AfterValidator(_no_twins)]
    rig: Annotated[str, _one_of("kind of rig", KINDS)] = "real"
    tested_as: Annotated[str, _one_of("part", ["old", "new", "either"])] = "either"
    runs: Count = 1
    max_failure_rate: Percent | None = None
    confidence: Percent | None = None
    failures_allowed: Annotated[int, Field(strict=True, ge=0, le=1000)] = 0
    pool: Bool = False
    sequential: Sequential | None = None
    max_age: Age | None = None
    findings: dict[Finding, What] = {}


class WaiverSection(Table):
    """``[[waiver]]``: what need not be shown, for a time."""

    line: Name
    scenario: Scenario
    chips: Annotated[list[Chip], Field(min_length=1), AfterValidator(_no_twins)] | None = None
    reason: Words
    owner: Words
    until: Annotated[date, BeforeValidator(_date)]


class LastSection(Table):
    """``[last_release]``: the comparison with it."""

    confidence: Percent = 0.95
    worse: Annotated[Literal["fail", "warn"], _one_of("word", ["fail", "warn"])] = "fail"


class File(Table):
    """A whole policy file."""

    policy: Head
    line: Annotated[list[LineSection], Field(min_length=1)]
    waiver: list[WaiverSection] = []
    properties: dict[PropertyName, Scenarios] = {}
    findings: dict[Finding, What] = {}
    last_release: LastSection | None = None


TABLES: Mapping[str, type[BaseModel]] = {
    "": File,
    "policy": Head,
    "line": LineSection,
    "line.sequential": Sequential,
    "waiver": WaiverSection,
    "last_release": LastSection,
}
