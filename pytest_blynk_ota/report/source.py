"""Folders of runs as they are on disk, however cut, edited or foreign: what is wrong is a mark.

Nothing in a folder can make the reading fail; only a path without any evidence is an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.event import SCHEMA, Event
from pytest_blynk_ota.evidence.files import folders_in, kind_of
from pytest_blynk_ota.evidence.manifest import MANIFEST, changes
from pytest_blynk_ota.evidence.marks import Flaw, Mark
from pytest_blynk_ota.report.visible import count, said

MAX_SEQ = 2**53
"""What a browser can count to."""
MAX_SECONDS = 1e10
UNKNOWN = "unknown"
WITH_MANIFEST = 2
"""From this schema of run.json on, manifest.json stands beside it when the run ends."""
KNOWN_SCHEMAS = (SCHEMA, WITH_MANIFEST)
MAX_CHANGES = 50
"""So many changed files are named; the number tells of the others."""


@dataclass
class TestSource:
    """One test of a run; its files are read when they are asked for.

    Attributes:
        row: its line of results.jsonl; empty where there is none.
        folder: its evidence; None where it left none.
        marks: what is missing or wrong, as far as was read.
    """

    __test__ = False

    row: Mapping[str, Any]
    folder: Path | None
    marks: list[str] = field(default_factory=list)

    @cached_property
    def verdicts(self) -> Sequence[Mapping[str, Any]]:
        """As stored, not judged again."""
        if self.folder is None:
            return []
        path = self.folder / "verdict.json"
        if not is_file(path):
            self.marks.append(
                "there is no verdict.json: the test was killed, or its end is missing"
            )
            return []
        stored = _object(path, self.marks).get("verdicts", [])
        rows = stored if isinstance(stored, list) else []
        return [one for one in rows if isinstance(one, Mapping)]

    @property
    def id(self) -> str:
        """The test's id; the folder's name where nothing says it."""
        given = self.row.get("id")
        return (
            given if isinstance(given, str) and given else self.folder.name if self.folder else "?"
        )

    @property
    def word(self) -> str:
        """What it came to."""
        given = self.row.get("word")
        return given if isinstance(given, str) else UNKNOWN

    def events(self) -> tuple[list[Event], list[str]]:
        """Its events, in the order of their time, and marks for the lines that are none."""
        if self.folder is None:
            return [], []
        return read_events(self.folder / "events.jsonl")


@dataclass(slots=True)
class RunSource:
    """One run's folder.

    Attributes:
        changed: how many of its files are not as they were when the run ended.
    """

    folder: Path
    head: Mapping[str, Any]
    tests: list[TestSource]
    marks: list[str]
    changed: int = 0


def is_file(path: Path) -> bool:
    """Whether a file stands there: no link, which may lead anywhere, no pipe, which blocks."""
    try:
        return kind_of(path) == ""
    except (EvidenceError, ValueError):
        return False


def read_run(folder: Path, *, check: bool = True) -> RunSource:
    """A run's folder, or the folder of one of its tests.

    Args:
        folder: where it is.
        check: whether each file is compared with the manifest, which reads all of them.

    Raises:
        EvidenceError: the path holds no evidence.
    """
    if is_file(folder / "events.jsonl") and not (folder / "run.json").exists():
        test = _test(folder, {}, [])
        return RunSource(
            folder, {}, [test], ["this is one test's folder: nothing is known of its run"]
        )
    if not any((folder / name).exists() for name in ("run.json", "results.jsonl", "tests")):
        raise EvidenceError(f"{folder}: no run.json, results.jsonl or tests/ in it; expected a run")
    marks: list[str] = []
    head = _object(folder / "run.json", marks)
    if head.get("schema", SCHEMA) not in KNOWN_SCHEMAS:
        marks.append(f"run.json has schema {said(head['schema'], 40)}, which is not known here")
    if head and head.get("complete") is not True:
        marks.append("the run is not complete: it was stopped or killed, or still goes on")
    rows = list(_rows(folder / "results.jsonl", marks))
    tests = _tests(folder, rows, marks)
    changed = _compare(folder, head, tests, marks) if check else 0
    return RunSource(folder, head, tests, marks, changed)


def _compare(
    folder: Path, head: Mapping[str, Any], tests: Sequence[TestSource], marks: list[str]
) -> int:
    """Mark what is not as the manifest says: at the test that it belongs to, else at the run.

    Returns how many files that are.
    """
    if not (folder / MANIFEST).exists():
        if head.get("complete") is True and head.get("schema") == WITH_MANIFEST:
            marks.append(f"{MANIFEST} is missing: nothing says whether the files are as written")
            return 1
        return 0
    by_folder = {f"tests/{test.folder.name}": test for test in tests if test.folder}
    found = _changes(folder, marks)
    for one in found[:MAX_CHANGES]:
        test = by_folder.get("/".join(one.file.split("/")[:2]))
        (test.marks if test else marks).append(str(one))
    if found:
        files = count(len(found), "file is not as it was", "files are not as they were")
        marks.append(f"{files} when the run ended")
    return len(found)


def _changes(folder: Path, marks: list[str]) -> list[Mark]:
    """What differs from the manifest; of one that is none, that it is none."""
    manifest = _object(folder / MANIFEST, marks)
    try:
        return list(changes(folder, manifest))
    except (EvidenceError, ValueError) as error:
        return [Mark(MANIFEST, Flaw.UNREADABLE, said(str(error), 200))]


def _tests(folder: Path, rows: Sequence[Mapping[str, Any]], marks: list[str]) -> list[TestSource]:
    """The tests of results.jsonl, and then the folders that it does not name."""
    tests: list[TestSource] = []
    taken: set[Path] = set()
    there = {path.name: path for path in folders_in(folder / "tests")}
    lost = _lost(there, rows)
    for row in rows:
        where, own = _evidence_of(there, row.get("folder"))
        if where is None and not own and row.get("word") == "error":
            where = lost.pop(str(row.get("id")), None)
        if where is not None:
            if where in taken:
                own.append("two results name one folder: the evidence is of one of them")
            taken.add(where)
        tests.append(_test(where, row, own))
    for path in there.values():
        if path not in taken:
            tests.append(_test(path, {}, ["results.jsonl has no line for it"] if rows else []))
    if not rows:
        marks.append("there is no results.jsonl: what each test came to is not known")
    return tests


def _lost(there: Mapping[str, Path], rows: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """By id of the test the folders that no result names: a worker that died told of none."""
    if all(row.get("folder") for row in rows):
        return {}
    named = {row["folder"] for row in rows if isinstance(row.get("folder"), str)}
    free = [path for name, path in there.items() if f"tests/{name}" not in named]
    found = {_guess(path).get("id"): path for path in free}
    return {key: path for key, path in found.items() if isinstance(key, str)}


def _evidence_of(there: Mapping[str, Path], name: Any) -> tuple[Path | None, list[str]]:
    """The folder that a result names, if it stands in the run; None with a mark if it does not."""
    if name is None:
        return None, []
    head, _, rest = name.strip("/").partition("/") if isinstance(name, str) else ("", "", "")
    if head == "tests" and rest in there:
        return there[rest], []
    return None, [f"its folder {said(name, 200)} is missing"]


def _test(folder: Path | None, row: Mapping[str, Any], marks: list[str]) -> TestSource:
    return TestSource(row if row or folder is None else _guess(folder), folder, marks)


def _guess(folder: Path) -> Mapping[str, Any]:
    """What the first event says of a test that has no result: its id."""
    if not is_file(folder / "events.jsonl"):
        return {}
    try:
        with (folder / "events.jsonl").open("rb") as lines:
            first = parse(lines.readline())
    except OSError:
        return {}
    if first is not None and first.kind == "started":
        return {"id": first.data.get("id"), "word": UNKNOWN}
    return {}


def _object(path: Path, marks: list[str]) -> Mapping[str, Any]:
    """A JSON object; a mark and nothing if it is none."""
    if not is_file(path):
        marks.append(f"{path.name} is missing, or no file")
        return {}
    try:
        data = json.loads(path.read_bytes().decode("utf-8", "replace"))
    except OSError as error:
        marks.append(f"{path.name} cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        marks.append(f"{path.name} is no JSON: {said(str(error), 200)}")
    else:
        if isinstance(data, dict):
            return data
        marks.append(f"{path.name} is no JSON object")
    return {}


def _rows(path: Path, marks: list[str]) -> Iterator[Mapping[str, Any]]:
    """The objects of a file of JSON lines; lines that are none are counted."""
    if not is_file(path):
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        marks.append(f"{path.name} cannot be read: {error.strerror}")
        return
    wrong = 0
    for text in data.split(b"\n"):
        try:
            row = json.loads(text.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield row
        elif text.strip():
            wrong += 1
    if wrong:
        marks.append(f"{path.name}: {count(wrong, 'line')} cannot be read")


def read_events(path: Path) -> tuple[list[Event], list[str]]:
    """The events of a file in the order of their time; marks say what else stands in it."""
    events: list[Event] = []
    wrong: list[int] = []
    number = 0
    if not is_file(path):
        return events, ["events.jsonl is missing, or no file"]
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):  # the last one counts
                event = parse(line)
                if event is not None:
                    events.append(event)
                elif line.strip():
                    wrong.append(number)
    except OSError as error:
        return events, [f"events.jsonl cannot be read: {error.strerror}"]
    marks = _marks(events, wrong, number)
    events.sort(key=lambda event: event.t)
    return events, marks


def _marks(events: Sequence[Event], wrong: Sequence[int], last: int) -> list[str]:
    marks = []
    if wrong == [last]:
        marks.append(f"events.jsonl: its last line ({last}) is cut short")
    elif wrong:
        none = count(len(wrong), "line is no event", "lines are no events")
        marks.append(f"events.jsonl: {none}, the first is line {wrong[0]}")
    if not events:
        marks.append("events.jsonl holds no event")
        return marks
    if (events[-1].source, events[-1].kind) != ("test", "finished"):
        marks.append(f"events.jsonl: its end is missing, the last event is #{events[-1].seq}")
    gaps = sum(1 for place, event in enumerate(events, 1) if event.seq != place)
    if gaps and not wrong:
        events_are = count(gaps, "event is not", "events are not")
        marks.append(f"events.jsonl: {events_are} numbered one after the other")
    return marks


def parse(line: bytes) -> Event | None:
    """One line as an event; None if it is none."""
    try:
        row = json.loads(line.decode("utf-8", "replace"))
        seq, t, wall, data = row["seq"], row["t"], row.get("wall", 0.0), row["data"]
        source, kind, board = row["source"], row["kind"], row["board"]
        fine = (
            isinstance(seq, int)
            and 0 <= seq < MAX_SEQ
            and math.isfinite(t)
            and abs(t) < MAX_SECONDS
            and isinstance(data, dict)
            and isinstance(source, str)
            and isinstance(kind, str)
            and (board is None or isinstance(board, str))
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return Event(seq, float(t), wall, source, kind, board, data) if fine else None
