"""Folders of runs for the tests of the gate: a recorded update under other names, times and images,
judged as it is written, so that nothing is wrong with it."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pytest_blynk_ota.evidence.event import Event, parse_events
from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.writer import write_json
from pytest_blynk_ota.verdict.decide import Judge

TIMELINES = Path(__file__).parents[1] / "data" / "timelines"
UPGRADED, STALLED = "upgraded-reference-resumed", "stalled-mqtt_idf-vanish"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
HOUR_S, DAY_S = 3600.0, 86400.0
NEW, OLD, OTHER = "a1" * 32, "b2" * 32, "c3" * 32


@cache
def recorded(name: str) -> tuple[Event, ...]:
    """A recorded test, without most of its log."""
    with gzip.open(TIMELINES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        events = parse_events(lines.read())
    return tuple(one for one in events if (one.source, one.kind) != ("uart", "line"))


def timeline(
    name: str,
    id: str,
    at: float,
    images: dict[str, str],
    identity: dict[str, Any] | None,
    board: str,
) -> list[Event]:
    """A recorded test under another id, at another time, of other images, on another board."""
    events, first = recorded(name), recorded(name)[0]
    rows: list[Event] = []
    for one in events:
        data = json.loads(json.dumps(dict(one.data)))
        if (one.source, one.kind) == ("test", "started"):
            data["id"] = id
        for label, sha in images.items():
            if label in data.get("images", {}):
                data["images"][label]["sha256"] = sha
        rows.append(replace(one, data=data, wall=at + one.t - first.t, board=one.board and board))
        if (one.source, one.kind) == ("test", "started") and identity is not None:
            said = {"flash_bytes": 4 << 20, **identity}
            rows.append(replace(rows[-1], source="rig", kind="identity", board=board, data=said))
    return [replace(one, seq=seq) for seq, one in enumerate(rows, 1)]


VERDICTS: dict[tuple[str, bool], dict[str, Any]] = {}


def verdict_of(like: str, events: Sequence[Event]) -> dict[str, Any]:
    """What the judge says of the one operation today: the same whenever and of whatever it was, but
    for the numbers of events behind one that is put in."""
    key = like, any(one.kind == "identity" for one in events)
    if key not in VERDICTS:
        VERDICTS[key] = {"operation": 1, **Judge(list(events))(1).to_json()}
    return VERDICTS[key]


class RunFolder:
    """A run's folder; ``seal()`` ends it."""

    def __init__(
        self,
        path: Path,
        *,
        kind: str = "real",
        chip: str = "esp32c3",
        new: str = NEW,
        old: str = OLD,
        at: float = NOW - HOUR_S,
        board: str = "c3-a",
        mac: str = "34:85:18:00:00:01",
        **head: Any,
    ) -> None:
        self.path, self.at, self.board = path, at, board
        self.images = {"new": new, "old": old}
        self.identity: dict[str, Any] | None = {"kind": kind, "chip": chip, "mac": mac}
        self.results: list[dict[str, Any]] = []
        self.head = {
            "schema": 2,
            "id": hashlib.sha256(str(path).encode()).hexdigest()[:16],
            "rig": "lab1",
            "rig_kind": kind,
            "rig_file": "rigs/lab1.toml",
            "firmware": {
                board: {
                    "old": {"path": "old.bin", "version": "1.0.0", "build": None, "sha256": old},
                    "new": {"path": "app.bin", "version": "1.1.0", "build": None, "sha256": new},
                }
            },
            "tools": {},
            "command": ["pytest"],
            "started": iso(at),
            "complete": True,
        } | head
        path.mkdir(parents=True)

    def add(
        self,
        name: str,
        scenarios: Sequence[str] = ("H1",),
        word: str = "passed",
        *,
        like: str = UPGRADED,
        images: dict[str, str] | None = None,
        identity: bool = True,
        **row: Any,
    ) -> Path:
        """Add a test; returns its folder."""
        at = self.at + 10.0 * len(self.results)
        id = f"test_it.py::{name}"
        events = timeline(
            like, id, at, images or self.images, self.identity if identity else None, self.board
        )
        folder = self.path / "tests" / name
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("".join(one.to_json() + "\n" for one in events))
        (folder / "verdict.json").write_text(
            json.dumps({"schema": 1, "verdicts": [verdict_of(like, events)]})
        )
        self.results.append(
            {
                "schema": 1,
                "id": id,
                "folder": f"tests/{name}",
                "word": word,
                "seconds": 3.0,
                "started": iso(at),
                "worker": None,
                "boards": [self.board],
                "message": None if word == "passed" else "expected UPGRADED, got STALLED",
                "text": None,
                "rerun": None,
                "scenarios": list(scenarios),
            }
            | row
        )
        return folder

    def seal(self) -> Path:
        """Write what stands in the folder of the run itself."""
        words = [one["word"] for one in self.results]
        result = next((word for word in ("firmware", "rig") if word in words), "ok")
        result = "incomplete" if result == "ok" and "error" in words else result
        counts = {word: words.count(word) for word in words}
        until = iso(self.at + 10.0 * len(self.results) + 60)
        write_json(
            self.path / "run.json",
            {"result": result, "counts": counts, "finished": until} | self.head,
        )
        (self.path / "results.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in self.results)
        )
        return self.reseal()

    def reseal(self) -> Path:
        """Write the manifest of what stands there, as who changed a file would."""
        write_json(self.path / "manifest.json", manifest_of(self.path))
        return self.path


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


POLICY = """
[policy]
name = "release"
max_age = "7d"

[[line]]
name = "updates"
scenarios = ["H1"]
chips = ["esp32c3"]
runs = 2
"""


def folder(tmp_path, name="run1", **more):
    return RunFolder(tmp_path / name, **{"at": time.time() - HOUR_S, **more})


def good(tmp_path, name="run1", tests=2, **more):
    """A run whose tests passed."""
    run = folder(tmp_path, name, **more)
    for number in range(tests):
        run.add(f"t{number}")
    return run
