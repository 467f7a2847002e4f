"""What is wrong between the keys of a policy: demands that contradict each other, or that nothing
can meet. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pytest_blynk_ota.firmware.words import did_you_mean
from pytest_blynk_ota.gate.policy_file import File, LineSection, Sequential, WaiverSection
from pytest_blynk_ota.gate.properties import PROPERTIES
from pytest_blynk_ota.gate.sequential import fixed_count, plan
from pytest_blynk_ota.gate.statistics import MAX_RUNS, runs_needed
from pytest_blynk_ota.gate.words import count, percent


def mistakes_across(said: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between the keys, of the tables that are fine by themselves."""
    own = _valid_properties(said.get("properties"))
    lines: dict[int, LineSection] = dict(_valid(said.get("line"), LineSection))
    seen: set[str] = set()
    for at, one in _mended(said.get("line")):
        where = f"line[{at}]"
        if one.name in seen:
            yield f"{where}.name: there is a line {one.name!r} already"
        seen.add(one.name)
        yield from (f"{where}{problem}" for problem in _groups(one, own))
        yield from (f"{where}{problem}" for problem in _impossible(one, own))
    for at, waiver in _valid(said.get("waiver"), WaiverSection):
        yield from (f"waiver[{at}]{problem}" for problem in _waives(waiver, lines, own, said))


def _valid(said: object, model: type[Any]) -> Iterator[tuple[int, Any]]:
    for at, table in enumerate(said if isinstance(said, list) else []):
        try:
            yield at, model.model_validate(table)
        except ValidationError:
            continue  # told already


_FILLS: Mapping[str, Any] = {"name": "", "chips": ["esp32"], "scenarios": ["H1"], "property": None}
"""What stands for a key of a line that is wrong by itself, so that the others are looked at too."""

A_RATE = frozenset({"max_failure_rate", "confidence"})
HANG_ON_A_RATE = A_RATE | {"sequential", "failures_allowed"}
"""With a rate that is none, nothing can be said of these."""


def _mended(said: object) -> Iterator[tuple[int, LineSection]]:
    """The lines, with what is wrong by itself left out, for that is told already."""
    for at, table in enumerate(said if isinstance(said, list) else []):
        try:
            yield at, LineSection.model_validate(table)
        except ValidationError as error:
            if not isinstance(table, dict):
                continue
            wrong = {row["loc"][0] for row in error.errors() if row["loc"]}
            wrong |= HANG_ON_A_RATE if wrong & A_RATE else set()
            left = {key: value for key, value in table.items() if key not in wrong}
            fills = {key: _FILLS[str(key)] for key in wrong if key in _FILLS}
            left |= {key: fill for key, fill in fills.items() if key in table or key != "scenarios"}
            left |= {"name": f"line {at}"} if "name" in wrong else {}
            with contextlib.suppress(ValidationError):
                yield at, LineSection.model_validate(left)


