"""How far the bytes really came: what the peer's TCP has acknowledged, in bytes of a body."""

from __future__ import annotations

import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass

BYTES_ACKED_OFFSET = 120
"""``tcpi_bytes_acked`` in struct tcp_info: 8 bytes, 24 u32, 2 u64 before it (linux/tcp.h, 4.1)."""

TCP_INFO_BYTES = 256
"""More than any kernel fills so far; it returns what it knows."""


UNACKED_OFFSET = 24
"""``tcpi_unacked``: 8 bytes, 4 u32 before it."""


def bytes_acked(sock: socket.socket) -> int | None:
    """Bytes of this connection that the peer acknowledged; None where nobody can tell."""
    return _info(sock, "=Q", BYTES_ACKED_OFFSET)


def in_flight(sock: socket.socket) -> bool | None:
    """Whether segments are on their way that the peer has not acknowledged; None where nobody can
    tell. What the kernel keeps for a peer that takes nothing (its window is shut) is not."""
    found = _info(sock, "=I", UNACKED_OFFSET)
    return None if found is None else found > 0


def _info(sock: socket.socket, form: str, at: int) -> int | None:
    """A number of the kernel's struct tcp_info."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < at + struct.calcsize(form):
        return None
    return int(struct.unpack_from(form, info, at)[0])


@dataclass(slots=True)
class _Span:
    """Bytes of the connection that carry bytes of the body."""

    wire: int
    wire_end: int
    body: int
    body_end: int

    @property
    def is_bare(self) -> bool:
        """Byte for byte: not sealed in a record."""
        return self.wire_end - self.wire == self.body_end - self.body


class Ledger:
    """Which bytes of a connection carry which bytes of one body.

    Between them stand heads, the framing of chunks, and what TLS adds. Bytes of the connection
    count from its beginning.

    Attributes:
        body: bytes of the body that are booked.
    """

    def __init__(self) -> None:
        self.body = 0
        self._spans: deque[_Span] = deque()
        self._passed = 0

    def book(self, at: int, wire: int, body: int) -> None:
        """The next ``body`` bytes go out as the ``wire`` bytes from ``at`` on."""
        end = self.body + body
        last = self._spans[-1] if self._spans else None
        if last and last.is_bare and wire == body and last.wire_end == at:
            last.wire_end, last.body_end = at + wire, end
        else:
            self._spans.append(_Span(at, at + wire, self.body, end))
        self.body = end

    def recall(self, count: int) -> None:
        """The last ``count`` bytes, bare ones, did not go out after all."""
        self.body -= count
        while count:
            last = self._spans[-1]
            less = min(count, last.body_end - last.body)
            last.wire_end, last.body_end = last.wire_end - less, last.body_end - less
            count -= less
            if last.body == last.body_end:
                self._spans.pop()

    def within(self, wire: int) -> int:
        """Bytes of the body in the first ``wire`` bytes of the connection; of a record all or
        none, for the peer cannot open a part of one."""
        for span in reversed(self._spans):
            if wire >= span.wire_end:
                return span.body_end
            if wire > span.wire:
                return span.body + (wire - span.wire if span.is_bare else 0)
        return self._passed

    def forget(self, wire: int) -> None:
        """Nobody will ask for fewer bytes of the connection any more."""
        while self._spans and self._spans[0].wire_end <= wire:
            self._passed = self._spans.popleft().body_end
