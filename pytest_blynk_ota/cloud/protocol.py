"""The Blynk binary protocol: bytes in, frames out, and back. No I/O, no clock.

A frame is ``cmd u8, id u16 BE, length u16 BE, body``. The body is strings with NUL between them. A
RESPONSE has no body: its status stands where the length would. Source: ``BlynkProtocol.h`` and
``BlynkProtocolDefs.h`` of blynk-library 1.4.0. Standard library only: the virtual boards speak
through this module too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

HEADER: Final = struct.Struct("!BHH")
HEADER_BYTES: Final = HEADER.size
MAX_BODY_BYTES: Final = 1 << 15
"""Largest body that the cloud takes (Blynk documentation); a device's own limit is ``buff-in``."""
DEFAULT_BUFF_IN: Final = 1024
"""Bytes an ESP32 or ESP8266 can receive, header included, unless its info says otherwise."""
TOKEN_CHARS: Final = 32
_U16_MAX: Final = 0xFFFF


class Cmd(IntEnum):
    """Commands (``BlynkProtocolDefs.h``, enum BlynkCmd)."""

    RESPONSE = 0
    PING = 6
    BRIDGE = 15
    HARDWARE_SYNC = 16
    INTERNAL = 17
    PROPERTY = 19
    HARDWARE = 20
    GROUP = 21
    LOGIN = 29
    REDIRECT = 41
    DEBUG_PRINT = 55
    EVENT_LOG = 64
    EVENT_CLEAR = 65


class Status(IntEnum):
    """Statuses of a RESPONSE (``BlynkProtocolDefs.h``, enum BlynkStatus)."""

    QUOTA_LIMIT = 1
    ILLEGAL_COMMAND = 2
    NOT_REGISTERED = 3
    ALREADY_REGISTERED = 4
    NOT_AUTHENTICATED = 5
    NOT_ALLOWED = 6
    INVALID_TOKEN = 9
    ILLEGAL_BODY = 11
    TIMEOUT = 16
    SERVER_EXCEPTION = 19
    OK = 200


class ProtocolError(Exception):
    """Raised when a byte stream cannot be Blynk frames; nothing after that point can be trusted.

    Args:
        reason: what was wrong, in words.
        frames: the whole frames that the same bytes held before the break.
    """

    def __init__(self, reason: str, frames: Sequence[Frame] = ()) -> None:
        self.reason = reason
        self.frames = tuple(frames)
        super().__init__(reason)


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One message.

    Attributes:
        cmd: a :class:`Cmd`, or another number from 0 to 255 that the peer sent.
        id: message number; a request of a device or to a device never has 0.
        body: empty for a RESPONSE.
        status: of a RESPONSE, else None.
    """

    cmd: int
    id: int
    body: bytes = b""
    status: int | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The strings of the body; none if it is empty. Bytes that are no UTF-8 become U+FFFD."""
        if not self.body:
            return ()
        return tuple(self.body.decode("utf-8", "replace").split("\0"))

    def __repr__(self) -> str:
        name = command_name(self.cmd)
        if self.cmd == Cmd.RESPONSE:
            return f"<Frame {name} id={self.id} status={self.status}>"
        if self.cmd == Cmd.LOGIN:  # the body is a secret
            return f"<Frame {name} id={self.id} {len(self.body)} bytes>"
        return f"<Frame {name} id={self.id} {self.parts!r}>"


def command_name(cmd: int) -> str:
    """``LOGIN`` for 29, ``command 99`` for one that the protocol does not have."""
    try:
        return Cmd(cmd).name
    except ValueError:
        return f"command {cmd}"


def frame(cmd: int, id: int, *parts: str) -> Frame:
    """A frame from strings.

    Raises:
        ValueError: a string holds a NUL, or ``cmd`` is RESPONSE (see :func:`response`).
    """
    if cmd == Cmd.RESPONSE:
        raise ValueError("a RESPONSE has a status and no strings: use response()")
    for part in parts:
        if "\0" in part:
            raise ValueError(f"{command_name(cmd)}: a string may not hold a NUL: {part!r}")
    return Frame(cmd, id, "\0".join(parts).encode())


def response(id: int, status: int = Status.OK) -> Frame:
    """The answer to the message of that number."""
    return Frame(Cmd.RESPONSE, id, status=status)


def encode(message: Frame) -> bytes:
    """The bytes on the wire.

    Raises:
        ValueError: a number does not fit its field, or status and body contradict the command.
    """
    is_response = message.cmd == Cmd.RESPONSE
    if is_response != (message.status is not None) or (is_response and message.body):
        raise ValueError(f"a RESPONSE has a status and no body, others the reverse: {message!r}")
    last = len(message.body) if message.status is None else message.status
    fields = (("command", message.cmd, 0xFF), ("id", message.id, _U16_MAX),
              ("length or status", last, _U16_MAX))  # fmt: skip
    for name, value, most in fields:
        if not 0 <= value <= most:
            raise ValueError(f"{name} {value} does not fit its field (0 to {most})")
    return HEADER.pack(message.cmd, message.id, last) + message.body


def pairs(parts: Sequence[str]) -> dict[str, str]:
    """Keys and values from alternating strings, in order; of a repeated key the last counts.

    A trailing NUL (the Linux C++ client sends one) leaves an empty last string, which is no key; a
    key at the end without its value gets "".
    """
    found: dict[str, str] = {}
    for index in range(0, len(parts), 2):
        key = parts[index]
        value = parts[index + 1] if index + 1 < len(parts) else ""
        if key or value:
            found[key] = value
    return found


class Decoder:
    """Cuts a byte stream into frames, however the network split it.

    Args:
        max_body: bytes of the largest body taken.
    """

    def __init__(self, max_body: int = MAX_BODY_BYTES) -> None:
        self._max_body = max_body
        self._pending = bytearray()
        self._broken: str | None = None

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the frames that are now whole.

        Raises:
            ProtocolError: a body is announced that is larger than ``max_body``. The stream is lost:
                every further call raises too.
        """
        if self._broken is not None:
            raise ProtocolError(self._broken)
        self._pending += data
        frames: list[Frame] = []
        at = 0
        while (found := self._frame_at(at, frames)) is not None:
            frames.append(found)
            at += HEADER_BYTES + len(found.body)
        del self._pending[:at]
        return frames

    def _frame_at(self, at: int, before: Sequence[Frame]) -> Frame | None:
        body_at = at + HEADER_BYTES
        if len(self._pending) < body_at:
            return None
        cmd, number, last = HEADER.unpack_from(self._pending, at)
        if cmd == Cmd.RESPONSE:
            return Frame(cmd, number, status=last)
        if last > self._max_body:
            self._broken = (
                f"{command_name(cmd)} announces a body of {last} bytes, at most {self._max_body}"
            )
            self._pending.clear()
            raise ProtocolError(self._broken, before)
        if len(self._pending) < body_at + last:
            return None
        return Frame(cmd, number, bytes(self._pending[body_at : body_at + last]))
