"""The evidence folder of a run and of each test in it.

``events.jsonl`` is the truth and is written line by line; everything else is a view of it,
written when the test ends. A killed run therefore leaves its events, and a ``run.json`` that
says ``"complete": false``.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError, RigError
from pytest_blynk_ota.evidence.event import SCHEMA, Event, parse_events
from pytest_blynk_ota.evidence.files import NoSuchFile, decoded, kind_of, read_bytes, read_json
from pytest_blynk_ota.evidence.marks import Flaw, Mark
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Sink, Timeline

MAX_NAME_CHARS = 100
EVENTS = "events.jsonl"
VERDICT = "verdict.json"
MAX_TRIES = 10_000
"""A test that is run again in one run has a folder of its own; so often it is not."""
MAX_FIRST_BYTES = 1 << 20


def folder_name(test_id: str) -> str:
    """A test's folder: its id with unsafe characters replaced, told apart by a short hash.

    Brackets are among them: they are patterns to a shell and to what uploads artifacts, and GitLab
    takes no attachment from such a path.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", test_id.replace("::", ".").replace("/", "."))
    plain = plain.strip("._") or "test"
    if plain == test_id and len(plain) <= MAX_NAME_CHARS:
        return plain
    return f"{plain[:MAX_NAME_CHARS]}-{hashlib.sha256(test_id.encode()).hexdigest()[:6]}"


