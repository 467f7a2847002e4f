"""What unmodified esptool must be able to do with a virtual chip, as one table.

The test run goes through it over plain sockets. Over RFC 2217 pyserial sleeps for most of ten
minutes in it, so ``.ci/nightly`` does that: ``python tests/virtual/esptool_matrix.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import esptool
from esptool.util import FatalError
from virtual_bench import ThreadedRack

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import Segment, build_image
from pytest_blynk_ota.virtual.chip.board import Board, State
from pytest_blynk_ota.virtual.machine import Machine

NOISE = random.Random(7).randbytes(24 << 10)
TEXT = b"It was the best of times, it was the worst of times. " * 1600
READ_BYTES = 256 << 10
SOFTWARE_RESET, RTC_WATCHDOG = 0xC, 0x10
STARTED_S = 5.0
ERASED = b"\xff"


@dataclasses.dataclass
class Chip:
    """One chip under test, its files, and with which causes it has booted."""

    board: Board
    folder: Path
    boots: list[int]

    def flash(self, offset: int, size: int) -> bytes:
        return self.board.flash.read(offset, size)

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def booted(self, cause: int) -> bool:
        """Whether it runs its app, after this reset; the loader answers before it leaves."""
        deadline = time.monotonic() + STARTED_S
        while time.monotonic() < deadline:
            if self.boots[-1:] == [cause] and self.board.state is State.RUNNING:
                return True
            time.sleep(0.01)
        return False


@dataclasses.dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        words: of the command line; ``{name}`` is a file of the chip's folder.
        says: what it must print; ``{mac}`` is the chip's.
        holds: what must be true afterwards.
        fails: whether esptool must refuse.
        chips: that this is about.
    """

    words: str
    says: str = ""
    holds: Callable[[Chip], bool] = lambda _chip: True
    fails: bool = False
    chips: frozenset[str] = frozenset(CHIPS)

    def __str__(self) -> str:
        return self.words


WITH_SECURITY_INFO = frozenset(CHIPS) - {"esp32"}

CASES = (
    Case("chip-id", "MAC:                {mac}"),
    Case("read-mac", "MAC:                {mac}"),
    Case("flash-id", "Detected flash size: 4MB"),
    Case("--no-stub flash-id", "Detected flash size: 4MB"),
    Case("get-security-info", "Secure Boot: Disabled", chips=WITH_SECURITY_INFO),
    Case(
        "get-security-info", "Command not implemented", fails=True, chips=frozenset({"esp32"})
    ),  # as the real one
    Case("read-flash-status", "Flash memory status: 0x0000"),
    Case("read-flash-sfdp 0 4", "0x53 0x46 0x44 0x50"),
    Case(
        "write-flash 0x10000 {text} 0x40000 {noise}",
        "Hash of data verified",
        lambda c: (c.flash(0x10000, len(TEXT)), c.flash(0x40000, len(NOISE))) == (TEXT, NOISE),
    ),
    Case("verify-flash 0x10000 {text} 0x40000 {noise}", "digest matched"),
    Case("verify-flash 0x10000 {noise}", "Verification failed", fails=True),
    Case(
        f"read-flash 0x10000 {READ_BYTES} {{read}}",
        "Read 262144 bytes",
        lambda c: c.file("read") == c.flash(0x10000, READ_BYTES),
    ),
    Case(
        "-b 921600 write-flash -u 0x20000 {noise}",
        "Changing baud rate to 921600",
        lambda c: c.flash(0x20000, len(NOISE)) == NOISE,
    ),
    Case(
        "erase-region 0x20000 0x1000",
        "Flash memory region erased",
        lambda c: c.flash(0x20000, len(NOISE)) == ERASED * 4096 + NOISE[4096:],
    ),
    Case(
        "--no-stub write-flash 0x30000 {noise}",
        "Hash of data verified",
        lambda c: c.flash(0x30000, len(NOISE)) == NOISE,
    ),
    Case(
        "--no-stub write-flash -u 0x30000 {text}",
        "Hash of data verified",
        lambda c: c.flash(0x30000, len(TEXT)) == TEXT,
    ),
    Case("--no-stub verify-flash 0x30000 {text}", "digest matched"),
    Case(
        "--no-stub read-flash 0x30000 200 {slow}",
        "Read 200 bytes",
        lambda c: c.file("slow") == TEXT[:200],
    ),
    Case(
        "write-flash --encrypt 0x50000 {noise}",
        "Flash encryption key is not programmed",
        fails=True,
    ),
    Case(
        "write-flash --erase-all 0x0 {noise}",
        "Hash of data verified",
        lambda c: c.flash(0, 0x40000) == NOISE + ERASED * (0x40000 - len(NOISE)),
    ),
    Case("--no-stub load-ram {ram}", "Loaded 1 segments"),
    Case(
        "erase-flash",
        "Flash memory erased successfully",
        lambda c: c.flash(0, c.board.flash.size).count(0xFF) == c.board.flash.size,
    ),
    Case("--no-stub --after no-reset run", "", lambda c: c.booted(SOFTWARE_RESET)),
    Case("--no-stub --after soft-reset flash-id", "", lambda c: c.booted(SOFTWARE_RESET)),
    Case(
        "--after watchdog-reset read-mac",
        "with a watchdog",
        lambda c: c.booted(RTC_WATCHDOG),
        chips=WITH_SECURITY_INFO,
    ),
    Case("--after no-reset read-mac", "Staying in bootloader"),
)