def _valid_properties(said: object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, ids in said.items() if isinstance(said, dict) else ():
        try:
            whole = File.model_validate({**_LEAST, "properties": {name: ids}})
        except ValidationError:
            continue
        found |= whole.properties
    return found


_LEAST: Mapping[str, Any] = {
    "policy": {"name": "x", "max_age": "1d"},
    "line": [{"name": "x", "scenarios": ["H1"], "chips": ["esp32"]}],
}


def scenarios_of(one: LineSection, own: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The scenarios that a line asks for, by a property of the file's own, of ours, or by id."""
    if one.property is None:
        return tuple(one.scenarios or ())
    return tuple(own.get(one.property) or PROPERTIES.get(one.property, ()))


def _groups(one: LineSection, own: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What is wrong with what a line asks for."""
    if (one.property is None) == (one.scenarios is None):
        yield ": expected property or scenarios, one of the two"
    known = sorted({*PROPERTIES, *own})
    if one.property is not None and one.property not in known:
        hint = did_you_mean(one.property, known)
        yield f".property: unknown property {one.property!r}{hint}; known are {', '.join(known)}"


def _impossible(one: LineSection, own: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Demands that no evidence can meet, each with what would do."""
    rate, confidence = one.max_failure_rate, one.confidence
    if (rate is None) != (confidence is None):
        yield ": max_failure_rate and confidence come together"
        return
    if rate is None or confidence is None:
        if one.sequential is not None:
            yield ".sequential: needs max_failure_rate and confidence"
        if one.failures_allowed >= one.runs:
            yield (
                f".failures_allowed: {one.failures_allowed} of {one.runs} runs may fail, so that "
                "nothing has to pass; expected fewer than runs"
            )
        return
    if not 0 < rate < 1:
        yield (
            f".max_failure_rate: {percent(rate)} can be shown by no number of runs, or needs none; "
            "expected more than 0% and less than 100%"
        )
    elif not 0.5 <= confidence < 1:
        yield (
            f".confidence: {percent(confidence)} can be shown by no number of runs, or says "
            'nothing; expected "50%" or more, and less than "100%"'
        )
    elif one.sequential is not None:
        yield from _impossible_walk(one, one.sequential, rate, confidence)
    else:
        yield from _impossible_count(one, len(scenarios_of(one, own)), rate, confidence)


def _impossible_walk(
    one: LineSection, how: Sequential, rate: float, confidence: float
) -> Iterator[str]:
    if one.failures_allowed:
        yield ".failures_allowed: a sequential line works out itself how many failures it allows"
    if not 0 < how.good_rate < rate:
        yield (
            f".sequential.good_rate: expected more than 0 and less than max_failure_rate "
            f"({percent(rate)}), got {percent(how.good_rate)}"
        )
    elif not 0 < how.false_fail < 0.5:
        yield ".sequential.false_fail: expected more than 0% and less than 50%"
    elif confidence <= 0.5:
        yield ".confidence: a sequential line needs more than 50%"
    elif plan(how.good_rate, rate, 1 - confidence, how.false_fail) is None:
        fixed = fixed_count(how.good_rate, rate, 1 - confidence, how.false_fail)
        many = count(fixed.runs, "run") if fixed else f"more than {MAX_RUNS} runs"
        yield f": takes {many}, too many to be worked out; raise max_failure_rate, or ask for less"


def _impossible_count(
    one: LineSection, scenarios: int, rate: float, confidence: float
) -> Iterator[str]:
    needed = runs_needed(rate, confidence, one.failures_allowed)
    if needed is None:
        yield f".max_failure_rate: takes more than {MAX_RUNS} runs; no rack makes so many"
        return
    given = one.runs * (scenarios if one.pool else 1)
    if "runs" in one.model_fields_set and given < needed:
        allowed = one.failures_allowed
        more = runs_needed(rate, confidence, allowed + 1)
        yield (
            f".runs: {count(given, 'run')} cannot show a failure rate of at most {percent(rate)} "
            f"with {percent(confidence)} confidence: {needed} are needed with "
            f"{_failures(allowed)} among them, {more} with {_failures(allowed + 1)}; leave runs "
            "out, and as many as it takes are asked for"
        )


def _failures(number: int) -> str:
    return count(number, "failure") if number else "no failure"


def _waives(
    waiver: WaiverSection,
    lines: Mapping[int, LineSection],
    own: Mapping[str, Sequence[str]],
    said: Mapping[str, Any],
) -> Iterator[str]:
    named = next((one for one in lines.values() if one.name == waiver.line), None)
    if named is None:
        known = [one.name for one in lines.values()]
        whole = said.get("line")
        if isinstance(whole, list) and len(whole) == len(lines):
            yield f".line: no line {waiver.line!r}{did_you_mean(waiver.line, known)}"
        return
    scenarios = scenarios_of(named, own)
    if scenarios and waiver.scenario not in scenarios:
        yield (
            f".scenario: line {waiver.line!r} does not ask for {waiver.scenario}; it asks for "
            f"{', '.join(scenarios)}"
        )
    for chip in waiver.chips or ():
        if chip not in named.chips:
            yield f".chips: line {waiver.line!r} does not ask for {chip}"
