"""Runs taken into the history: from their folders, or from what other runners wrote.

A run is taken as a whole or not at all, and one that is known already is compared: the same again
changes nothing, and other content under the same id is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.agree import RUN
from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.evidence.files import folders_in, is_file, kind_of, read_bytes
from pytest_blynk_ota.evidence.manifest import MANIFEST
from pytest_blynk_ota.evidence.marks import Flaw, Mark
from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.evidence.run import MAX_DEPTH, Results, find_runs, is_a_run, read_results
from pytest_blynk_ota.history.book import SUFFIX, Book, parsed
from pytest_blynk_ota.history.line import MAX_TEXT_CHARS, SHA, TIME, ResultLine, RunLine, seconds_of
from pytest_blynk_ota.history.page import Page, pages

HISTORY = "history"
"""Below a folder of artifacts, folders of this name hold what other runners wrote."""
MAX_MESSAGE_CHARS = 300
UNKNOWN = "unknown"
REQUIRED = ("id", "rig", "started")
"""Keys of run.json without which a run cannot be told from others, or put in their order."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one source.

    Attributes:
        source: the folder of a run, or a file of lines.
        run: the id of the run; None if that is not known.
        new: how many results were not known before.
        tests: how many it has.
        notes: what is wrong with it, and did not keep it from being taken.
        error: why it was not taken; None if it was.
    """

    source: Path
    run: str | None
    new: int = 0
    tests: int = 0
    notes: tuple[str, ...] = ()
    error: str | None = None


def take(book: Book, sources: Iterable[Path]) -> Iterator[Taken]:
    """Take runs into a history, one after the other.

    Args:
        book: the history.
        sources: folders of runs and files of lines, as :func:`sources_in` finds them.

    Raises:
        UsageError: the history cannot be written.
    """
    with book.writing():
        for source in sources:
            yield from _take_one(book, source)


def _take_one(book: Book, source: Path) -> Iterator[Taken]:
    try:
        found, notes = _read(source)
    except EvidenceError as error:
        yield Taken(source, None, error=str(error))
        return
    for page in found:
        try:
            added = book.add(page)
        except EvidenceError as error:
            yield Taken(source, page.id, 0, len(page.results), tuple(notes), str(error))
            continue
        if added.aside:
            notes = [*notes, f"{book.path_of(page.id)} was damaged; it is kept as {added.aside}"]
        yield Taken(source, page.id, added.new, len(page.results), tuple(notes))
        notes = []
    if not found:
        yield Taken(source, None, error=f"{source}: {'; '.join(notes) or 'no line in it'}")


def _read(source: Path) -> tuple[Sequence[Page], list[str]]:
    if kind_of(source):  # a folder
        page, notes = page_of(read_results(source))
        return [page], notes
    lines, flaws = parsed(read_bytes(source))
    notes = [f"line {flaw.line}: {flaw.text}; the line was passed over" for flaw in flaws]
    return list(pages(lines).values()), notes


def sources_in(path: Path) -> Sequence[Path]:
    """The folders of runs and the files of lines at a path and below it.

    Raises:
        EvidenceError: there are none.
    """
    if is_file(path):
        return [path]
    found = [*find_runs(path), *_files_below(path, MAX_DEPTH, named=True)]
    if not found:
        raise EvidenceError(
            f"{path}: no run in it, and no {SUFFIX} file of a history; expected the folder of a "
            f"run (it has {RUN}), one with such folders in it, or what another history holds"
        )
    return found


def _files_below(folder: Path, depth: int, *, named: bool) -> Iterator[Path]:
    """Files of histories: of the folder that was named, and of those that are called so."""
    if is_a_run(folder):
        return
    if named or folder.name == HISTORY:
        yield from sorted(path for path in folder.glob(f"*{SUFFIX}") if is_file(path))
    if depth:
        for inside in folders_in(folder):
            yield from _files_below(inside, depth - 1, named=False)


def page_of(results: Results) -> tuple[Page, list[str]]:
    """A run as the history keeps it, and what is wrong with it all the same.

    Raises:
        EvidenceError: it was changed after it ended, or it lacks what tells it from others.
    """
    data = results.data
    if not results.listed:
        raise EvidenceError(f"{results.folder}: schema 1: it does not say what its tests came to")
    for key in REQUIRED:
        if not data.get(key):
            why = "".join(f"; {mark}" for mark in results.marks if mark.file == RUN)
            raise EvidenceError(f"{results.folder / RUN}: {key} is missing, or no text{why}")
    _must_be_a_time(results.folder, "started", data["started"])
    if results.ended:
        _must_be_a_time(results.folder, "finished", data["finished"])
        _must_be_as_written(results)
    run = _run_line(results)
    page = Page(run.run, run)
    firmware = {
        boards: _firmware(data, boards) for boards in {one.boards for one in results.results}
    }
    tries: Counter[tuple[str, str]] = Counter()
    for result in results.results:
        line = _result_line(run, result, firmware[result.boards])
        tries[line.test, line.board] += 1
        line = line._replace(attempt=tries[line.test, line.board])
        page.results[line.key] = line
    return page, [str(mark) for mark in results.marks]


def _must_be_as_written(results: Results) -> None:
    """A run that ended has a manifest, and what differs from it was changed since. Only that the
    manifest itself is missing proves nothing: a kill may have come just before it was written."""
    changed = [mark for mark in results.marks if mark.file != MANIFEST or not _lost(mark)]
    if changed:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise EvidenceError(f"{results.folder}: {changed[0]}{more}; it was not taken")


def _lost(mark: Mark) -> bool:
    return mark.flaw is Flaw.MISSING


def _must_be_a_time(folder: Path, key: str, value: str) -> None:
    try:
        seconds_of(value)
    except (ValueError, OverflowError) as error:
        raise EvidenceError(
            f"{folder / RUN}: {key}: expected {TIME}, got {shown(value)}"
        ) from error


def _run_line(results: Results) -> RunLine:
    data = results.data
    return RunLine(
        run=_short(data["id"]),
        rig=_short(data["rig"]),
        rig_kind=_short(data.get("rig_kind") or UNKNOWN),
        name=_short(results.folder.resolve().name),
        started=data["started"],
        finished=data.get("finished"),
        complete=data.get("complete") is True,
        result=data.get("result", "incomplete"),
        tests=len(results.results),
        images=_images(data),
        tool=data.get("tools", {}).get("pytest-blynk-ota") or None,
    )


def _images(data: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        sha: version if isinstance(version := image.get("version"), str) else None
        for both in data.get("firmware", {}).values()
        for image in both.values()
        if (sha := _sha(image)) is not None
    }


def _result_line(
    run: RunLine, result: TestResult, firmware: tuple[str | None, str | None]
) -> ResultLine:
    return ResultLine(
        run=run.run,
        test=_short(result.id) or UNKNOWN,
        rig=run.rig,
        board=_short(",".join(result.boards)),
        attempt=1,
        at=_began(result, run),
        word=result.word,
        seconds=result.seconds,
        old=firmware[0],
        new=firmware[1],
        worker=_short(result.worker) if result.worker else None,
        message=_short(result.message, MAX_MESSAGE_CHARS) if result.message else None,
        scenarios=list(result.scenarios),
    )


def _began(result: TestResult, run: RunLine) -> str:
    """When a test began; when its run did where that is not on record."""
    started = result.started
    try:
        seconds_of(started or "")
    except (ValueError, OverflowError):
        return run.started
    return str(started)


def _firmware(data: Mapping[str, Any], boards: Sequence[str]) -> tuple[str | None, str | None]:
    """Old and New of a test's boards; None where boards of a test have different ones."""
    known = data.get("firmware", {})
    found = {
        (_sha(known.get(board, {}).get("old", {})), _sha(known.get(board, {}).get("new", {})))
        for board in boards
    }
    return found.pop() if len(found) == 1 else (None, None)


def _sha(image: Mapping[str, Any]) -> str | None:
    value = image.get("sha256")
    return value if isinstance(value, str) and SHA.fullmatch(value) else None


def _short(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """A text as a line may hold it; of a longer one its beginning."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"
