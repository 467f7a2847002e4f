"""Folders of runs for the tests of the report, written by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

SPEED = 20.0
HEAD: Mapping[str, Any] = {
    "schema": 2,
    "rig": "lab1",
    "rig_kind": "real",
    "rig_file": "rigs/lab1.toml",
    "firmware": {
        "c3-a": {
            "old": {"path": None, "version": "1.0.0", "build": "Nov 2", "sha256": "75b8" * 16},
            "new": {"path": None, "version": "1.1.0", "build": "Nov 23", "sha256": "02dd" * 16},
        }
    },
    "tools": {"python": "3.11.7", "pytest": "9.2.0"},
    "command": ["pytest", "hil tests"],
    "complete": True,
    "result": "firmware",
    "counts": {},
    "started": "2026-11-26T02:00:00+00:00",
    "finished": "2026-11-26T02:10:00+00:00",
}
Row = tuple[float, str, str, Mapping[str, Any]]


def stalled(name: str = "test_it") -> list[Row]:
    """A download that stalls at half because the test asked for it: (host seconds, …)."""
    conn = {"conn": 2, "offer": "o1", "attempt": 1}
    stall = {**conn, "index": 0, "fault": "stall after=50%"}
    return [
        (0.0, "test", "started", {"id": f"test_it.py::{name}"}),
        (0.1, "uart", "reset", {"code": 1, "cause": "POWERON", "download": False}),
        (0.2, "cloud", "login", {"session": 3}),
        (0.2, "cloud", "report", {"session": 3, "version": "1.0.0", "build": "Nov 2"}),
        (1.0, "ota", "operation", {"op": "offer", "number": 1, "speed": SPEED}),
        (1.0, "cloud", "ota_sent", {"session": 3, "offer": "o1", "url": "http://x/f/new.bin"}),
        (1.1, "delivery", "response", {**conn, "status": 200, "announced": 204800}),
        (1.2, "delivery", "progress", {**conn, "written": 60000, "acked": 40000}),
        (1.3, "delivery", "progress", {**conn, "written": 102400, "acked": 90000}),
        (1.3, "delivery", "fault", {**stall, "phase": "fired"}),
        (1.4, "uart", "line", {"text": "[2189] OTA written 102400 / 204800 bytes"}),
        (1.4, "uart", "metric", {"name": "free heap", "value": 180000, "unit": "B"}),
        (2.9, "delivery", "ended", {**conn, "by": "device", "how": "fin", "written": 102400,
                                    "acked": 102400, "announced": 204800}),
        (2.9, "delivery", "fault", {**stall, "phase": "over"}),
        (3.0, "uart", "reset", {"code": 12, "cause": "RTC_SW_CPU_RST", "download": False}),
        (3.1, "cloud", "login", {"session": 4}),
        (3.5, "ota", "watch_ended", {"why": "the one try is over"}),
        (3.6, "test", "finished", {"verdicts": 1}),
    ]  # fmt: skip


def verdict(outcome: str = "STALLED", **more: Any) -> dict[str, Any]:
    """One stored verdict."""
    return {
        "operation": 1,
        "outcome": outcome,
        "air_status": "New Firmware Requested",
        "reasons": [
            {"text": "download 1 ended: stalled", "events": [7, 10, 13]},
            {"text": "old (1.0.0) runs", "events": []},
        ],
        "findings": [],
        "partial": False,
        "running": "1.0.0",
        "running_image": "old",
        "versions": ["1.0.0"],
        "downloads": [
            {
                "number": 1,
                "offer": "o1",
                "attempt": 1,
                "ended": "stalled",
                "status": 200,
                "announced": 204800,
                "written": 102400,
                "acked": 102400,
                "fault": "stall after=50%",
                "seconds": 32.0,
            }
        ],
        "boots": 1,
        "crashes": [],
        "seconds": 50.0,
        "slots": {},
    } | more


def events_text(rows: Iterable[Row], board: str = "c3-a") -> str:
    """The lines of events.jsonl."""
    return "".join(
        json.dumps(
            {
                "schema": 1,
                "seq": seq,
                "t": 1000 + t,
                "wall": 1.8e9 + t,
                "source": source,
                "kind": kind,
                "board": None if source == "test" else board,
                "data": data,
            }
        )
        + "\n"
        for seq, (t, source, kind, data) in enumerate(rows, 1)
    )


def seal(run: Path) -> None:
    """Write the manifest of a run as it stands now."""
    files = {
        path.relative_to(run).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in run.rglob("*")
        if path.is_file()
    }
    (run / "manifest.json").write_text(json.dumps({"schema": 1, "files": files}))


class Folder:
    """A run's folder that tests are put into."""

    def __init__(self, path: Path, **head: Any) -> None:
        self.path = path
        path.mkdir(parents=True)
        (path / "run.json").write_text(json.dumps(HEAD | head))

    def add(
        self,
        name: str = "test_it",
        word: str = "firmware",
        *,
        rows: Sequence[Row] | None = None,
        verdicts: Sequence[Mapping[str, Any]] | None = None,
        message: str | None = "assert expected UPGRADED, got STALLED",
        **result: Any,
    ) -> Path:
        """Add a test with its result; returns its folder."""
        folder = self.path / "tests" / name
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text(events_text(stalled(name) if rows is None else rows))
        stored = [verdict()] if verdicts is None else list(verdicts)
        (folder / "verdict.json").write_text(json.dumps({"schema": 1, "verdicts": stored}))
        row = {
            "schema": 1,
            "id": f"test_it.py::{name}",
            "folder": f"tests/{name}",
            "word": word,
            "seconds": 3.6,
            "started": "2026-11-26T02:01:00+00:00",
            "worker": None,
            "boards": ["c3-a"],
            "message": message,
            "text": None if message is None else f"E   {message}",
            "rerun": f"pytest test_it.py::{name}",
        } | result
        with (self.path / "results.jsonl").open("a") as results:
            results.write(json.dumps(row) + "\n")
        return folder
