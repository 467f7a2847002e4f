"""Judge stored evidence again, and say where the stored verdicts differ. Pure: no file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.errors import EvidenceError, RigError, UsageError
from pytest_blynk_ota.evidence.event import Event, shown
from pytest_blynk_ota.verdict.crash_told import as_told_before
from pytest_blynk_ota.verdict.decide import Judge
from pytest_blynk_ota.verdict.outcome import FINDINGS_SINCE, RULES, Verdict
from pytest_blynk_ota.verdict.reasons import in_words_of_today

ALWAYS = frozenset({
    "outcome", "air_status", "reasons", "findings", "partial", "running", "running_image",
    "versions", "downloads", "boots", "crashes", "seconds", "slots",
})  # fmt: skip
"""What each verdict ever stored holds. A key that came later is no difference where it lacks."""

STUMBLES = (
    UsageError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip
"""What the judge raises over data that no rig of ours wrote."""


@dataclass(frozen=True, slots=True)
class Again:
    """One operation, judged again.

    Attributes:
        number: the operation's number in its test.
        now: the verdict of today as JSON values; None where there is none.
        error: why there is none; "" where there is one.
        by_rig: there is none because the rig failed, or the evidence does not decide.
        stored: the verdict that was stored; None where there was none.
        differs: by field of the verdict, what differs in words.
        same: the same verdict as stored, or none then as now.
        later: names of findings that nobody looked for when the verdict was stored.
    """

    number: int
    now: Mapping[str, Any] | None
    error: str
    by_rig: bool
    stored: Mapping[str, Any] | None
    differs: Mapping[str, str]
    same: bool
    later: tuple[str, ...] = ()


def judge_again(
    events: Sequence[Event], stored: Sequence[Mapping[str, Any]] | None, *, ended: bool
) -> Iterator[Again]:
    """Each operation of a test, and each stored verdict of none.

    Args:
        events: the events of the test.
        stored: its stored verdicts, each with its ``operation``; None if none were stored.
        ended: whether the test came to its end. Where it did not, its last operation has no
            verdict: what was not seen any more may have changed it, behind its watch too, where
            the flash is read and a late crash is heard.
    """
    left = [dict(row) for row in stored or ()]
    judge = _once(events)
    for at in (at for at, event in enumerate(events) if _is(event, "operation")):
        number = events[at].data.get("number")
        if type(number) is not int:
            what = f"event #{events[at].seq}: number: expected a whole number, got {shown(number)}"
            yield _none(0, what, None)
            continue
        before = next((row for row in left if row.get("operation") == number), None)
        if before is not None:
            left.remove(before)
        if not ended and not _was_over(events, at):
            yield _none(number, "its end is missing, so there is no verdict", before)
        else:
            yield _compared(judge, number, before, told=stored is not None and ended)
    for row in left:
        number = row.get("operation")
        yield _none(number if type(number) is int else 0, "the events hold no such operation", row)


def _is(event: Event, kind: str) -> bool:
    return (event.source, event.kind) == ("ota", kind)


def _was_over(events: Sequence[Event], at: int) -> bool:
    """Whether the next operation of its board began: from then on nothing changes its verdict."""
    board = events[at].board
    return any(event.board == board and _is(event, "operation") for event in events[at + 1 :])


def _none(number: int, why: str, stored: Mapping[str, Any] | None) -> Again:
    return Again(number, None, f"EvidenceError: {why}", False, stored, {}, False)


def _once(events: Sequence[Event]) -> Callable[[int], Verdict]:
    """The judge of a timeline, made when it is first asked: foreign data may stop it there."""
    made: list[Judge] = []

    def judge(number: int) -> Verdict:
        if not made:
            made.append(Judge(events))
        return made[0](number)

    return judge


def _compared(
    judge: Callable[[int], Verdict], number: int, stored: Mapping[str, Any] | None, *, told: bool
) -> Again:
    try:
        now = judge(number).to_json()
    except EvidenceError as error:
        return _none(number, str(error), stored)
    except RigError as error:  # it leaves no verdict, then as now
        what = f"{type(error).__name__}: {error}"
        return Again(number, None, what, True, stored, {}, told and stored is None)
    except STUMBLES as error:
        what = f"its events are edited or foreign ({type(error).__name__}: {error})"
        return _none(number, f"it cannot be judged: {what}", stored)
    if stored is None:
        return Again(number, now, "", False, None, {}, False)
    then, later = _as_of(stored, now)
    differs = dict(_differences(stored, then))
    return Again(number, now, "", False, stored, differs, not differs, later)


def _as_of(
    stored: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The verdict of today without the findings that came after the stored one, and their names."""
    rules = stored.get("rules", 1)
    if type(rules) is not int or not 1 <= rules < RULES:
        return now, ()
    new = frozenset[str]().union(*(FINDINGS_SINCE[at] for at in range(rules + 1, RULES + 1)))
    found = [one for one in now["findings"] if one["name"] not in new]
    later = dict.fromkeys(one["name"] for one in now["findings"] if one["name"] in new)
    return {**now, "findings": found, "rules": rules}, tuple(later)


def _differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each field of a verdict that is not as it was stored, and how."""
    for key in [*now, *(key for key in stored if key not in now and key != "operation")]:
        if key in now and key not in stored and key not in ALWAYS:
            continue
        if found := next(_apart(key, stored.get(key, LACKS), now.get(key, LACKS)), None):
            yield key, found


class _Lacks:
    def __repr__(self) -> str:
        return "nothing"


LACKS = _Lacks()


def _apart(path: str, stored: Any, now: Any) -> Iterator[str]:
    """Where two values of JSON differ, in words, the first place first."""
    if type(stored) is not type(now) and not _numbers(stored, now):
        yield f"{path}: stored {shown(stored)}, now {shown(now)}"
    elif isinstance(now, Mapping):
        for key in [*now, *(key for key in stored if key not in now)]:
            yield from _apart(f"{path}.{key}", stored.get(key, LACKS), now.get(key, LACKS))
    elif isinstance(now, list | tuple):
        for at, (one, other) in enumerate(zip(stored, now, strict=False)):
            yield from _apart(f"{path}[{at}]", one, other)
        if len(stored) != len(now):
            yield f"{path}: stored {len(stored)} of them, now {len(now)}"
    elif isinstance(stored, str) and (
        in_words_of_today(stored) == now or stored == as_told_before(now)
    ):
        return
    elif stored != now:
        yield f"{path}: stored {shown(stored)}, now {shown(now)}"


def _numbers(*values: Any) -> bool:
    return all(type(value) in (int, float) for value in values)
