"""The board's Wi-Fi: TCP connections that a reset leaves behind as a real one does.

When a chip resets, nothing closes its TCP connections: the peer sees silence, no FIN and no
acknowledgement. Only when the chip is back on the network does its new TCP stack answer the
peer's segments with RST. :meth:`Network.drop` and :meth:`Network.up` are these two moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys

SEGMENT_BYTES = 1436  # lwIP's TCP_MSS in ESP-IDF (CONFIG_LWIP_TCP_MSS)
WINDOW_BYTES = 4 * SEGMENT_BYTES  # CONFIG_LWIP_TCP_WND_DEFAULT
SO_ATTACH_FILTER = 26  # linux/asm-generic/socket.h
BPF_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0: keep no byte of a segment


STATION_ADDRESS = "192.168.4.2"


class NoNetwork(Exception):
    """Raised when a station cannot join.

    Attributes:
        reason: the number that ESP-IDF's Wi-Fi gives (``wifi_err_reason_t``): 201 no access point,
            15 the handshake timed out, as with a wrong passphrase; 0: joined, but no DHCP.
    """

    def __init__(self, reason: int) -> None:
        self.reason = reason
        super().__init__(f"Wi-Fi reason {reason}")


class Connection:
    """One TCP connection of a board; reads come straight from the socket, so back-pressure is real.

    All methods raise :class:`OSError` when the connection is broken.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ahead = b""
        self._ours = True

    async def read(self, limit: int = SEGMENT_BYTES) -> bytes:
        """Up to ``limit`` bytes, at least one; ``b""`` once the peer has closed."""
        if self._ahead:
            data, self._ahead = self._ahead[:limit], self._ahead[limit:]
            return data
        return await asyncio.get_running_loop().sock_recv(self._sock, limit)

    async def read_exactly(self, count: int) -> bytes:
        """``count`` bytes.

        Raises:
            EOFError: the peer closed before.
        """
        data = bytearray()
        while len(data) < count:
            piece = await self.read(count - len(data))
            if not piece:
                raise EOFError(f"closed after {len(data)} of {count} bytes")
            data += piece
        return bytes(data)

    async def read_line(self, limit: int = 4096) -> bytes:
        """One line with its end; what is there without an end if the peer closes.

        Raises:
            ValueError: no line end within ``limit`` bytes.
        """
        data = bytearray()
        while (end := data.find(b"\n")) < 0:
            if len(data) >= limit:
                raise ValueError(f"no line end within {limit} bytes")
            piece = await self.read()
            if not piece:
                return bytes(data)
            data += piece
        self._ahead = bytes(data[end + 1 :]) + self._ahead
        return bytes(data[: end + 1])

    async def write(self, data: bytes) -> None:
        """Send all of ``data``; returns when the kernel has it."""
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    def close(self) -> None:
        """Close with FIN; does nothing on a ghost, nor twice."""
        if self._ours:
            self._ours = False
            self._sock.close()

    def abort(self) -> None:
        """Close with RST; does nothing on a ghost, nor twice."""
        if self._ours:
            self._ours = False
            close_with_reset(self._sock)

    def abandon(self) -> socket.socket | None:
        """Take the socket away from the software for good (hardware only); ``None`` if closed."""
        if not self._ours:
            return None
        self._ours = False
        return self._sock


class Network:
    """The connections of one board, living and ghosts."""

    def __init__(self) -> None:
        self._living: list[Connection] = []
        self._ghosts: list[socket.socket] = []

    @property
    def ghosts(self) -> int:
        """How many half-open connections an earlier life has left."""
        return len(self._ghosts)

    def up(self) -> None:
        """Wi-Fi is joined: every ghost is answered with RST now. Software calls it each time."""
        while self._ghosts:
            close_with_reset(self._ghosts.pop())

    async def join(self, ssid: str, passphrase: str) -> str:
        """Associate and ask for an address; returns it. Takes no device time of its own.

        Raises:
            NoNetwork: the access point is gone, refuses, or gives no address.
        """
        self.up()
        return STATION_ADDRESS

    @property
    def joined(self) -> bool:
        """Whether the station believes to be on the network (``WiFi.status()``)."""
        return True

    async def lost(self) -> None:
        """Wait until the station notices that its access point is gone."""
        await asyncio.Event().wait()

    async def open_connection(
        self, host: str, port: int, *, rcvbuf: int | None = WINDOW_BYTES
    ) -> Connection:
        """Connect. ``rcvbuf`` bytes bound what the peer can have in flight; ``None``: the kernel's.

        Raises:
            OSError: refused, unreachable, or the name is unknown. Put ``asyncio.timeout`` around.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if rcvbuf is not None:
                limit_window(sock, rcvbuf)
            await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        connection = Connection(sock)
        self._living = [one for one in self._living if one._ours]
        self._living.append(connection)
        return connection

    def drop(self) -> None:
        """The chip was reset or lost its power (hardware only): all connections become ghosts."""
        loop = asyncio.get_running_loop()
        for connection in self._living:
            sock = connection.abandon()
            if sock is None:
                continue
            loop.remove_reader(sock)
            loop.remove_writer(sock)
            silence(sock)
            self._ghosts.append(sock)
        self._living = []

    def close(self) -> None:
        """The rack ends: let go of every socket."""
        self.drop()
        self.up()


def limit_window(sock: socket.socket, size: int) -> None:
    """Make an unconnected socket offer about ``size`` bytes of window in small segments."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def silence(sock: socket.socket) -> None:
    """Make a connected socket deaf: segments for it are neither kept nor acknowledged.

    On Linux by a socket filter that drops everything. Elsewhere the socket merely stays unread.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(BPF_DROP_ALL)
    program = struct.pack("HL", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def close_with_reset(sock: socket.socket) -> None:
    """Close a socket so that its peer gets RST, not FIN."""
    with contextlib.suppress(OSError):  # the peer may have reset it first
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
