"""A plan: the updates that one run of a campaign makes, and what goes wrong in each. TOML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_blynk_ota.cloud import faults as cloud_faults
from pytest_blynk_ota.cloud.faults import CloudFault
from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.errors import ConfigError, FaultError
from pytest_blynk_ota.rig.words import near

OPS = ("offer", "ship")
KEYS = ("op", "faults", "cloud", "cut", "limit")


@dataclass(frozen=True, slots=True)
class Step:
    """One update.

    Attributes:
        op: ``offer`` or ``ship``.
        faults: of the download, as text.
        cloud: faults of the cloud, as text.
        cut: the part of the file, 0 to 1, at which the power is switched off and on again.
        limit: downloads of a shipment; None: as many as a test's by default.
    """

    op: str = "offer"
    faults: tuple[str, ...] = ()
    cloud: tuple[str, ...] = ()
    cut: float | None = None
    limit: int | None = None

    @property
    def all_faults(self) -> tuple[Fault | CloudFault, ...]:
        """The faults themselves. None of them has to fire: another may end the update before."""
        bad = [one.maybe() for text in self.faults for one in faults.parse_all(text)]
        return (*bad, *(cloud_faults.parse(text).maybe() for text in self.cloud))

    def __str__(self) -> str:
        words = [*self.faults, *self.cloud]
        if self.cut is not None:
            words.append(f"power cut at {self.cut:.0%}")
        if self.limit is not None:
            words.append(f"limit {self.limit}")
        return f"{self.op}: {'; '.join(words) or 'nothing goes wrong'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The updates of one run, one after the other from Old."""

    steps: tuple[Step, ...] = field(default=())

    def __str__(self) -> str:
        return " | ".join(map(str, self.steps))

    def to_toml(self) -> str:
        """As a file, which :func:`load` reads."""
        return "\n".join(_toml(step) for step in self.steps)


def _toml(step: Step) -> str:
    rows = [f"op = {json.dumps(step.op)}"]
    for key in ("faults", "cloud"):
        if texts := getattr(step, key):
            rows.append(f"{key} = {json.dumps(list(texts), ensure_ascii=False)}")
    if step.cut is not None:
        rows.append(f"cut = {step.cut!r}")
    if step.limit is not None:
        rows.append(f"limit = {step.limit}")
    return "\n".join(["[[step]]", *rows, ""])


def load(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: with every mistake of the file, each with its step and its key.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"is no TOML: {error}"]) from error
    return plan_of(data, str(path))


def plan_of(data: Mapping[str, Any], where: str) -> Plan:
    """The same for data that has been read already."""
    problems = [f"{key}: unknown key{near(key, ['step'])}" for key in data if key != "step"]
    steps = data.get("step")
    if not isinstance(steps, list) or not steps or not all(isinstance(s, dict) for s in steps):
        raise ConfigError(where, [*problems, "expected one or more [[step]] tables"])
    for at, step in enumerate(steps):
        problems += [f"step[{at}].{problem}" for problem in _mistakes(step)]
    if problems:
        raise ConfigError(where, problems)
    return Plan(tuple(_step(one) for one in steps))


def _step(said: Mapping[str, Any]) -> Step:
    values: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in said.items()
    }
    return Step(**values)


def _mistakes(step: Mapping[str, Any]) -> Iterator[str]:
    for key in step:
        if key not in KEYS:
            yield f"{key}: unknown key{near(key, KEYS)}"
    if step.get("op", "offer") not in OPS:
        yield f'op: expected "offer" or "ship", got {step["op"]!r}{near(step["op"], OPS)}'
    for key, parse in (("faults", faults.parse_all), ("cloud", cloud_faults.parse)):
        yield from _bad_faults(key, step.get(key, []), parse)
    cut = step.get("cut")
    if cut is not None and not (type(cut) in (int, float) and 0 < cut < 1):
        yield f"cut: expected a part of the file between 0 and 1, got {cut!r}"
    limit = step.get("limit", 1)
    if not (type(limit) is int and limit > 0):
        yield f"limit: expected a whole number above 0, got {limit!r}"
    if "limit" in step and step.get("op", "offer") == "offer":
        yield 'limit: an offer is one download; expected op = "ship"'


def _bad_faults(key: str, texts: Any, parse: Any) -> Iterator[str]:
    if not isinstance(texts, list):
        yield f"{key}: expected a list of faults, got {texts!r}"
        return
    for at, text in enumerate(texts):
        try:
            if not isinstance(text, str):
                raise FaultError(f"expected a fault as text, got {text!r}")
            parse(text)
        except FaultError as error:
            yield f"{key}[{at}]: {error}"
