"""The report page: how long it takes, what it weighs, and whether 100,000 events stay smooth.

Tests are copied from real runs until there are 200; without --run, hil_tests is run first. The
soak is a real test whose events are repeated. Frames are measured in headless Chromium, where there
is one.

    python benchmarks/bench_report.py [--run RUN ...] [--tests 200] [--events 100000]

Ends with 1 if a limit does not hold.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "report"))

import chromium  # noqa: E402  # the tests' own browser

from pytest_blynk_ota.report import write  # noqa: E402

MAX_BUILD_S = 5.0
MAX_BYTES = 5_000_000
MAX_DRAW_MS = 16.0
"""A frame of a display of 60 Hz: nine in ten drawings must be quicker. How often frames come
depends on the display and on what else the machine does; that is printed, and no limit."""
FRAMES = 120
GAP_S = 0.5
MEASURE = """(async () => {{
  const it = blynkOta.shown(), gaps = [], costs = [];
  let last = await new Promise((done) => requestAnimationFrame(done));
  for (let i = 0; i < {frames}; i++) {{
    {act};
    const now = await new Promise((done) => requestAnimationFrame(done));
    gaps.push(now - last);
    last = now;
    const begin = performance.now();
    it.line.draw();
    it.log.draw();
    costs.push(performance.now() - begin);
  }}
  return [gaps, costs];
}})()"""
ACTS = {
    "zoom": "it.line.zoom(i < {half} ? 0.93 : 1 / 0.93)",
    "pan": "(i === 0 && it.line.zoom(0.2), it.line.pan(i < {half} ? 0.03 : -0.03))",
    "scroll the log": "it.log.box.scrollTop += 4000",
    "follow the cursor": "it.log.follow(it.data.end * i / {frames})",
}


def real_run(folder: Path) -> Path:
    """A run of the stock suite."""
    print("running hil_tests for real bundles …")
    command = [sys.executable, "-m", "pytest", "hil_tests", "-q", "-n", "2", "--evidence", folder]
    subprocess.run([str(one) for one in command], cwd=ROOT, check=True, capture_output=True)
    return folder


def copy_tests(runs: Sequence[Path], to: Path, count: int) -> None:
    """A run of so many tests, taken in turn from real ones."""
    sources = [path.parent for run in runs for path in sorted(run.glob("tests/*/events.jsonl"))]
    to.mkdir(parents=True)
    shutil.copy(runs[0] / "run.json", to / "run.json")
    words = itertools.cycle(("firmware", "passed", "passed", "passed"))
    with (to / "results.jsonl").open("w") as results:
        for number, source in zip(range(count), itertools.cycle(sources), strict=False):
            name = f"test_{number}"
            shutil.copytree(source, to / "tests" / name)
            results.write(json.dumps(_row(f"test_all.py::{name}", f"tests/{name}", next(words))))
            results.write("\n")


def _row(name: str, folder: str, word: str) -> dict[str, Any]:
    message = "assert expected UPGRADED, got STALLED" if word == "firmware" else None
    return {"schema": 1, "id": name, "folder": folder, "word": word, "seconds": 1.0,
            "started": None, "worker": None, "boards": ["c3-a"], "message": message,
            "text": message and message * 40, "rerun": f"pytest {name}"}  # fmt: skip


def soak(source: Path, to: Path, count: int) -> None:
    """A run of one test with so many events, and a metric that falls."""
    rows = [json.loads(line) for line in (source / "events.jsonl").open(encoding="utf-8")]
    folder = to / "tests" / "soak"
    folder.mkdir(parents=True)
    with (folder / "events.jsonl").open("w", encoding="utf-8") as events:
        for seq, row in enumerate(itertools.islice(repeated(rows), count), 1):
            events.write(json.dumps(row | {"seq": seq}) + "\n")
    shutil.copy(source / "verdict.json", folder / "verdict.json")
    (to / "run.json").write_text("{}")
    row = json.dumps(_row("test_all.py::soak", "tests/soak", "firmware"))
    (to / "results.jsonl").write_text(row + "\n")


def repeated(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The events again and again, each time later, each line of the log with its own number."""
    span = rows[-1]["t"] - rows[0]["t"] + GAP_S
    inside = [row for row in rows if row["source"] != "test"]
    for turn in itertools.count():
        for place, row in enumerate(inside):
            again = row | {"t": row["t"] + turn * span}
            if row["kind"] == "line":
                again["data"] = {"text": f"{row['data']['text']} ({turn}.{place})"}
            yield again
            if place % 50 == 0:
                data = {"name": "free heap", "value": 200_000 - turn * 10 + place, "unit": "B"}
                yield again | {"source": "uart", "kind": "metric", "data": data}