def run(chip: Chip, case: Case) -> str | None:
    """Carry out one command; returns what is wrong, if anything."""
    files = {name: str(chip.folder / name) for name in ("text", "noise", "read", "slow", "ram")}
    words = [word.format(**files) for word in case.words.split()]
    said, failed = io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            esptool.main(["--port", chip.board.uart.url, *words])
        except (FatalError, SystemExit) as error:
            failed = error
    text = f"{said.getvalue()}\n{failed or ''}"
    expected = case.says.format(mac=chip.board.chip.mac_text)
    if (failed is not None) is not case.fails:
        return f"{case}: {'did not fail' if case.fails else 'failed'}:\n{text}"
    if " ".join(expected.split()) not in " ".join(text.split()):
        return f"{case}: did not say {expected!r}, but:\n{text}"
    return None if case.holds(chip) else f"{case}: the board is not as it should be\n{text}"


@contextlib.contextmanager
def chips(folder: Path, wire: str) -> Iterator[dict[str, Chip]]:
    """A board of each chip behind that wire, running a firmware that does nothing."""
    rig = folder / "rig.toml"
    table = (
        '[[board]]\nname = "{0}"\nchip = "{0}"\nport = "virtual"\nvirtual = {{ wire = "{1}" }}\n'
    )
    rig.write_text("".join(table.format(name, wire) for name in CHIPS))
    boots: dict[str, list[int]] = {name: [] for name in CHIPS}

    async def idle(machine: Machine, cause: int) -> int:
        boots[machine.name].append(cause)
        while await machine.read_line() is not None:
            pass
        return 0

    rack = ThreadedRack(rig, idle)
    try:
        made = {}
        for name, board in rack.rack.boards.items():
            (folder / name).mkdir()
            made[name] = Chip(board, folder / name, boots[name])
            (folder / name / "text").write_bytes(TEXT)
            (folder / name / "noise").write_bytes(NOISE)
            own = CHIPS[name]
            segments = [Segment(own.dram_base + 0x8000, NOISE[:3000])]
            (folder / name / "ram").write_bytes(build_image(own, segments, own.iram_base))
        yield made
    finally:
        rack.close()


def main() -> int:
    """Go through the table for each chip, all at once; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wire", default="rfc2217", choices=("rfc2217", "socket"))
    parser.add_argument("--chip", choices=sorted(CHIPS), help="only this one, in this process")
    options = parser.parse_args()
    if options.chip:
        return one_chip(options.chip, options.wire)
    line = [sys.executable, __file__, "--wire", options.wire, "--chip"]
    started = [subprocess.Popen([*line, name]) for name in sorted(CHIPS)]
    return max(process.wait() for process in started)


def one_chip(name: str, wire: str) -> int:
    """Say of each command how long it took."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, chips(Path(folder), wire) as made:
        for case in (one for one in CASES if name in one.chips):
            begun = time.monotonic()
            problem = run(made[name], case)
            wrong += problem is not None
            print(f"{name:8} {time.monotonic() - begun:6.1f} s  {problem or case}", flush=True)
    print(f"{name}: {wrong or 'none'} of the commands went wrong over {wire}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
