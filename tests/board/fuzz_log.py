"""Fuzz target of what reads the serial log. It raises if a promise is broken.

``python tests/board/fuzz_log.py SECONDS [SEED]`` runs it on pieces of real transcripts, torn and
shuffled; the hypothesis tests use the same functions.
"""

from __future__ import annotations

import json
import random
import sys
import time

from transcripts import NAMES, pieces, raw

from pytest_blynk_ota.board.lines import MAX_LINE_CHARS
from pytest_blynk_ota.board.log import Entry, Line, LogReader, Said
from pytest_blynk_ota.board.patterns import ROWS

LINES = sorted({line for name in NAMES for line in raw(name).splitlines(keepends=True)})
"""Every line of every transcript."""
GLUE = (
    b"\r", b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xe2\x82", b"\x1b[0;31m", b"\x1b[", b"\t",
    b"================= CORE DUMP START =================\n", b"AAECAw==\n", b"AAEC\n",
    b"================= CORE DUMP END =================\n", b"x" * 5000,
    b"Backtrace: 0x400d5611:0x3ffb47a0 0x400d31be:0x3ffb47d0\n", b"free heap: 1" + b"0" * 400,
    b"E (1) task_wdt: Task watchdog got triggered.\n", b"abort() was called at PC 0x4 on core 1\n",
    b"rst:0x1 (POWERON),boot:0x8 (SPI_FAST_FLASH_BOOT)", b'assertion "x" failed: file "f", line ',
    b"9" * 5000, "٣٤٥ ².".encode(),
)  # fmt: skip


def entries(data: bytes, sizes: list[int] | None = None) -> list[Entry]:
    """A log read whole, or in pieces."""
    reader = LogReader()
    found = [one for piece in pieces(data, sizes or [1 << 30]) for one in reader.feed(piece)]
    return found + reader.flush()


def told(data: bytes) -> list[Said]:
    """What a log says."""
    return [one for one in entries(data) if isinstance(one, Said)]


def check_log(data: bytes, dice: random.Random) -> int:
    """Pieces do not matter; lines are clean, numbered and short; what is said can be stored, and
    points at a line that has come. Returns how much was said."""
    whole = entries(data)
    sizes = [dice.randint(1, 40) for _ in range(20)] if dice.random() < 0.8 else [1]
    assert entries(data, sizes) == whole
    seen = 0
    for one in whole:
        if isinstance(one, Line):
            seen += 1
            assert one.n == seen
            assert 0 < len(one.text) <= MAX_LINE_CHARS
            assert not set(one.text) & {"\r", "\n", "\0", "\x1b"}
        else:
            assert 1 <= one.n <= seen
            json.dumps(dict(one.mark.data), allow_nan=False)
    assert len(whole) - seen == sum(isinstance(one, Said) for one in whole)
    return len(whole) - seen


def made(dice: random.Random) -> bytes:
    """A log of torn and shuffled lines."""
    start = dice.randrange(len(LINES))
    rows = [dice.choice(LINES) for _ in range(dice.randint(0, 30))]
    rows += LINES[start : start + dice.randint(0, 30)] + dice.sample(GLUE, dice.randint(0, 6))
    dice.shuffle(rows)
    torn = [row[: dice.randrange(len(row) + 1)] if dice.random() < 0.2 else row for row in rows]
    data = bytearray(b"".join(torn))
    for _ in range(dice.randint(0, 8)):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


def main(seconds: float, seed: int) -> None:
    """Fuzz for so long; says how much was read."""
    dice = random.Random(seed)
    tried = said = 0
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        data = made(dice) if dice.random() < 0.6 else b"".join(map(raw, dice.sample(NAMES, 2)))
        tried += 1
        try:
            said += check_log(data, dice)
        except BaseException:
            print(f"broken by {data!r} (seed {seed})")
            raise
    print(f"{tried} logs read whole and in pieces, {said} marks, {len(ROWS)} rows")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
