"""How far the bytes really came: what the peer's TCP has acknowledged."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

BYTES_ACKED_OFFSET = 120
"""``tcpi_bytes_acked`` in struct tcp_info: 8 bytes, 24 u32, 2 u64 before it (linux/tcp.h, 4.1)."""

TCP_INFO_BYTES = 256
"""More than any kernel fills so far; it returns what it knows."""


def bytes_acked(sock: socket.socket) -> int | None:
    """Bytes of this connection that the peer acknowledged; None where nobody can tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < BYTES_ACKED_OFFSET + 8:
        return None
    return int(struct.unpack_from("=Q", info, BYTES_ACKED_OFFSET)[0])


class Witness:
    """Counts the acknowledged body bytes of the answers on one connection, one after the other.

    ``source`` says whose word it is: ``tcp_info``, or ``written`` where the kernel does not
    tell: then bytes handed to it count as acknowledged, which is late by its buffers.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._sock: socket.socket = transport.get_extra_info("socket")
        self._before = 0
        self._frozen: int | None = None
        self.source = "written" if bytes_acked(self._sock) is None else "tcp_info"

    def begin(self) -> None:
        """An answer begins; all before it is acknowledged."""
        self._before = self._total() or 0

    def headers(self, size: int) -> None:
        """So many bytes of the answer are no body."""
        self._before += size

    def acked(self, written: int) -> int:
        """Acknowledged bytes of a body of which ``written`` bytes were sent."""
        total = self._total()
        if total is None:
            return max(0, written - self._transport.get_write_buffer_size())
        return min(max(0, total - self._before), written)

    def freeze(self) -> None:
        """Read for the last time: the socket is about to be closed."""
        if self._frozen is None and self.source == "tcp_info":
            self._frozen = bytes_acked(self._sock)

    def _total(self) -> int | None:
        if self.source == "written":
            return None
        if self._frozen is not None:
            return self._frozen
        total = bytes_acked(self._sock)
        return self._before if total is None else total
