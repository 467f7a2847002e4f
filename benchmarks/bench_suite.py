"""The whole of hil_tests on the virtual rig, again and again: time, and equal verdicts.

python benchmarks/bench_suite.py [--runs 20] [-n 4]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Verdicts = dict[str, list[str]]


def one_run(workers: str, evidence: Path) -> tuple[float, int, Verdicts]:
    """Wall seconds, exit code, and the outcomes of each test."""
    start = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "hil_tests",
            "-q",
            "-n",
            workers,
            "--evidence",
            str(evidence),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    verdicts = {
        path.parent.name: [row["outcome"] for row in json.loads(path.read_text())["verdicts"]]
        for path in evidence.glob("tests/*/verdict.json")
    }
    if done.returncode:
        print(done.stdout[-6000:])
    return seconds, done.returncode, verdicts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("-n", default="4", dest="workers")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.runs):
            seconds, code, verdicts = one_run(options.workers, Path(name) / str(number))
            rows.append((seconds, code, verdicts))
            print(
                f"run {number + 1}: {seconds:.1f} s, exit {code}, {len(verdicts)} tests", flush=True
            )
    first = rows[0][2]
    same = sum(verdicts == first for _, _, verdicts in rows)
    green = sum(code == 0 for _, code, _ in rows)
    times = [seconds for seconds, _, _ in rows]
    print(
        f"{len(first)} tests with -n {options.workers}: median {statistics.median(times):.1f} s, "
        f"worst {max(times):.1f} s; green {green}/{len(rows)}; same verdicts {same}/{len(rows)}"
    )
    sys.exit(not (same == green == len(rows)))


if __name__ == "__main__":
    main()
