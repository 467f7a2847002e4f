"""How much longer esptool takes over RFC 2217, through our client, than over a plain socket.

Unmodified esptool, through its Python API, writes 1 MB that does not compress into two unpaced
virtual boards of the same chip, in turn: connect, start the stub, write, verify. Two figures each:
the write alone (``write_flash``, which compares the MD5 as well), and all of it. The promise is
that RFC 2217 takes at most 1.3 times as long for all of it.

    python benchmarks/bench_loader.py [--runs 5] [--chip esp32c3] [--pyserial]

``--pyserial`` adds pyserial's own client, as esptool's command line uses it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import esptool
import serial

from pytest_blynk_ota.board.ports import open_port

DATA = random.Random(1).randbytes(1 << 20)
OFFSET = 0x10000
BAUD = 115200
LIMIT = 1.3
RIG = """
[[board]]
name = "{wire}"
chip = "{chip}"
port = "virtual"
virtual = {{ wire = "{wire}" }}
"""

Open = Callable[[str], Any]
WAYS: dict[str, tuple[str, Open]] = {
    "socket": ("socket", lambda url: serial.serial_for_url(url, BAUD)),
    "rfc2217": ("rfc2217", lambda url: open_port("bench", url, BAUD)),
}
PYSERIAL: dict[str, tuple[str, Open]] = {
    "pyserial's rfc2217": ("rfc2217", lambda url: serial.serial_for_url(url, BAUD)),
}


def write(url: str, open_way: Open) -> tuple[float, float]:
    """Wall seconds of the write alone, and from opening the port until it is closed."""
    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), open_way(url) as port:
        stub = esptool.run_stub(esptool.detect_chip(port))
        esptool.attach_flash(stub)
        started = time.perf_counter()
        esptool.write_flash(stub, [(OFFSET, DATA)])
        written = time.perf_counter() - started
    return written, time.perf_counter() - begun


def main() -> int:
    """Write in turn, print medians and ratios; 1 if the promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--chip", default="esp32c3")
    parser.add_argument("--pyserial", action="store_true")
    options = parser.parse_args()
    ways = WAYS | (PYSERIAL if options.pyserial else {})
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        rig = Path(folder) / "rig.toml"
        wires = ("socket", "rfc2217")
        rig.write_text("".join(RIG.format(wire=wire, chip=options.chip) for wire in wires))
        rack = subprocess.Popen(
            [sys.executable, "-m", "pytest_blynk_ota.virtual", str(rig), "--json", "--lifeline"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert rack.stdout is not None
            ready = json.loads(rack.stdout.readline())
            urls = {board["name"]: board["url"] for board in ready["boards"]}
            for _ in range(options.runs):
                for way, (wire, open_way) in ways.items():
                    times[way].append(write(urls[wire], open_way))
        finally:
            rack.communicate()
    return report(times)


def report(times: dict[str, list[tuple[float, float]]]) -> int:
    """Print a row for each way."""
    medians = {
        way: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for way, rows in times.items()
    }
    base = medians["socket"]
    for way, (alone, whole) in medians.items():
        ratios = f"{alone / base[0]:5.2f}   {whole / base[1]:5.2f}"
        print(f"{way:20} write {alone:6.2f} s   all {whole:6.2f} s   of socket: {ratios}")
    ratio = medians["rfc2217"][1] / base[1]
    print(f"1 MB over RFC 2217: {ratio:.2f} times a plain socket (promised: {LIMIT})")
    return 1 if ratio > LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
