"""What the two wires over TCP share: a port on loopback, and one client at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.wire.uart import Uart

OVERRUN_BYTES = 1 << 20
"""A bridge whose client does not read drops bytes; this much may wait for it."""
HANDOVER_S = 0.05
"""Wall seconds that a second client waits for the first one's goodbye, which may be behind it."""


class TcpWire:
    """A port on the loopback interface; the subclass says who speaks there."""

    scheme: str
    has_lines: bool

    def __init__(self, uart: Uart) -> None:
        self._uart = uart
        self._server: asyncio.Server | None = None

    def _client(self) -> TcpClient:
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where the port is."""
        assert self._server is not None, "the port is not open yet"
        return "{}://{}:{}".format(self.scheme, *self._server.sockets[0].getsockname())

    async def start(self) -> None:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._client, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def look(self) -> None:
        """Who connects is noticed at once."""


class TcpClient(asyncio.Protocol):
    """One connection."""

    host_baud: int | None = None

    def __init__(self, uart: Uart) -> None:
        self._uart = uart
        self._transport: asyncio.Transport | None = None

    def _took_over(self) -> None:
        """The port is this client's from now on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._begin():
            if not self._uart.linked:
                self.close()
                return
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(HANDOVER_S, self._begin_or_leave)

    def _begin(self) -> bool:
        if not self._uart.adopt(self):
            return False
        self._took_over()
        return True

    def _begin_or_leave(self) -> None:
        if not self.alive:
            return
        if self._begin():
            self.hold(False)
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._uart.release(self)

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Raw bytes of the wire itself; go out at once."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def send(self, data: bytes) -> None:
        """Bytes of the board."""
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() < OVERRUN_BYTES:
            transport.write(data)

    def hold(self, on: bool) -> None:
        """Read no more, or go on."""
        if self._transport is None or not self.alive:
            return
        change: Callable[[], None] = (
            self._transport.pause_reading if on else self._transport.resume_reading
        )
        change()

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()
