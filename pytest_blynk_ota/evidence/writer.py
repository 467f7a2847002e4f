"""The evidence folder of a test, written.

``events.jsonl`` is the truth and is written line by line; everything else is a view of it,
written when the test ends. A killed run therefore leaves its events, and a ``run.json`` that
says ``"complete": false``.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError, RigError
from pytest_blynk_ota.evidence import chain
from pytest_blynk_ota.evidence.agree import RUN
from pytest_blynk_ota.evidence.bundle import EVENTS, VERDICT, folder_name
from pytest_blynk_ota.evidence.event import SCHEMA, Event
from pytest_blynk_ota.evidence.files import read_json, write_text
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.results import RESULTS, TestResult
from pytest_blynk_ota.evidence.timeline import Sink, Timeline

MAX_TRIES = 10_000
"""A test that is run again in one run has a folder of its own; so often it is not."""


class TestBundle:
    """The folder of one test; its timeline is written as it grows."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(
        self,
        run: Path,
        test_id: str,
        redactor: Redactor,
        worker: str | None = None,
        run_id: str | None = None,
    ) -> None:
        self.id = redactor.text(test_id)  # a parameter of a test may be a secret
        self.folder = _claim(run / "tests", folder_name(self.id))
        self.timeline = Timeline(redactor=redactor, path=self.folder / EVENTS)
        told: dict[str, Any] = {
            key: value for key, value in (("worker", worker), ("run", run_id)) if value
        }
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


class Results:
    """results.jsonl as it is written, each line with the digest of the one before.

    Args:
        run: the folder of the run; its run.json is there.

    Attributes:
        told: id and word of each line.

    Raises:
        EvidenceError: run.json cannot be read.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._last = chain.of_start(read_json(run / RUN))
        self.told: list[tuple[str, str]] = []

    def add(self, results: Iterable[TestResult]) -> None:
        """Append whole lines, and have them on the disk.

        Raises:
            OSError: they cannot be written; the end of the run says so by its count.
        """
        lines = [self._line(result) for result in results]
        sink = Sink(self._run / RESULTS)
        for line in lines:
            sink.write(line)
        sink.close()

    def _line(self, result: TestResult) -> str:
        evidence = None
        if result.folder is not None:
            with contextlib.suppress(OSError, EvidenceError):  # a reader says that it has none
                evidence = chain.of_test(self._run / result.folder)
        line = replace(result, evidence=evidence, before=self._last).to_json()
        self._last = chain.of_line(line.encode("utf-8", "backslashreplace"))
        self.told.append((result.id, result.word))
        return line

    def end(self) -> dict[str, Any]:
        """What run.json holds of them at the end of the run."""
        return {"lines": len(self.told), "last": self._last}
