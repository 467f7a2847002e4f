"""The evidence folder of a run and of each test in it.

``events.jsonl`` is the truth and is written line by line; everything else is a view of it,
written when the test ends. A killed run therefore leaves its events, and a ``run.json`` that
says ``"complete": false``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.event import SCHEMA, Event, read_events
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Timeline

MAX_NAME_CHARS = 100
VIEWS = ("serial.log", "http.jsonl", "flash.json", "verdict.json")


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

    def __init__(self, run: Path, test_id: str, redactor: Redactor) -> None:
        self.folder = run / "tests" / folder_name(test_id)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._events = self.folder / "events.jsonl"
        for name in ("events.jsonl", *VIEWS):  # a rerun of one test in one run replaces it
            (self.folder / name).unlink(missing_ok=True)
        for old in self.folder.glob("coredump-*"):
            old.unlink()
        self.timeline = Timeline(redactor=redactor, path=self._events)
        self.timeline.add("test", "started", id=test_id)

    def finish(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        """Write the views and close the timeline."""
        self.timeline.add("test", "finished", verdicts=len(verdicts))
        self.timeline.close()
        write_views(self.folder, self.timeline.events(), verdicts)


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
    (folder / "serial.log").write_text("".join(lines), encoding="utf-8")
    (folder / "http.jsonl").write_text(
        "".join(event.to_json() + "\n" for event in events if event.source == "delivery"),
        encoding="utf-8",
    )
    flash = [dict(event.data) for event in events if event.source == "flash"]
    write_json(folder / "flash.json", {"schema": SCHEMA, "reads": flash})
    write_json(folder / "verdict.json", {"schema": SCHEMA, "verdicts": list(verdicts)})


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file whole: a reader never sees half of it."""
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    half.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    half.replace(path)


def read_bundle(folder: Path) -> tuple[list[Event], list[dict[str, Any]]]:
    """The events of a test's folder, and the verdicts stored beside them (none if killed).

    Raises:
        EvidenceError: the folder holds no evidence, or it cannot be read.
    """
    path = folder / "events.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            events, torn = read_events(lines)
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror}; expected the folder of one test") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise EvidenceError(f"{path}: {error}") from error
    stored = folder / "verdict.json"
    if not stored.is_file():
        return events, []
    if torn or not events or (events[-1].source, events[-1].kind) != ("test", "finished"):
        raise EvidenceError(
            f"{path}: its end is missing: the test was finished and judged, but the last whole "
            f"event is #{events[-1].seq if events else 0}"
        )
    try:
        return events, list(json.loads(stored.read_text(encoding="utf-8"))["verdicts"])
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(f"{stored}: is no verdict file: {error}") from error
