"""Helpers of the virtual-hardware tests: a chip on the bench, and a rack on a thread."""

from __future__ import annotations

import asyncio
import contextlib
import re
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_blynk_ota.virtual.chip.board import Board, Execute
from pytest_blynk_ota.virtual.chip.chips import VirtualChip
from pytest_blynk_ota.virtual.chip.efuse import EFuses
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.loader import slip
from pytest_blynk_ota.virtual.loader.requests import HEADER, SYNC_BODY, xor_checksum
from pytest_blynk_ota.virtual.loader.session import Loader
from pytest_blynk_ota.virtual.machine import Machine
from pytest_blynk_ota.virtual.rack import Rack
from pytest_blynk_ota.virtual.settings import load

MAC = bytes.fromhex("240ac4000110")
SPEED = 20.0


@dataclass(frozen=True)
class Answer:
    """One answer of the loader, taken apart."""

    op: int
    value: int
    body: bytes


@dataclass
class Bench:
    """A loader without a wire: frames in, frames out, and what the loader asked of its board."""

    chip: VirtualChip
    flash: NorFlash
    baud: int = 115200
    loader: Loader = field(init=False)
    sent: bytearray = field(default_factory=bytearray)
    left: list[int] = field(default_factory=list)
    bauds: list[tuple[int, bytes]] = field(default_factory=list)
    watchdog: list[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.efuses = EFuses(self.chip)
        self.loader = Loader(
            self.efuses,
            self.flash,
            self.sent.extend,
            self.left.append,
            baud=lambda: self.baud,
            set_baud=lambda rate: self.bauds.append((rate, bytes(self.sent))),
            watchdog=self.watchdog.append,
        )

    def frames(self, data: bytes) -> list[bytes]:
        """Feed raw bytes, return the frames that came back."""
        self.sent.clear()
        self.loader.feed(data)
        return slip.Decoder().feed(bytes(self.sent))

    def ask(self, op: int, *words: int, block: bytes | None = None, checksum: int | None = None):
        """Send one request, return its answers."""
        body = struct.pack(f"<{len(words)}I", *words) + (block or b"")
        if checksum is None:
            checksum = xor_checksum(block or b"")
        frame = slip.encode(HEADER.pack(0, op, len(body), checksum) + body)
        return [
            Answer(one[1], int.from_bytes(one[4:8], "little"), one[8:])
            for one in self.frames(frame)
            if one[0] == 1
        ]

    def send_block(self, op: int, data: bytes, number: int = 0, **changes: int):
        """Send one data block."""
        return self.ask(op, len(data), number, 0, 0, block=data, **changes)

    def sync(self):
        """Send SYNC."""
        frame = slip.encode(HEADER.pack(0, 8, len(SYNC_BODY), 0) + SYNC_BODY)
        return self.frames(frame)

    def start_stub(self) -> None:
        """As esptool does, with a stub of four bytes."""
        self.ask(0x05, 4, 1, 0x1800, 0x40080000)
        self.send_block(0x07, b"stub")
        self.ask(0x06, 0, 0x40080000)
        assert self.loader.stub


async def echo(machine: Machine, cause: int) -> int:
    """A tiny firmware: greets, echoes lines, restarts when told to."""
    machine.print(f"boot {cause:#x}\n")
    while (line := await machine.read_line()) != "restart":
        machine.print(f"echo {line}\n")
    return 0xC


class ThreadedRack:
    """A rack whose event loop runs on a thread, for blocking clients such as esptool."""

    def __init__(self, rig: Path | None = None, execute: Execute | None = None) -> None:
        self._execute = execute or echo
        self._rig = rig
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.rack: Rack = self.call(self._start)

    async def _start(self) -> Rack:
        rack = Rack(load(self._rig, (), SPEED), self._execute)
        await rack.start()
        return rack

    def call(self, function: Callable[..., object], *args: object):
        """Run a function or coroutine function on the loop and return its result."""

        async def inside() -> object:
            result = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(inside(), self._loop).result(20)

    def board(self, chip: str) -> Board:
        """The board with that chip."""
        return next(one for one in self.rack.boards.values() if one.chip.name == chip)

    def close(self) -> None:
        """Stop the boards and the thread."""
        self.call(self.rack.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextlib.contextmanager
def threaded_rack(rig: Path | None = None) -> Iterator[ThreadedRack]:
    """The boards of ``rig``, running the echo firmware."""
    made = ThreadedRack(rig)
    try:
        yield made
    finally:
        made.close()


class Terminal:
    """A raw TCP client of a board's port, without the Telnet bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.text = ""

    @classmethod
    async def open(cls, url: str) -> Terminal:
        """Connect and wait until the board's bridge talks."""
        host, port = url.removeprefix("rfc2217://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        terminal = cls(reader, writer)
        async with asyncio.timeout(5):
            await terminal._more()
        return terminal

    async def _more(self) -> None:
        data = await self.reader.read(65536)
        if not data:
            raise EOFError(f"closed after {self.text!r}")
        self.text += re.sub(rb"\xff[\xfb-\xfe].", b"", data, flags=re.DOTALL).decode("latin-1")

    async def until(self, text: str) -> str:
        """Everything read so far, once ``text`` is in it."""
        async with asyncio.timeout(5):
            while text not in self.text:
                await self._more()
        return self.text

    async def at_end(self) -> str:
        """Everything that came until the board closed."""
        async with asyncio.timeout(5):
            try:
                while True:
                    await self._more()
            except (EOFError, ConnectionError):
                return self.text
