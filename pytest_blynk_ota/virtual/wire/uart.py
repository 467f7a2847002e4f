"""A board's USB bridge as an RFC 2217 port: ``rfc2217://127.0.0.1:PORT``.

pyserial's own ``PortManager`` speaks Telnet; this module gives it a serial port that is none, and
a socket on the event loop. One client at a time; what the board prints while there is none is
lost, as on a real wire.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator
from typing import Any, cast

from serial import rfc2217

IAC = b"\xff"
OVERRUN_BYTES = 1 << 20
"""A bridge whose client does not read drops bytes; this much may wait for it."""
HANDOVER_S = 0.05
"""Wall seconds that a second client waits for the first one's goodbye, which may be behind it."""

TELNET_ERRORS = (TypeError, ValueError, LookupError, struct.error)
"""What pyserial's parser raises on Telnet that is cut short or senseless."""


class Lines:
    """The serial port that the Telnet side believes to have; only DTR and RTS do something."""

    def __init__(self, moved: Callable[[bool, bool], None]) -> None:
        self.baudrate = 115200
        self.bytesize = 8
        self.parity = "N"
        self.stopbits = 1
        self.xonxoff = False
        self.rtscts = False
        self.break_condition = False
        self.cts = self.dsr = self.cd = True
        self.ri = False
        self._moved = moved
        self._dtr = False
        self._rts = False

    @property
    def dtr(self) -> bool:
        """Data terminal ready, ``True`` when asserted."""
        return self._dtr

    @dtr.setter
    def dtr(self, value: bool) -> None:
        self.set(value, self._rts)

    @property
    def rts(self) -> bool:
        """Request to send, ``True`` when asserted."""
        return self._rts

    @rts.setter
    def rts(self, value: bool) -> None:
        self.set(self._dtr, value)

    def set(self, dtr: bool, rts: bool) -> None:
        """Move both lines at once."""
        if (dtr, rts) != (self._dtr, self._rts):
            self._dtr, self._rts = dtr, rts
            self._moved(dtr, rts)

    def reset_input_buffer(self) -> None:
        """Nothing is buffered here: bytes go on as they come."""

    def reset_output_buffer(self) -> None:
        """Nothing is buffered here: bytes go on as they come."""


class Uart:
    """The port of one board.

    Args:
        received: takes the bytes that a client sends.
        moved: told of each change of (DTR, RTS); both fall at once when a client goes.
    """

    def __init__(
        self, received: Callable[[bytes], None], moved: Callable[[bool, bool], None]
    ) -> None:
        self.lines = Lines(moved)
        self._received = received
        self._client: Client | None = None
        self._server: asyncio.Server | None = None
        self._linked = True

    @property
    def url(self) -> str:
        """Where the port is, for pyserial and esptool."""
        assert self._server is not None, "the port is not open yet"
        return "rfc2217://{}:{}".format(*self._server.sockets[0].getsockname())

    @property
    def connected(self) -> bool:
        """Whether a client is there."""
        return self._client is not None

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Client(self), "127.0.0.1", 0)

    async def stop(self) -> None:
        """Close the port and the client's connection."""
        self.unlink()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def send(self, data: bytes) -> None:
        """Bytes that the board sends; lost when nobody listens."""
        if self._client is not None:
            self._client.send(data)

    def unlink(self) -> None:
        """The bridge loses its power: the client is cut off, and new ones are until ``link``."""
        self._linked = False
        if self._client is not None:
            client, self._client = self._client, None
            client.close()
            self.lines.set(False, False)

    def link(self) -> None:
        """The bridge has power again."""
        self._linked = True

    # ---- for Client

    def adopt(self, client: Client) -> bool:
        """Let ``client`` have the port; ``False`` if it is taken."""
        if self._client is not None or not self._linked:
            return False
        self._client = client
        self.lines.baudrate = 115200
        return True

    @property
    def linked(self) -> bool:
        """Whether the bridge has power."""
        return self._linked

    def release(self, client: Client) -> None:
        """``client`` has gone: its lines fall, both at once."""
        if self._client is client:
            self._client = None
            self.lines.set(False, False)

    def receive(self, data: bytes) -> None:
        """Bytes for the board."""
        self._received(data)


class Client(asyncio.Protocol):
    """One Telnet connection."""

    def __init__(self, uart: Uart) -> None:
        self._uart = uart
        self._transport: asyncio.Transport | None = None
        self._telnet: Any = None  # pyserial's PortManager has no types

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
        # Both stand in for what the stubs call a Serial: no more than their attributes is used.
        self._telnet = rfc2217.PortManager(cast(Any, self._uart.lines), cast(Any, self))
        return True

    def _begin_or_leave(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._begin():
            self._transport.resume_reading()
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._uart.release(self)

    def data_received(self, data: bytes) -> None:
        for piece in self._plain(data):
            if self._transport is None or self._transport.is_closing():
                return  # the client was cut off by what it sent
            self._uart.receive(piece)

    def _plain(self, data: bytes) -> Iterator[bytes]:
        """The bytes for the board, in order with the line changes between them.

        The Telnet filter takes byte by byte; only commands have to pass it.
        """
        at = 0
        while at < len(data):
            if self._in_text:
                command = data.find(IAC, at)
                text = data[at:] if command < 0 else data[at:command]
                at += len(text)
                if text:
                    yield text
                if command < 0:
                    return
            try:
                escaped = b"".join(self._telnet.filter(data[at : at + 1]))
            except TELNET_ERRORS:
                self.close()
                return
            at += 1
            if escaped:
                yield escaped

    @property
    def _in_text(self) -> bool:
        return self._telnet.mode == rfc2217.M_NORMAL and self._telnet.suboption is None

    def write(self, data: bytes) -> None:
        """What the Telnet side has to say; goes out at once."""
        if self._transport is not None:
            self._transport.write(data)

    def send(self, data: bytes) -> None:
        """Bytes of the board."""
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() < OVERRUN_BYTES:
            transport.write(data.replace(IAC, IAC + IAC))

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()
