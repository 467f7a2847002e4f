"""From a name in the rig file to an open port: the only place where ports are opened."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import termios
from typing import Protocol, runtime_checkable

import serial
from serial.serialutil import PortNotOpenError, SerialException

from pytest_blynk_ota.board import usb
from pytest_blynk_ota.board.naming import BY_ID, MAC, USB, listed, locate, usb_ports
from pytest_blynk_ota.board.rfc2217 import Rfc2217Port
from pytest_blynk_ota.errors import ConfigError, PortGone

Port = serial.Serial | Rfc2217Port
"""An open port of any kind."""

READ_S = 0.02
"""How long a read may keep a thread that somebody wants to stop; and how little is known at least
of when bytes came that a busy host has read late."""

TTY_BYTES = 4095
"""As much as Linux shows a terminal's reader at once (n_tty.c): 0.4 s of a log at 115200 baud."""

REMEDIES = {
    errno.ENOENT: "is the board plugged in, powered, and the port of the rig file right?",
    errno.ENXIO: "is the board plugged in and powered?",
    errno.EIO: "unplug the board and plug it in again",
    errno.EBUSY: "another user's program holds it; sudo fuser -v {where} names it",
    errno.ECONNREFUSED: "nothing listens there: start the server or mend the port of the rig file",
    errno.EHOSTUNREACH: "is the host with the board up and in this network?",
    errno.ETIMEDOUT: "is the host with the board up and in this network?",
}


@runtime_checkable
class HasLines(Protocol):
    """A port whose DTR and RTS can be set."""

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        """Set both lines; returns when they are set."""


class TtyPort(serial.Serial):
    """A local serial device that changes DTR and RTS in one system call.

    pyserial changes one after the other when it opens: from (1, 1), where Linux leaves them, that
    passes through (0, 1) and resets the chip.
    """

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        """Set both lines at once."""
        self._dtr_state, self._rts_state = dtr, rts
        self._update_dtr_state()

    def _update_dtr_state(self) -> None:
        if self.fd is None:
            raise PortNotOpenError()
        current = struct.unpack("I", fcntl.ioctl(self.fd, termios.TIOCMGET, b"\0\0\0\0"))[0]
        wanted = current & ~(termios.TIOCM_DTR | termios.TIOCM_RTS)
        wanted |= termios.TIOCM_DTR if self._dtr_state else 0
        wanted |= termios.TIOCM_RTS if self._rts_state else 0
        fcntl.ioctl(self.fd, termios.TIOCMSET, struct.pack("I", wanted))

    _update_rts_state = _update_dtr_state


def open_port(name: str, url: str, baud: int) -> Port:
    """Open the port of one board, exclusively where the system can, without touching its reset.

    Args:
        name: the board's name, for messages.
        url: any name of a port (``board/naming.py``).
        baud: of the console.

    Raises:
        PortGone: with what went wrong and what to do.
        ConfigError: the URL is of no known kind.
    """
    where = _device(name, url)
    try:
        port = _make(where)
    except ValueError as error:
        raise ConfigError(f"board {name}", [f"port: {url!r}: {error}"]) from error
    port.baudrate, port.timeout = baud, READ_S
    port.dtr = port.rts = False
    port.port = where
    try:
        port.open()
    except (SerialException, OSError, termios.error) as error:  # the last is no OSError
        port.close()
        raise PortGone(_explain(name, url, where, error)) from error
    return port


def unread(port: Port) -> int:
    """Bytes that have reached this host and that nobody has read. Does not wait.

    Raises:
        SerialException, OSError: the port is gone.
    """
    if isinstance(port, Rfc2217Port):
        port.sort_out()
    return port.in_waiting


def told_at_most(port: Port) -> int:
    """As many bytes as :func:`unread` can tell of: where it says so many, more may wait. A terminal
    holds the rest back until these are read; a socket of pyserial's only tells that some wait."""
    if isinstance(port, Rfc2217Port):
        return sys.maxsize
    return TTY_BYTES if isinstance(port, TtyPort) else 1


def _make(where: str) -> Port:
    if where.startswith("rfc2217://"):
        return Rfc2217Port()
    if "://" in where:
        return serial.serial_for_url(where, do_not_open=True)
    return TtyPort(exclusive=True)


def _device(name: str, url: str) -> str:
    """Where the port is now: a board that is named by what it is may have moved."""
    if not url.startswith((USB, MAC, BY_ID)):
        return url
    try:
        known = usb.known_boards() if url.startswith(MAC) else ()
        return locate(url, usb.seen_ports(), known)
    except PortGone as error:
        raise PortGone(f"board {name}: {error}") from None


def _explain(name: str, url: str, where: str, error: Exception) -> str:
    holder = usb.holder_of(where)
    if holder:
        return f"board {name}: {url} is held by another program: {holder}. Stop it first."
    code = getattr(error, "errno", None) or _cause(error)
    return f"board {name}: cannot open {url}: {error}. What to do: {_remedy(code or 0, where)}"


def _remedy(code: int, where: str) -> str:
    if code in (errno.EACCES, errno.EPERM) and os.path.exists(where):  # noqa: PTH110
        return usb.remedy_for_denied(where)
    remedy = REMEDIES.get(code, "does another client hold it, or is the server gone?")
    if code == errno.ENOENT:
        seen = usb.seen_ports()
        remedy += f" USB serial ports that are there: {listed(usb_ports(seen), seen)}"
    return remedy.format(where=where)


def _cause(error: BaseException) -> int | None:
    """The number that pyserial dropped on the way."""
    if isinstance(error, termios.error):
        return int(error.args[0])
    for inner in (error.__cause__, error.__context__):
        if isinstance(inner, OSError) and inner.errno:
            return inner.errno
    return None
