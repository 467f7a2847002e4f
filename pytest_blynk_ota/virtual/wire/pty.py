"""A board's UART as a pseudo-terminal: a path as ``/dev/pts/7``. A rate, but no lines.

The other end of a pseudo-terminal tells when its last user closes it, but not when somebody opens
it: that is looked for now and then.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import struct
import sys
import termios
import tty
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.wire.tcp import OVERRUN_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.wire.uart import Uart

LOOK_S = 0.02
"""Wall seconds between two looks for a client."""
READ_BYTES = 65536
FIRST_SPEED = termios.B115200
TCGETS2 = 0x802C542A
"""Linux asm-generic/ioctls.h: the settings with the rate as a number, whatever it is."""
TERMIOS2 = struct.Struct("4I B 19s 2I")


class PtyWire:
    """A pseudo-terminal and whoever has it open."""

    has_lines = False

    def __init__(self, uart: Uart) -> None:
        self._uart = uart
        self._fd = -1
        self._path = ""
        self._waiting = bytearray()
        self._look_again: asyncio.TimerHandle | None = None

    @property
    def url(self) -> str:
        """The path."""
        assert self._path, "the port is not open yet"
        return self._path

    async def start(self) -> None:
        """Make the pseudo-terminal."""
        self._fd, other = os.openpty()
        os.set_blocking(self._fd, False)
        tty.setraw(other)
        settings = termios.tcgetattr(other)
        settings[4] = settings[5] = FIRST_SPEED
        termios.tcsetattr(other, termios.TCSANOW, settings)
        self._path = os.ttyname(other)
        os.close(other)  # kept open, it would hide when a client goes
        self._look_now_and_then()

    async def stop(self) -> None:
        """Let go of it: a client's next read ends."""
        if self._fd >= 0:
            self._stop_reading()
            if self._look_again is not None:
                self._look_again.cancel()
            os.close(self._fd)
            self._fd = -1

    def look(self) -> None:
        """Begin with a client that is there."""
        if self._fd >= 0 and not self._hung_up() and self._uart.adopt(self):
            self.hold(False)

    def _look_now_and_then(self) -> None:
        self.look()
        if not self._uart.connected:
            self._look_later()

    def _look_later(self) -> None:
        if self._look_again is not None:
            self._look_again.cancel()
        loop = asyncio.get_running_loop()
        self._look_again = loop.call_later(LOOK_S, self._look_now_and_then)

    def _hung_up(self) -> bool:
        """Whether nobody has it open, nor has left anything to read."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(event == select.POLLHUP for _, event in poll.poll(0))

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._uart.release(self)
            self.close()
            self._forget_unread()
            return
        self._uart.receive(data)

    def _forget_unread(self) -> None:
        """What a client has not read is not for the next one."""
        if self._hung_up():
            other = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            termios.tcflush(other, termios.TCIFLUSH)
            os.close(other)

    # ---- the client

    @property
    def host_baud(self) -> int | None:
        """The rate that is set, ``None`` for none."""
        if sys.platform == "linux":
            raw = fcntl.ioctl(self._fd, TCGETS2, bytes(TERMIOS2.size))
            return int(TERMIOS2.unpack(raw)[-1]) or None
        return int(termios.tcgetattr(self._fd)[5]) or None

    def send(self, data: bytes) -> None:
        """Bytes of the board."""
        if len(self._waiting) < OVERRUN_BYTES:
            self._waiting += data
        self._write()

    def _write(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            asyncio.get_running_loop().add_writer(self._fd, self._write)
            return
        asyncio.get_running_loop().remove_writer(self._fd)

    def hold(self, on: bool) -> None:
        """Read no more, or go on."""
        loop = asyncio.get_running_loop()
        if on:
            loop.remove_reader(self._fd)
        else:
            loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Part from the client; who has it open still comes back with the power."""
        self._stop_reading()
        self._look_later()

    def _stop_reading(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.remove_writer(self._fd)
        self._waiting.clear()
