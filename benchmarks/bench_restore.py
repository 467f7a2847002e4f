"""What a baseline restore costs on a paced line: an image of 1 MB of noise, after an upgrade.

The board starts with Old in its first slot; an upgrade is played by what it leaves behind: New in
the second slot and otadata that points there. Then the baseline is restored as before each test,
and the same image is written in full, compressed, in the same run. Serial bytes are those of both
directions, the stub flasher's upload included; the wall time is that from the reset into the
loader to the reset out of it.

    python benchmarks/bench_restore.py [--rounds 5] [--chip esp32c3]

Wanted: at least 20 times fewer serial bytes, and at most 3 s at 460,800 baud.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pytest_blynk_ota.board.baseline import Baseline, Region, Restored, Span
from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET

IMAGE_BYTES = 1_000_000
FLASH_BAUD = 460_800
TIMES, MOST_S = 20, 3.0
TABLE = DEFAULT_TABLE
HOME, OTHER = TABLE.ota_slots[:2]


@dataclass(frozen=True)
class Round:
    """A restore after an upgrade, and a full write of the same image."""

    restore: Restored
    full: Restored


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chip", default="esp32c3")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(Path(name), options.rounds, options.chip)
    report(rows, options.chip)


def measure(folder: Path, rounds: int, chip: str) -> list[Round]:
    rig = folder / "rig.toml"
    rig.write_text(
        f'[[board]]\nname = "a"\nchip = "{chip}"\nport = "virtual"\nvirtual = {{ paced = true }}\n'
    )
    command = [sys.executable, "-m", "pytest_blynk_ota.virtual", str(rig), "--json", "--lifeline"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as rack:
        assert rack.stdin is not None
        assert rack.stdout is not None
        try:
            url = json.loads(rack.stdout.readline())["boards"][0]["url"]
            with Board("a", chip, url, Recorder(Timeline()), flash_baud=FLASH_BAUD) as board:
                return [one_round(board, number) for number in range(rounds)]
        finally:
            rack.stdin.close()


def one_round(board: Board, number: int) -> Round:
    old = random.Random(number).randbytes(IMAGE_BYTES)
    new = random.Random(-number - 1).randbytes(IMAGE_BYTES)
    full = board.restore(baseline(old, 0))
    board.restore(after_an_upgrade(new))
    return Round(board.restore(baseline(old, 0)), full)


def baseline(old: bytes, slot: int) -> Baseline:
    """As before each test: Old in its slot, the other one unbootable."""
    last = (IMAGE_BYTES - 1) // 0x1000 * 0x1000
    return Baseline(
        (
            Region("partition table", TABLE_OFFSET, TABLE.build()),
            Region("otadata", otadata_at(), b"".join(otadata.entries_for(slot))),
            Region(HOME.label, HOME.offset, old),
        ),
        tuple(Span(OTHER.label, OTHER.offset + at, 0x1000) for at in (0, last)),
    )


def after_an_upgrade(new: bytes) -> Baseline:
    """What an upgrade leaves behind."""
    return Baseline(
        (
            Region("otadata", otadata_at(), b"".join(otadata.entries_for(1))),
            Region(OTHER.label, OTHER.offset, new),
        )
    )


def otadata_at() -> int:
    assert TABLE.otadata is not None
    return TABLE.otadata.offset


def report(rows: list[Round], chip: str) -> None:
    moved = max(row.restore.serial_bytes for row in rows)
    fewer = min(row.full.serial_bytes / row.restore.serial_bytes for row in rows)
    restores = [row.restore.seconds for row in rows]
    whole = statistics.median(row.full.serial_bytes for row in rows)
    whole_s = statistics.median(row.full.seconds for row in rows)
    print(f"restore of {IMAGE_BYTES} bytes of noise after an upgrade, {chip}, {len(rows)} rounds")
    print(f"  paced line, loader at {FLASH_BAUD} baud, console at 115200; the chip's own time for")
    print("  hashes is not played")
    print(f"  full compressed write  {whole:9.0f} bytes, {whole_s:5.2f} s")
    print(f"  restore                {moved:9.0f} bytes, {max(restores):5.2f} s, the most of all")
    print(f"  {fewer:.0f} times fewer at least (wanted {TIMES}); wanted at most {MOST_S:g} s")
    if fewer < TIMES or max(restores) > MOST_S:
        raise SystemExit("the figure is missed")


if __name__ == "__main__":
    main()
