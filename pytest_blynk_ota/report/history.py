"""The last good run of a test: one given by hand, or found among the folders beside this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.report.model import Good
from pytest_blynk_ota.report.source import RunSource, TestSource, read_run
from pytest_blynk_ota.report.visible import said

MAX_RUNS = 30
"""So many runs beside this one are looked at, the newest first."""


def last_good(
    runs: Sequence[RunSource], against: RunSource | None = None
) -> Callable[[TestSource], Good | None]:
    """A function that finds the last good run of a test: in ``against`` alone, if it is given.

    No test is compared with itself.
    """
    itself = {
        id(test)
        for run in runs
        if against is not None and same_run(run, against)
        for test in run.tests
    }
    earlier = [(run.folder.name, passed(run)) for run in ([against] if against else _beside(runs))]

    def find(test: TestSource) -> Good | None:
        for name, found in earlier:
            if test.id in found and id(test) not in itself:
                return name, found[test.id]
        return None

    return find


def passed(run: RunSource) -> Mapping[str, TestSource]:
    """The tests of a run that passed, by id."""
    return {test.id: test for test in run.tests if test.word == "passed"}


def _beside(runs: Sequence[RunSource]) -> list[RunSource]:
    """The runs in the same folders that began before these and used the same rig, newest first."""
    own = {run.folder.resolve() for run in runs}
    rigs = {said(run.head.get("rig")) for run in runs}
    begun = [said(run.head.get("started")) for run in runs if run.head.get("started")]
    if not begun:
        return []
    found = []
    for parent in dict.fromkeys(folder.parent for folder in own):
        for head in parent.glob("*/run.json"):
            if head.parent.resolve() not in own:
                found.append(head.parent)
    found.sort(key=_age, reverse=True)
    read = (_try(folder) for folder in found[:MAX_RUNS])
    earlier = [
        run
        for run in read
        if run is not None
        and not any(same_run(run, one) for one in runs)
        and said(run.head.get("rig")) in rigs
        and "" < said(run.head.get("started")) <= min(begun)
    ]
    return sorted(earlier, key=lambda run: said(run.head.get("started")), reverse=True)


def same_run(one: RunSource, other: RunSource) -> bool:
    """Whether two folders are one run: the same folder, or a copy of it.

    A run has an id; one of an older format is known by its rig, when it began, and its tests.
    """
    if one.folder.resolve() == other.folder.resolve():
        return True
    ids = said(one.head.get("id")), said(other.head.get("id"))
    if all(ids):
        return ids[0] == ids[1]
    return bool(one.head.get("started")) and _which(one) == _which(other)


def _which(run: RunSource) -> tuple[str, str, list[str]]:
    head = run.head
    return said(head.get("rig")), said(head.get("started")), [test.id for test in run.tests]


def _age(folder: Path) -> float:
    try:
        return (folder / "run.json").stat().st_mtime
    except OSError:
        return 0.0


def _try(folder: Path) -> RunSource | None:
    try:
        return read_run(folder, check=False)
    except (EvidenceError, OSError):
        return None