class TestBundle:
    """The folder of one test; its timeline is written as it grows."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(
        self, run: Path, test_id: str, redactor: Redactor, worker: str | None = None
    ) -> None:
        self.id = redactor.text(test_id)  # a parameter of a test may be a secret
        self.folder = _claim(run / "tests", folder_name(self.id))
        self.timeline = Timeline(redactor=redactor, path=self.folder / EVENTS)
        told: dict[str, Any] = {"worker": worker} if worker else {}
        self.timeline.add("test", "started", id=test_id, **told)

    def finish(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        """Write the views and close the timeline.

        Raises:
            RigError: not all of it could be written.
        """
        self.timeline.add("test", "finished", verdicts=len(verdicts))
        try:
            self.timeline.close()
            write_views(self.folder, self.timeline.events(), verdicts)
        except OSError as error:
            raise RigError(f"the evidence in {self.folder} is not whole: {error}") from error


def _claim(tests: Path, name: str) -> Path:
    """A folder that nobody has, made for one test: no two processes ever write the same file.

    A test that is run again in one run, by a plugin or by several workers, has a number behind
    its name from the second time on.
    """
    tests.mkdir(parents=True, exist_ok=True)
    for number in range(1, MAX_TRIES):
        folder = tests / (name if number == 1 else f"{name}.{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise RigError(f"{tests}: {name} was run {MAX_TRIES} times in one run")


def write_views(
    folder: Path, events: Sequence[Event], verdicts: Sequence[Mapping[str, Any]]
) -> None:
    """Write serial.log, http.jsonl, flash.json and verdict.json beside the events."""
    start = events[0].t if events else 0.0
    boards = {event.board for event in events if event.source == "uart"}
    lines = []
    for event in events:
        if (event.source, event.kind) == ("uart", "line"):
            name = f"{event.board} " if len(boards) > 1 else ""
            lines.append(f"[{event.t - start:10.4f}] {name}{event.data['text']}\n")
    write_text(folder / "serial.log", "".join(lines))
    http = [event.to_json() + "\n" for event in events if event.source == "delivery"]
    write_text(folder / "http.jsonl", "".join(http))
    flash = [dict(event.data) for event in events if event.source == "flash"]
    write_json(folder / "flash.json", {"schema": SCHEMA, "reads": flash})
    write_json(folder / VERDICT, {"schema": SCHEMA, "verdicts": list(verdicts)})


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file whole: a reader never sees half of it."""
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    write_text(half, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    half.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file and have it on the disk; half a pair of UTF-16, which is no UTF-8, is
    written as its escape."""
    with path.open("wb") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
        file.flush()
        os.fsync(file.fileno())


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Append whole lines to a file that only this process writes, and have them on the disk.

    Raises:
        OSError: they cannot be written.
    """
    sink = Sink(path)
    for line in lines:
        sink.write(line)
    sink.close()


@dataclass(frozen=True, slots=True)
class Bundle:
    """The stored evidence of one test.

    Attributes:
        folder: where it is.
        events: in the order seen; what a kill left of them.
        verdicts: what was stored of each operation; None if nothing was.
        marks: what is wrong, by file in the folder.
    """

    folder: Path
    events: Sequence[Event]
    verdicts: Sequence[Mapping[str, Any]] | None
    marks: tuple[Mark, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the test came to its end, so that nothing more was to be seen."""
        return _ended(self.events)


def read_test(folder: Path) -> Bundle:
    """Read the folder of one test. A kill leaves a readable one, with a mark.

    Raises:
        EvidenceError: it holds no events, or they cannot be read.
    """
    path = folder / EVENTS
    try:
        data = read_bytes(path)
    except NoSuchFile as error:
        raise EvidenceError(f"{error}; expected the folder of one test") from error
    with many_objects():
        events, torn = _events(path, data)
    verdicts, bad = _verdicts(folder)
    marks = [*_flaws(events, torn=torn, verdicts=verdicts), *bad]
    return Bundle(folder, events, verdicts, tuple(marks))


@contextlib.contextmanager
def many_objects() -> Iterator[None]:
    """Keep the garbage collector from looking, again and again, at events of which none is garbage:
    of 100,000 it costs a third of the time that reading or judging them takes."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def first_event(folder: Path) -> Event | None:
    """The first event of a test; None if there is none that can be read."""
    path = folder / EVENTS
    try:
        if kind_of(path):
            return None
        with path.open("rb") as file:
            return Event.from_json(file.readline(MAX_FIRST_BYTES).decode("utf-8"))
    except (EvidenceError, OSError, ValueError, RecursionError):
        return None


def _events(path: Path, data: bytes) -> tuple[list[Event], bool]:
    """The whole lines; and whether half of one is left at the end."""
    body, _, tail = data.rpartition(b"\n")
    try:
        events = parse_events(decoded(body, path))
    except ValueError as error:
        raise EvidenceError(f"{path}: {error}") from error
    if not tail.strip():
        return events, False
    try:
        return [*events, Event.from_json(tail.decode("utf-8"))], False
    except (ValueError, RecursionError):
        return events, True


def _ended(events: Sequence[Event]) -> bool:
    return bool(events) and (events[-1].source, events[-1].kind) == ("test", "finished")


def _flaws(
    events: Sequence[Event], *, torn: bool, verdicts: Sequence[Mapping[str, Any]] | None
) -> Iterator[Mark]:
    """What the events say of themselves: whether one is missing, and whether there is an end."""
    if torn:
        yield Mark(EVENTS, Flaw.CUT, "it ends in half a line")
    gap = next((at for at, event in enumerate(events, 1) if event.seq != at), None)
    if gap is not None:
        what = f"expected event #{gap} on line {gap}, found #{events[gap - 1].seq}"
        yield Mark(EVENTS, Flaw.EDITED, what)
    if not _ended(events):
        last = f"the last whole event is #{events[-1].seq}" if events else "it holds no event"
        yield Mark(EVENTS, Flaw.CUT, f"the end of the test is missing: {last}")
    elif verdicts is None:
        yield Mark(VERDICT, Flaw.MISSING, "the test ended, and nothing says as what")
    elif events[-1].data.get("verdicts") != len(verdicts):
        what = f"it holds {len(verdicts)}, the test ended with {events[-1].data.get('verdicts')!r}"
        yield Mark(VERDICT, Flaw.EDITED, what)


def _verdicts(folder: Path) -> tuple[list[Mapping[str, Any]] | None, list[Mark]]:
    """The stored verdicts; None, with the reason, if there are none."""
    path = folder / VERDICT
    try:
        rows = read_json(path).get("verdicts")
    except NoSuchFile:
        return None, []
    except EvidenceError as error:
        what = str(error).removeprefix(f"{path}: ")
        return None, [Mark(VERDICT, Flaw.UNREADABLE, what)]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None, [Mark(VERDICT, Flaw.EDITED, "verdicts: expected a list of objects")]
    return rows, []