def build(run: Path) -> tuple[float, Path]:
    """Seconds of one core that a report takes, and its page. It waits for nothing but the disk."""
    start, wall = time.process_time(), time.perf_counter()
    page = write.write_beside(run)
    seconds = time.process_time() - start
    print(f"built in {time.perf_counter() - wall:.2f} s by the clock, {seconds:.2f} s of one core")
    return seconds, page


def say(what: str, value: float, limit: float, unit: str) -> bool:
    """Print a figure beside its limit; whether it holds."""
    fine = value <= limit
    print(f"{what:<44} {value:9.2f} {unit:<3} limit {limit:g}{'' if fine else '  TOO MUCH'}")
    return fine


def figures(what: str, seconds: float, page: Path) -> bool:
    """Time and size of a page beside their limits."""
    megabytes = page.stat().st_size / 1e6
    quick = say(f"{what}: build", seconds, MAX_BUILD_S, "s")
    return say(f"{what}: size", megabytes, MAX_BYTES / 1e6, "MB") and quick


def frames(page: Path) -> bool:
    """The frame times of the soak; whether nine in ten are quick enough."""
    path = chromium.found()
    if path is None:
        print("no Chromium here: frames are not measured (apt-get install chromium)")
        return True
    browser = chromium.Chromium(path)
    fine = True
    try:
        start = time.perf_counter()
        browser.open(page, "#t0")
        print(f"{'open the soak in Chromium':<44} {time.perf_counter() - start:9.2f} s")
        for name, act in ACTS.items():
            text = act.format(half=FRAMES // 2, frames=FRAMES)
            gaps, costs = map(sorted, browser.js(MEASURE.format(frames=FRAMES, act=text)))
            frame, worst = gaps[FRAMES // 2], gaps[-1]
            print(f"  {name}: a frame each {frame:.1f} ms, at worst {worst:.1f} ms")
            tenth = costs[FRAMES * 9 // 10]
            fine &= say(f"  {name}: nine drawings in ten within", tenth, MAX_DRAW_MS, "ms")
    finally:
        browser.close()
    return fine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, action="append")
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = options.run or [real_run(folder / "hil")]
        copy_tests(runs, folder / "good" / "many", options.tests)
        build(folder / "good" / "many")  # warm: templates, byte code, disk
        seconds, page = build(folder / "good" / "many")
        fine = say(f"{options.tests} tests: build", seconds, MAX_BUILD_S, "s")
        fine &= say(
            f"{options.tests} tests: size", page.stat().st_size / 1e6, MAX_BYTES / 1e6, "MB"
        )
        tests = [path.parent for path in runs[0].glob("tests/*/events.jsonl")]
        usual = sorted(tests, key=lambda test: (test / "events.jsonl").stat().st_size)
        soak(usual[len(usual) * 3 // 4], folder / "soak", options.events)
        seconds, page = build(folder / "soak")
        fine &= say(f"{options.events} events: build", seconds, MAX_BUILD_S, "s")
        fine &= say(
            f"{options.events} events: size", page.stat().st_size / 1e6, MAX_BYTES / 1e6, "MB"
        )
        fine &= frames(page)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
