"""The last good run of a test: one given by hand, or found among the folders beside this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.agree import RUN
from pytest_blynk_ota.evidence.run import Run, StoredTest, read_run
from pytest_blynk_ota.report.model import Good

MAX_RUNS = 30
"""So many runs beside this one are looked at, the newest first."""


def last_good(
    runs: Sequence[Run], against: Run | None = None
) -> Callable[[StoredTest], Good | None]:
    """A function that finds the last good run of a test: in ``against`` alone, if it is given.

    No test is compared with itself.
    """
    itself = {run.folder for run in runs if against is not None and same_run(run, against)}
    earlier = [(run.folder.name, passed(run)) for run in ([against] if against else _beside(runs))]

    def find(test: StoredTest) -> Good | None:
        for name, found in earlier:
            if test.id in found and test.run not in itself:
                return name, found[test.id]
        return None

    return find


def passed(run: Run) -> Mapping[str, StoredTest]:
    """The tests of a run that passed, by id."""
    return {test.id: test for test in run.tests if test.word == "passed"}


def _beside(runs: Sequence[Run]) -> list[Run]:
    """The runs in the same folders that began before these and used the same rig, newest first."""
    own = {run.folder.resolve() for run in runs}
    rigs = {run.rig for run in runs}
    begun = [run.started for run in runs if run.started]
    if not begun:
        return []
    found = []
    for parent in dict.fromkeys(folder.parent for folder in own):
        for head in parent.glob(f"*/{RUN}"):
            if head.parent.resolve() not in own:
                found.append(head.parent)
    found.sort(key=_age, reverse=True)
    read = (_try(folder) for folder in found[:MAX_RUNS])
    earlier = [
        run
        for run in read
        if run is not None
        and not any(same_run(run, one) for one in runs)
        and run.rig in rigs
        and "" < run.started <= min(begun)
    ]
    return sorted(earlier, key=lambda run: run.started, reverse=True)


def same_run(one: Run, other: Run) -> bool:
    """Whether two folders are one run: the same folder, or a copy of it.

    A run has an id; one of an older format is known by its rig, when it began, and its tests.
    """
    if one.folder.resolve() == other.folder.resolve():
        return True
    if one.id and other.id:
        return one.id == other.id
    return bool(one.started) and _which(one) == _which(other)


def _which(run: Run) -> tuple[str, str, list[str]]:
    return run.rig, run.started, [test.id for test in run.tests]


def _age(folder: Path) -> float:
    try:
        return (folder / RUN).stat().st_mtime
    except OSError:
        return 0.0


def _try(folder: Path) -> Run | None:
    try:
        return read_run(folder, check=False)
    except EvidenceError:
        return None
