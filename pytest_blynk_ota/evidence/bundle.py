"""The stored evidence of one test, read: ``read_test(folder)`` to judge it, ``look_at(folder)`` to
show it. :mod:`pytest_blynk_ota.evidence.writer` has written it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.event import Event, events_in
from pytest_blynk_ota.evidence.files import NoSuchFile, flaw_of, kind_of, read_bytes, read_json
from pytest_blynk_ota.evidence.marks import Flaw, Mark

MAX_NAME_CHARS = 100
EVENTS = "events.jsonl"
VERDICT = "verdict.json"
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


@dataclass(frozen=True, slots=True)
class Bundle:
    """The stored evidence of one test.

    Attributes:
        folder: where it is.
        events: in the order seen; what a kill left of them.
        verdicts: what was stored of each operation; None if nothing was.
        marks: what is wrong, by file in the folder.
        broken: those of them for which nothing can be judged: what is left of the events is not
            what was seen.
    """

    folder: Path
    events: Sequence[Event]
    verdicts: Sequence[Mapping[str, Any]] | None
    marks: tuple[Mark, ...] = ()
    broken: tuple[Mark, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the test came to its end, so that nothing more was to be seen."""
        return _ended(self.events)


def read_test(folder: Path) -> Bundle:
    """Read the folder of one test, to judge it. A kill leaves a readable one, with a mark.

    Raises:
        EvidenceError: it holds no events, they cannot be read, or a line is none.
    """
    bundle = look_at(folder)
    if not bundle.broken:
        return bundle
    trouble = bundle.broken[0]
    what = f"{folder / EVENTS}: {trouble.text}"
    missing = trouble.flaw is Flaw.MISSING
    raise EvidenceError(f"{what}; expected the folder of one test" if missing else what)


def look_at(folder: Path) -> Bundle:
    """The same, to show what there is: all that can be read, with a mark for what cannot."""
    events, broken, torn = _stored_events(folder / EVENTS)
    verdicts, bad = _verdicts(folder)
    flaws = _flaws(events, torn=torn, verdicts=verdicts)
    if broken:  # what else its lines do not say follows from that
        flaws = (mark for mark in flaws if mark.file != EVENTS)
    return Bundle(folder, events, verdicts, (*broken, *flaws, *bad), tuple(broken))


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


def _stored_events(path: Path) -> tuple[list[Event], list[Mark], bool]:
    """The events; why they do not tell the whole; and whether half of a line is left at the end."""
    try:
        data = read_bytes(path)
    except EvidenceError as error:
        flaw = flaw_of(error)
        return [], [Mark(EVENTS, flaw, str(error).removeprefix(f"{path}: "))], False
    lines = _lines(data)
    with many_objects():
        events, bad = events_in(lines)
    torn = bool(bad) and bad[-1].number == len(lines)
    bad = bad[:-1] if torn else bad
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return events, [Mark(EVENTS, Flaw.EDITED, f"{bad[0]}{more}")] if bad else [], torn


def _lines(data: bytes) -> Sequence[str | bytes]:
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return data.split(b"\n")


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
        return None, [Mark(VERDICT, flaw_of(error), str(error).removeprefix(f"{path}: "))]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None, [Mark(VERDICT, Flaw.EDITED, "verdicts: expected a list of objects")]
    return rows, []
