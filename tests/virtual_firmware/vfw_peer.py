"""A board in memory, a tiny cloud and a tiny web server for the tests of virtual firmware."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_blynk_ota.cloud.protocol import Cmd, Decoder, Frame, encode, frame, pairs, response
from pytest_blynk_ota.virtual.chip.chips import MODELS, make_chip
from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.chip.efuse import EFuses
from pytest_blynk_ota.virtual.chip.flash import FLASH_BYTES, NorFlash, erase_steps, pages
from pytest_blynk_ota.virtual.network.tcp import Network

TOKEN = "t" * 32
SPEED = 500.0
PATIENCE_S = 15.0
ANSI = re.compile(r"\x1b\[[0-9;]*m")
REAL = Path(__file__).parents[1] / "data" / "serial"


def real_lines(name: str) -> list[str]:
    """A recorded log of real ROM, bootloader and application code, without its colours."""
    text = (REAL / f"{name}.log").read_bytes().decode("utf-8", "replace")
    return ANSI.sub("", text).replace("\r\n", "\n").split("\n")


class PowerCut(BaseException):
    """Raised by the fake board in the middle of a flash operation."""


class FakeMachine:
    """A Machine whose flash takes no time and can lose its power at any operation."""

    foreign_rollback: bool | None = None

    def __init__(
        self, chip: str = "esp32c3", *, speed: float = SPEED, size: int = FLASH_BYTES
    ) -> None:
        self.name = "fake"
        self.chip = make_chip(MODELS[chip], b"\x02\xb1\x6e\x00\x00\x01")
        self.flash = NorFlash(size=size, seed="fake")
        self.clock = DeviceClock(speed)
        self.network = Network()
        self.efuses = EFuses(self.chip)
        self.stage = "rom"
        self.output: list[str] = []
        self.complaints: list[str] = []
        self._printed = asyncio.Event()
        self.operations = 0
        self.cut_at: int | None = None

    def print(self, text: str) -> None:
        self.output.append(text)
        self._printed.set()

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    async def read_line(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def erase(self, offset: int, size: int) -> None:
        for start, step in erase_steps(offset, size):
            if self._power_fails():
                self.flash.erase_torn(start, step)
                raise PowerCut
            self.flash.erase(start, step)

    async def program(self, offset: int, data: bytes) -> None:
        for start, length in pages(offset, len(data)):
            page = data[start - offset : start - offset + length]
            if self._power_fails():
                self.flash.program_torn(start, page)
                raise PowerCut
            self.flash.program(start, page)

    def _power_fails(self) -> bool:
        self.operations += 1
        return self.operations == self.cut_at

    @property
    def lines(self) -> list[str]:
        """The log so far, without colours."""
        return ANSI.sub("", "".join(self.output)).split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def see(self, pattern: str) -> re.Match[str]:
        """Wait until the log matches."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := re.search(pattern, self.text, re.M)):
                await self._printed.wait()
                self._printed.clear()
        return found

    def close(self) -> None:
        self.network.close()
        self.flash.close()


@dataclass
class BlynkPeer:
    """The cloud: answers as told and keeps what the device said."""

    login_status: int = 200
    sends: list[Frame] = field(default_factory=list)
    """Sent to the device right after its info, in the first session."""
    silent: bool = False
    heard: list[Frame] = field(default_factory=list)
    sessions: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def infos(self) -> list[dict[str, str]]:
        return [pairs(one.parts) for one in self.heard if one.cmd == Cmd.INTERNAL]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        session = self.sessions
        decoder = Decoder()
        try:
            while data := await reader.read(4096):
                for message in decoder.feed(data):
                    self.heard.append(message)
                    self._news.set()
                    for answer in self._answers(message, session):
                        writer.write(encode(answer))
                await writer.drain()
        except OSError:
            return  # a reset board
        finally:
            writer.close()

    def _answers(self, message: Frame, session: int) -> list[Frame]:
        if self.silent or message.cmd == Cmd.RESPONSE:
            return []
        if message.cmd == Cmd.LOGIN:
            return [response(message.id, self.login_status)]
        extra = self.sends if message.cmd == Cmd.INTERNAL and session == 1 else []
        return [response(message.id), *extra]

    async def hears(self, what: Callable[[BlynkPeer], Any]) -> None:
        """Wait until ``what(self)`` is true."""
        async with asyncio.timeout(PATIENCE_S):
            while not what(self):
                await self._news.wait()
                self._news.clear()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler):
    """A server on a free port; its address. Ends with all its connections."""
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[Any]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  (always inside a task)
        await handler(reader, writer)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        for writer in writers:
            with suppress(AttributeError):  # closed for good, it has no loop any more
                writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE_S)


@dataclass
class WebPeer:
    """A web server that sends ``data`` under ``head``; ``stop_after`` bytes it falls silent."""

    data: bytes
    head: str = "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"
    stop_after: int | None = None
    closes: bool = True
    requests: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request.decode())
            writer.write(self.head.format(size=len(self.data)).encode())
            writer.write(self.data[: self.stop_after])
            await writer.drain()
            if not self.closes:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            return  # a reset board
        finally:
            self.ended.set()
            writer.close()


def ota(url: str) -> Frame:
    """The command that starts an update."""
    return frame(Cmd.INTERNAL, 77, "ota", url)


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Run a test's coroutine with an end."""
    return asyncio.run(asyncio.wait_for(test, PATIENCE_S))
