"""A board's USB bridge as an RFC 2217 port: ``rfc2217://127.0.0.1:PORT``.

pyserial's own ``PortManager`` speaks Telnet; this module gives it a serial port that is none, and
a socket on the event loop.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from serial import rfc2217

from pytest_blynk_ota.virtual.wire.tcp import TcpClient, TcpWire

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.wire.uart import Uart

IAC = b"\xff"
UNASKED_BAUD = 115200
"""Rate of a bridge whose client has set none."""

TELNET_ERRORS = (TypeError, ValueError, LookupError, struct.error)
"""What pyserial's parser raises on Telnet that is cut short or senseless."""


class Rfc2217Wire(TcpWire):
    """Bytes, baud rate and lines."""

    scheme = "rfc2217"
    has_lines = True

    def _client(self) -> TelnetClient:
        return TelnetClient(self._uart)


class SerialPort:
    """The serial port that the Telnet side believes to have."""

    def __init__(self, uart: Uart) -> None:
        self._uart = uart
        self.baudrate = UNASKED_BAUD
        self.bytesize = 8
        self.parity = "N"
        self.stopbits = 1
        self.xonxoff = False
        self.rtscts = False
        self.break_condition = False
        self.cts = self.dsr = self.cd = True
        self.ri = False

    @property
    def dtr(self) -> bool:
        """Data terminal ready, ``True`` when asserted."""
        return self._uart.lines.dtr

    @dtr.setter
    def dtr(self, value: bool) -> None:
        self._uart.lines.set(value, self.rts)

    @property
    def rts(self) -> bool:
        """Request to send, ``True`` when asserted."""
        return self._uart.lines.rts

    @rts.setter
    def rts(self, value: bool) -> None:
        self._uart.lines.set(self.dtr, value)

    def reset_input_buffer(self) -> None:
        """What has left the chip is with the client already."""

    def reset_output_buffer(self) -> None:
        """Take back what has not reached the chip."""
        self._uart.purge()


class TelnetClient(TcpClient):
    """One Telnet connection."""

    def __init__(self, uart: Uart) -> None:
        super().__init__(uart)
        self._port = SerialPort(uart)
        self._telnet: Any = None  # pyserial's PortManager has no types

    @property
    def host_baud(self) -> int | None:  # type: ignore[override]
        """The rate that the client has set."""
        return self._port.baudrate

    def _took_over(self) -> None:
        # Both stand in for what the stubs call a Serial: no more than their attributes is used.
        self._telnet = rfc2217.PortManager(cast(Any, self._port), cast(Any, self))

    def data_received(self, data: bytes) -> None:
        for piece in self._plain(data):
            if not self.alive:
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

    def send(self, data: bytes) -> None:
        """Bytes of the board."""
        super().send(data.replace(IAC, IAC + IAC))
