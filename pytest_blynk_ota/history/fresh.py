"""A history that knows of the runs beside it: what has ended is taken in before a question is
answered."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.agree import RUN
from pytest_blynk_ota.evidence.files import folders_in, read_json
from pytest_blynk_ota.evidence.results import RESULTS
from pytest_blynk_ota.evidence.run import find_runs
from pytest_blynk_ota.history.book import Book
from pytest_blynk_ota.history.index import Index
from pytest_blynk_ota.history.take import take

RUNS = "runs"
"""The folder beside the history that pytest leaves its runs in."""
STILL_S = 3600.0
"""A run without an end that wrote something so lately, in wall seconds, may still go on."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A history that is up to date.

    Attributes:
        index: for questions; whoever has it closes it.
        notes: what is wrong with its files, and with runs that were not taken in; a sentence each.
        going: runs that still go on.
    """

    index: Index
    notes: tuple[str, ...]
    going: tuple[Path, ...]


def fresh(book: Book, now: float) -> Fresh:
    """Open the index of a history, with all runs beside it that have ended.

    Args:
        book: the history.
        now: seconds since 1970.
    """
    index = Index(book)
    ended = {row[0] for row in index.db.execute("SELECT run FROM runs WHERE finished IS NOT NULL")}
    new: list[Path] = []
    going: list[Path] = []
    for run in _unknown(book.folder.parent / RUNS, ended):
        (going if goes_on(run, now) else new).append(run)
    notes: list[str] = []
    if new:
        index, notes = _with(book, index, new)
    return Fresh(index, (*index.notes, *notes), tuple(going))


def _with(book: Book, index: Index, new: Collection[Path]) -> tuple[Index, list[str]]:
    try:
        taken = list(take(book, new))
    except UsageError as error:
        return index, [f"{len(new)} runs are not taken in: {error}"]
    notes = [one.error for one in taken if one.error]
    if any(one.error is None for one in taken):
        index.close()
        index = Index(book)
    return index, notes


def _unknown(runs: Path, ended: Collection[str]) -> Iterator[Path]:
    for run in find_runs(runs):
        try:
            data = read_json(run / RUN)
        except EvidenceError:
            data = {}  # whoever reads it in earnest will say what is wrong
        if data.get("id") not in ended or "finished" not in data:
            yield run


def goes_on(run: Path, now: float) -> bool:
    """Whether a run may still be written to: it says nothing of an end, and was written lately."""
    try:
        if "finished" in read_json(run / RUN):
            return False
    except EvidenceError:
        return False
    return last_written(run) > now - STILL_S


def last_written(run: Path) -> float:
    """When something in a run was last written, in seconds since 1970; 0 if nothing can be seen."""
    tests = folders_in(run / "tests")
    files = [run, run / RUN, run / RESULTS, *tests, *(test / "events.jsonl" for test in tests)]
    return max(map(_changed, files))


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
