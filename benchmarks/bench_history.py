"""What the history costs: lines of many runs into the index, and what is asked of it.

Beside each figure stands one for the same lines that uses nothing of ours: json.loads of each line
and executemany of the finished rows into the same tables. The times are of one core (CPU time), so
that other work on the machine does not count.

    python benchmarks/bench_history.py [--rows 200000] [--runs 1000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.history import index as the_index
from pytest_blynk_ota.history import queries
from pytest_blynk_ota.history.book import Book
from pytest_blynk_ota.history.index import Index
from pytest_blynk_ota.history.take import sources_in, take

MAX_IMPORT_S, MAX_FLAKES_S = 3.0, 0.3
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
BOARDS = ("c3-a", "c3-b", "esp32-a", "s3-a")
WORDS = ("passed",) * 94 + ("firmware", "firmware", "rig", "error", "skipped", "xfailed")
IMAGES = [hashlib.sha256(bytes([n])).hexdigest() for n in range(40)]


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returned."""
    begun = time.process_time()
    found = act()
    return time.process_time() - begun, found


def write_runs(to: Path, rows: int, runs: int) -> None:
    """Folders of runs as pytest leaves them, without the evidence of the tests."""
    dice = random.Random(10)
    for number in range(runs):
        begun = BEGUN + timedelta(hours=8 * number)
        folder = to / f"{begun:%Y%m%dT%H%M%S}-lab1"
        folder.mkdir(parents=True)
        results = list(results_of(dice, begun, rows // runs))
        data = "".join(f"{one.to_json()}\n" for one in results).encode()
        (folder / "results.jsonl").write_bytes(data)
        head = json.dumps(head_of(number, begun)).encode()
        (folder / "run.json").write_bytes(head)
        files = {
            name: {"sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text)}
            for name, text in (("run.json", head), ("results.jsonl", data))
        }
        (folder / "manifest.json").write_text(json.dumps({"schema": 1, "files": files}))


def head_of(number: int, begun: datetime) -> dict[str, Any]:
    """The run.json of a night: a new firmware every 25 nights."""
    old, new = IMAGES[number // 25 % 39], IMAGES[number // 25 % 39 + 1]
    both = {"old": {"version": "1.0.0", "sha256": old}, "new": {"version": "1.1.0", "sha256": new}}
    return {
        "schema": 2,
        "id": hashlib.sha256(f"run {number}".encode()).hexdigest()[:16],
        "rig": "lab1",
        "rig_kind": "real",
        "firmware": dict.fromkeys(BOARDS, both),
        "tools": {"pytest-blynk-ota": "0.1.0"},
        "complete": True,
        "result": "firmware",
        "started": begun.isoformat(),
        "finished": (begun + timedelta(hours=7)).isoformat(),
    }


def results_of(dice: random.Random, begun: datetime, count: int) -> Iterator[TestResult]:
    for number in range(count):
        word = dice.choice(WORDS)
        board = BOARDS[number % len(BOARDS)]
        name = f"hil_tests/test_download.py::test_a_stall_is_survived[{number}%-{board}]"
        yield TestResult(
            id=name,
            folder=f"tests/{number}",
            word=word,
            seconds=round(dice.lognormvariate(3, 1), 3),
            started=(begun + timedelta(seconds=100 * number)).isoformat(timespec="milliseconds"),
            worker=f"gw{number % 4}",
            boards=(board,),
            message="expected UPGRADED, got STALLED" if word == "firmware" else None,
            text="E   assert\n" * 40 if word == "firmware" else None,
            rerun=f"/usr/bin/python3 -m pytest '{name}' --rig=lab1 --board={board}",
            scenarios=("D22a",),
        )


def baseline(book: Book, stored: Path) -> tuple[float, float]:
    """json.loads of each line, and executemany of the rows as the index holds them."""
    lines = [line for path in book.files() for line in path.read_bytes().splitlines()]
    loads, _ = timed(lambda: [json.loads(line) for line in lines])
    source, target = sqlite3.connect(stored), sqlite3.connect(":memory:")
    rows = source.execute("SELECT * FROM tests").fetchall()
    target.executescript(the_index.TABLES)

    def insert() -> None:
        with target:
            target.executemany(the_index.INSERT, rows)
            target.execute(the_index.SUBJECTS)

    return loads, timed(insert)[0]


def say(what: str, seconds: float, limit: float | None, beside: str) -> bool:
    """Print a figure; whether it holds."""
    fine = limit is None or seconds <= limit
    told = "" if limit is None else f"at most {limit:g} s: {'OK' if fine else 'MISSED'}"
    print(f"{what:<46} {seconds:7.3f} s  {beside:<34} {told}".rstrip())
    return fine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        runs, book = Path(name) / "runs", Book(Path(name) / "history")
        write_runs(runs, options.rows, options.runs)
        took, taken = timed(lambda: list(take(book, sources_in(runs))))
        rows = sum(one.new for one in taken)
        assert rows == options.rows // options.runs * options.runs, f"{rows} rows were taken"
        size = sum(path.stat().st_size for path in book.files()) / 1e6
        print(f"{rows} rows of {len(taken)} runs, {size:.0f} MB of lines")
        imported, index = timed(lambda: Index(book))
        stored = book.folder / the_index.NAME
        loads, insert = baseline(book, stored)
        plain = loads + insert
        fine = say(
            "lines into a new index",
            imported,
            MAX_IMPORT_S,
            f"{imported / plain:.2f} x json.loads + executemany",
        )
        say("  json.loads of the same lines", loads, None, "")
        say("  executemany of the same rows, and an index", insert, None, "")
        say("folders of runs into lines", took, None, f"{took / plain:.2f} x the same")
        index.close()
        again, index = timed(lambda: Index(book))
        say("opened again, nothing new", again, None, f"{again / plain:.2f} x the same")
        scan, _ = timed(lambda: index.db.execute("SELECT sum(seconds) FROM tests").fetchone())
        asked, flakes = timed(lambda: queries.flakes(index.db, queries.Filter()))
        assert flakes, "no flake was found"
        ratio = f"{asked / scan:.0f} x a sum over all rows"
        fine &= say(f"flakes ({len(flakes)})", asked, MAX_FLAKES_S, ratio)
        for ask in (queries.trend, queries.slowest, queries.boards, queries.cases):
            seconds, _ = timed(partial(ask, index.db, queries.Filter()))
            say(ask.__name__, seconds, None, f"{seconds / scan:.0f} x the same")
        print(f"the index: {stored.stat().st_size / 1e6:.1f} MB")
        index.close()
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
