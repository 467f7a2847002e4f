"""Tests a minute with four virtual boards, against one board, at the speed of real ones.

Boards at speed 1, a paced UART of 115,200 baud for console and loader: a test waits for its board
most of the time, as on a rack, so four boards should do four times the work of one. One board
does the same tests first. Then four: with a free port for each worker's cloud, with one fixed port
for all, and as two runs of two workers side by side at that port. Whole runs are timed, from the
start of pytest to its end, and for comparison the time from the begin of the first test to the end
of the last: on a host that others use, starting pytest takes many times what it takes alone. CPU
seconds are those of all processes of a run, its boards included.

    python benchmarks/bench_parallel_boards.py [--tests 4]

Wanted: at least 3.5 times the throughput of one board in each of the three.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_blynk_ota.rig.ports.messages import Where
from pytest_blynk_ota.rig.ports.reach import told

BOARDS = 4
TIMES = 3.5
BAUD = 115_200
TICKS = os.sysconf("SC_CLK_TCK")

RIG = """
[rig]
name = "parallel"
speed = 1
[[board]]
name = "c3-a"
chip = "esp32c3"
port = "virtual"
power = "virtual"
provision = {{ kind = "edgent-nvs" }}
profile = "edgent-old"
baud = {baud}
flash_baud = {baud}
virtual = {{ paced = true }}
[cloud]
linger_s = 5
{cloud}
"""
TESTS = """
import pytest
from pytest_blynk_ota import Outcome

@pytest.mark.parametrize("number", range({count}))
def test_an_upgrade(ota, number):
    assert ota.ship().outcome is Outcome.UPGRADED
"""


@dataclass(frozen=True)
class Row:
    """One way to run the tests.

    Attributes:
        wall_s: from the start of the first run to the end of the last.
        tests_s: from the begin of the first test to the end of the last.
        cpu_s: of all processes of the runs.
        porter_s: CPU seconds of the process that keeps the fixed port.
        load: of the host when it began: others may use it, too.
    """

    name: str
    tests: int
    wall_s: float
    tests_s: float
    cpu_s: float
    porter_s: float
    load: float

    @property
    def per_minute(self) -> float:
        return 60 * self.tests / self.wall_s

    def times(self, one: Row) -> tuple[float, float]:
        """The throughput in that of one board: of whole runs, and while there are tests."""
        within = (self.tests / self.tests_s) / (one.tests / one.tests_s)
        return self.per_minute / one.per_minute, within


class Bench:
    """Runs pytest in a folder."""

    def __init__(self, folder: Path, tests: int) -> None:
        self._folder = folder
        self._tests = tests
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._where = Where(*probe.getsockname())
        # Measured as users have it: with what an earlier start has compiled.
        ignored = "PYTHONDONTWRITEBYTECODE"
        self._environment = {key: word for key, word in os.environ.items() if key != ignored}

    def warm_up(self) -> None:
        """A run of no test, which compiles what is not yet."""
        (self._folder / "rig.toml").write_text(RIG.format(baud=BAUD, cloud=""))
        self._started("warm up", 0, 0).wait()

    def measure(self, name: str, *, fixed: bool, workers: Sequence[int]) -> Row:
        """One run for each number of workers, all at once; each worker has a board."""
        cloud = f"ports = {{ tcp = [{self._where.port}] }}" if fixed else ""
        (self._folder / "rig.toml").write_text(RIG.format(baud=BAUD, cloud=cloud))
        load, begun, cpu = os.getloadavg()[0], time.monotonic(), _children_s()
        runs = [self._started(name, at, count) for at, count in enumerate(workers)]
        porter_s = 0.0
        for run in runs:
            while run.poll() is None:
                porter_s = max(porter_s, self._porter_s() if fixed else 0.0)
                time.sleep(0.2)  # a process that is somebody else's child tells nobody of its end
        wall_s = time.monotonic() - begun
        for run in runs:
            if run.returncode:
                for log in sorted(self._folder.glob("*.log")):
                    print(f"{log.name}:\n{log.read_text()[-3000:]}")
                sys.exit(f"{name}: pytest ended with {run.returncode}")
        tests = self._tests * sum(workers)
        tests_s = self._tests_s(name)
        return Row(name, tests, wall_s, tests_s, _children_s() - cpu, porter_s, load)

    def _tests_s(self, name: str) -> float:
        begins, ends = [], []
        for log in self._folder.glob(f"{_slug(name)}-*/tests/*/events.jsonl"):
            first, *_, last = log.read_text().splitlines()
            begins.append(json.loads(first)["t"])
            ends.append(json.loads(last)["t"])
        return float(max(ends) - min(begins))

    def _started(self, name: str, at: int, workers: int) -> subprocess.Popen[bytes]:
        test = self._folder / f"test_{at}.py"
        test.write_text(TESTS.format(count=self._tests * workers))
        parallel = ["-n", str(workers), "--dist=worksteal"] if workers > 1 else ["-p", "no:xdist"]
        evidence = self._folder / f"{_slug(name)}-{at}"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rig=rig.toml",
                   "--evidence", str(evidence), *parallel, test.name]  # fmt: skip
        with evidence.with_suffix(".log").open("wb") as said:
            return subprocess.Popen(
                command, cwd=self._folder, stdout=said, stderr=said, env=self._environment
            )

    def _porter_s(self) -> float:
        said = told(self._where)
        if said is None:
            return 0.0
        try:
            stat = Path(f"/proc/{said['pid']}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(stat[11]) + int(stat[12])) / TICKS


def _slug(name: str) -> str:
    return name.replace(" ", "-").replace(",", "")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=4, help="for each board")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.tests)
        bench.warm_up()
        one = bench.measure("one board", fixed=False, workers=[1])
        _print(one, one)
        rows = []
        for title, fixed, workers in (
            ("four boards, free ports", False, [BOARDS]),
            ("four boards, one fixed port", True, [BOARDS]),
            ("two runs of two boards, one fixed port", True, [BOARDS // 2] * 2),
        ):
            rows.append(bench.measure(title, fixed=fixed, workers=workers))
            _print(rows[-1], one)
    missed = [row.name for row in rows if row.times(one)[0] < TIMES]
    print(
        f"wanted {TIMES:g} times: {'missed by ' + ', '.join(missed) if missed else 'all have it'}"
    )
    sys.exit(bool(missed))


def _print(row: Row, one: Row) -> None:
    whole, within = row.times(one)
    print(f"{row.name}: {whole:.2f} times; {within:.2f} times from the first test to the last")
    print(
        f"    {row.tests} tests in {row.wall_s:.1f} s ({row.tests_s:.1f} s), "
        f"{row.per_minute:.2f} a minute; "
        f"{row.cpu_s / row.tests:.2f} CPU s a test, porter {row.porter_s:.2f} CPU s in all; "
        f"load {row.load:.1f} on {os.cpu_count()} cores",
        flush=True,
    )


if __name__ == "__main__":
    main()
