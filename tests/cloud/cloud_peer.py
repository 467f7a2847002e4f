"""A raw Blynk device for the tests of the cloud, and a wait that has a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from pytest_blynk_ota.cloud.protocol import Cmd, Decoder, Frame, encode, frame
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.timeline import Timeline

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
PATIENCE_S = 10.0
T = TypeVar("T")
INFO = ("mcu", "1.2.3", "fw-type", "TMPLtest", "build", "Nov 23 2026 17:29:49", "blynk", "1.4.0",
        "h-beat", "45", "buff-in", "1024", "dev", "ESP32", "tmpl", "TMPLtest")  # fmt: skip


async def until(what: str, found: Callable[[], T]) -> T:
    """Wait until ``found`` returns something true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := found()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}"
        await asyncio.sleep(0.005)
    return result


class Cloud:
    """A server with the timeline that it writes to."""

    def __init__(self, **options) -> None:
        self.timeline = Timeline()
        self.server = CloudServer(self._record, **options)

    def _record(self, source, kind, board=None, /, *, t=None, **data) -> None:
        self.timeline.add(source, kind, board, t=t, **data)

    async def __aenter__(self) -> Cloud:
        self.server.add_device("a", TOKEN)
        self.server.add_device("b", OTHER_TOKEN)
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()

    def seen(self, kind: str, board: str | None = None) -> list[Event]:
        return [
            event for event in self.timeline.events()
            if event.kind == kind and board in (None, event.board)
        ]  # fmt: skip

    async def event(self, kind: str, board: str | None = None, count: int = 1) -> Event:
        """The event of that kind, once there are ``count`` of them."""
        await until(f"cloud/{kind}", lambda: len(self.seen(kind, board)) >= count)
        return self.seen(kind, board)[count - 1]

    async def connect(self) -> Peer:
        return Peer(*await asyncio.open_connection(*self.server.address))

    async def login(self, token: str = TOKEN) -> Peer:
        peer = await self.connect()
        peer.send(Cmd.LOGIN, 1, token)
        assert (await peer.receive()).status == 200
        return peer


class Peer:
    """The device's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = Decoder()
        self._frames: list[Frame] = []

    def send(self, cmd: int, id: int, *parts: str) -> None:
        self.writer.write(encode(frame(cmd, id, *parts)))

    async def ask(self, cmd: int, id: int, *parts: str) -> Frame:
        self.send(cmd, id, *parts)
        return await self.receive()

    async def receive(self) -> Frame:
        async with asyncio.timeout(PATIENCE_S):
            while not self._frames:
                data = await self.reader.read(4096)
                assert data, "the cloud closed the connection"
                self._frames = self._decoder.feed(data)
        return self._frames.pop(0)

    async def closed(self) -> bytes:
        """Wait for the end of the connection; returns what came before it."""
        got = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while data := await self.reader.read(4096):
                    got += data
        except ConnectionError:
            pass
        self.writer.close()
        return got

    async def alive(self, id: int = 77) -> bool:
        answer = await self.ask(Cmd.PING, id)
        return (answer.cmd, answer.id, answer.status) == (Cmd.RESPONSE, id, 200)

    def leave(self) -> None:
        self.writer.close()
