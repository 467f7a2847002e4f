"""What the gate costs: over 10,000 test results, beside a plain sha256 of the same files.

The baseline is Python's ``hashlib.sha256`` over each file of the runs, read whole, one after the
other, in this process. The gate is the whole command's work: reading the policy, comparing every
file with its manifest, taking the claims, deciding. With ``judge_again = false`` it believes the
stored verdicts, whose files it has hashed; by default it decides each of them again, on all cores.

    python benchmarks/bench_gate.py [--results 10000] [--runs 50] [--rounds 5]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "gate"))

from gate_runs import NEW, NOW, RunFolder

from pytest_blynk_ota.cli.gate_read import read_runs
from pytest_blynk_ota.gate.accept import Binary
from pytest_blynk_ota.gate.decide import decide
from pytest_blynk_ota.gate.policy import read_policy

MAX_RATIO = 4.0
BUNDLE_BYTES = 20_000
POLICY = """
[policy]
name = "bench"
max_age = "7d"
judge_again = {again}

[[line]]
name = "updates"
scenarios = ["H1"]
chips = ["esp32c3"]
max_failure_rate = "1%"
confidence = "95%"
"""


def make(root: Path, results: int, runs: int) -> int:
    """Write the runs; returns the bytes of one bundle."""
    size = 0
    for number in range(runs):
        run = RunFolder(root / f"run{number:03d}", at=NOW - 2 * 86400.0 + number * 10_000 / 3)
        for test in range(results // runs):
            folder = run.add(f"t{test:04d}")
            _views(folder)
            size = sum(file.stat().st_size for file in folder.iterdir())
        run.seal()
    return size


def _views(folder: Path) -> None:
    """What stands beside the events: empty views but for a log that fills the bundle up."""
    (folder / "flash.json").write_text('{"schema": 1, "reads": []}\n')
    (folder / "http.jsonl").write_text("")
    left = BUNDLE_BYTES - sum(file.stat().st_size for file in folder.iterdir())
    (folder / "serial.log").write_text("[  0.0000] I (1) main: ok\n" * max(1, left // 26))


def hashed(root: Path) -> int:
    """The baseline."""
    number = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH118, PTH123
                hashlib.sha256(file.read()).digest()
            number += 1
    return number


def gated(root: Path, again: bool) -> None:
    policy = read_policy(POLICY.format(again=str(again).lower()).encode(), "policy.toml")
    runs = read_runs([root], judge_again=policy.judge_again)
    decision = decide(policy, runs, Binary("app.bin", NEW, "esp32c3"), NOW).decision
    assert decision.verdict == "pass", decision.lines


def took(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = make(root, told.results, told.runs)
        files = hashed(root)  # warms the page cache for all three
        rounds = [
            (
                took(lambda: hashed(root)),
                took(lambda: gated(root, False)),
                took(lambda: gated(root, True)),
            )
            for _ in range(told.rounds)
        ]
    plain, quick, full = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(one[1] / one[0] for one in rounds)
    print(f"{told.results} results, bundles of {size} bytes, {files} files, {os.cpu_count()} cores")
    print(f"plain sha256 of the same files: {plain:.2f} s")
    print(
        f"gate, all files hashed: {quick:.2f} s, {ratio:.2f} times that, at most {MAX_RATIO:g}: "
        f"{'OK' if ratio <= MAX_RATIO else 'MISSED'}"
    )
    again = statistics.median(one[2] / one[0] for one in rounds)
    print(f"gate, all files hashed and each verdict decided again: {full:.2f} s, {again:.2f} times")
    print(json.dumps({"plain_s": plain, "gate_s": quick, "again_s": full, "ratio": ratio}))
    return 0 if ratio <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
