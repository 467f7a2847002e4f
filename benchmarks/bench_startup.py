"""What the plugin costs a pytest run that uses none of its fixtures.

Runs ``pytest --collect-only`` in an empty project, with our entry point and without it, in turn,
in one environment, and with no third-party plugin at all; prints the medians and the median of the
paired differences. Byte code is kept, as it is for users, in a folder of the benchmark's own.

    python benchmarks/bench_startup.py [--pairs 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXIT_NO_TESTS = 5
WAYS = {
    "with our plugin": [],
    "without it": ["-p", "no:blynk_ota"],
}


def run(extra: list[str], folder: Path, *, autoload: bool = True) -> float:
    """Wall seconds of one collection."""
    environment = dict(os.environ) | {"PYTHONPYCACHEPREFIX": str(folder / "pyc")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not autoload:
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *extra],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode != EXIT_NO_TESTS:
        sys.exit(f"pytest ended with {done.returncode}: {done.stdout.decode()}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        for extra in WAYS.values():
            run(extra, folder)  # warm the byte code and the disk cache
        run([], folder, autoload=False)
        rows = [
            [run(extra, folder) for extra in WAYS.values()] + [run([], folder, autoload=False)]
            for _ in range(pairs)
        ]
    ours, without, bare = (statistics.median(column) for column in zip(*rows, strict=True))
    difference = statistics.median(row[0] - row[1] for row in rows)
    print(f"pytest --collect-only, empty project, median of {pairs} paired runs")
    print(f"  with our plugin      {ours * 1000:7.1f} ms")
    print(f"  without it           {without * 1000:7.1f} ms")
    print(f"  no plugin at all     {bare * 1000:7.1f} ms")
    print(f"  our share            {difference * 1000:7.1f} ms (median of paired differences)")
    print(f"  total / no plugin    {ours / bare:7.2f}")


if __name__ == "__main__":
    main()
