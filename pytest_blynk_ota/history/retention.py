"""Which folders of runs may go: by their age and what they came to. Pure: no file, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_blynk_ota.evidence.agree import RESULT_WORDS

DAY_S = 86_400.0
KEPT_DAYS: Mapping[str, float] = {"ok": 14, "firmware": 90, "rig": 30, "incomplete": 30}
"""How long a run is kept, by its result: a failure will be looked at again, a good run hardly."""
assert set(KEPT_DAYS) == set(RESULT_WORDS)


@dataclass(frozen=True, slots=True)
class Stored:
    """A folder of a run.

    Attributes:
        path: where it is.
        id: of the run; None in a run of schema 1.
        rig: the name of its rig.
        result: ok, firmware, rig or incomplete.
        complete: whether it came to its end.
        written: when it ended, or was last written to, in seconds since 1970.
        bytes: how much its files hold.
        goes_on: whether it may still be written to.
        leftover: whether it is what a removal left that was interrupted.
        passed: whether a test of it passed, as far as that is known; all may have been skipped.
    """

    path: Path
    id: str | None
    rig: str
    result: str
    complete: bool
    written: float
    bytes: int
    goes_on: bool = False
    leftover: bool = False
    passed: bool = True

    @property
    def is_good(self) -> bool:
        """Whether later runs may be compared with it."""
        return self.complete and self.result == "ok" and self.passed


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a folder, and why.

    Attributes:
        run: the folder.
        goes: whether it may be removed.
        why: the reason; those who are kept for one reason have one text.
        days: its age.
    """

    run: Stored
    goes: bool
    why: str
    days: float


def decide(runs: Sequence[Stored], now: float, kept: Mapping[str, float]) -> Sequence[Decision]:
    """What becomes of each run, in the order given.

    Args:
        runs: all runs of a folder.
        now: seconds since 1970.
        kept: by result the days that a run is kept.
    """
    last = _last_good(runs)
    return [_decision(run, now, kept, run in last) for run in runs]


def _last_good(runs: Sequence[Stored]) -> Sequence[Stored]:
    """Of each rig the newest good run: what a report compares the next run with."""
    found: dict[str, Stored] = {}
    for run in sorted(runs, key=lambda run: (run.written, run.path)):
        if run.is_good and not run.goes_on and not run.leftover:
            found[run.rig] = run
    return list(found.values())


def _decision(run: Stored, now: float, kept: Mapping[str, float], last: bool) -> Decision:
    days = (now - run.written) / DAY_S
    result = run.result if run.complete else _worse_than_cut(run.result)
    limit = kept[result]
    if run.leftover:
        return Decision(run, True, "half removed already", days)
    if run.goes_on:
        return Decision(run, False, "it still goes on", days)
    if last:
        return Decision(run, False, "the last good run of its rig", days)
    if days < 0:
        return Decision(run, False, "it ended later than now: a clock is wrong", days)
    if days < limit:
        return Decision(run, False, f"{result}, and younger than {limit:g} days", days)
    return Decision(run, True, f"{result}, and {limit:g} days old or older", days)


def _worse_than_cut(result: str) -> str:
    """A run that was cut short is no good one, whatever it says; a failure in it stays one."""
    return "incomplete" if result == "ok" else result
