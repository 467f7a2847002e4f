"""How fast a serial log is read, beside only cutting it into lines.

    python benchmarks/bench_logs.py [--megabytes 50]

The baseline is ``bytes.decode().splitlines()`` of the same log in the same pieces: what anybody
pays who looks at lines at all. The logs: real transcripts over and over, so many boots that every
pattern is at work; and one of an application that runs, with a line of its own a time.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator
from pathlib import Path

from pytest_blynk_ota.board.log import LogReader

SERIAL = Path(__file__).parent.parent / "tests" / "data" / "serial"
PIECE_BYTES = 16 * 1024
"""What the console reads of a backlog at a time."""
MOST_S_PER_50_MB = 10.0
"""The figure: reading 50 MB takes some seconds of the processor."""
LINE = "I ({0}) wifi:state: run -> run (0x{0:x}), free {1} bytes, queue {2} of 16\r\n"


def boots(size: int) -> bytes:
    """All transcripts, over and over."""
    whole = b"".join(path.read_bytes() for path in sorted(SERIAL.glob("*.log")))
    return (whole * (size // len(whole) + 1))[:size]


def running(size: int) -> bytes:
    """An application's own lines."""
    lines, length = [], 0
    for at in range(10_000):
        lines.append(LINE.format(at * 7, 200_000 - at % 999, at % 16).encode())
        length += len(lines[-1])
    return (b"".join(lines) * (size // length + 1))[:size]


def pieces(data: bytes) -> Iterator[bytes]:
    return (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))


def baseline(data: bytes) -> tuple[float, int]:
    """Processor seconds for cutting it into lines, and how many there are."""
    begun, lines = time.process_time(), 0
    for piece in pieces(data):
        lines += len(piece.decode("utf-8", "replace").splitlines())
    return time.process_time() - begun, lines


def ours(data: bytes) -> tuple[float, int]:
    """Processor seconds for reading it, and how much it said."""
    begun, said, reader = time.process_time(), 0, LogReader()
    for piece in pieces(data):
        said += len(reader.feed(piece))
    said += len(reader.flush())
    return time.process_time() - begun, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=50)
    size = parser.parse_args().megabytes * 1_000_000
    most = MOST_S_PER_50_MB * size / 50e6
    for name, make in (("boots", boots), ("running", running)):
        data = make(size)
        gc.collect()
        cut_s, lines = baseline(data)
        read_s, said = ours(data)
        print(
            f"{name}: {size / 1e6:.0f} MB, {lines} lines, {said} entries: read in {read_s:.1f} s "
            f"of the processor; splitlines {cut_s:.2f} s, ratio {read_s / cut_s:.1f}"
        )
        assert read_s <= most, f"expected at most {most:.1f} s"


if __name__ == "__main__":
    main()
