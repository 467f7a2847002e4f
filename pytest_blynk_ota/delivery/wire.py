"""One TCP connection, byte for byte: what is queued, what the kernel took, what was acknowledged.

It owns its socket, without a transport between: a write goes to the kernel at once, so that what
it took is known exactly, and how the connection ends is ours to say. One coroutine waits on a wire
at a time; whatever changes wakes it (:meth:`Wire.wake`), and it looks for itself what that was.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable

from pytest_blynk_ota.delivery import filters
from pytest_blynk_ota.delivery.tls_layer import Tls
from pytest_blynk_ota.delivery.witness import Ledger, bytes_acked, in_flight

READ_BYTES = 64 * 1024
INBOX_BYTES = 64 * 1024
"""Unread bytes of the device beyond which no more are taken from the kernel."""

DRAINS = 256
"""Reads before a socket is closed: no receive buffer holds more, unless more comes all the time."""

HEALTHY_BUFFER_BYTES = 256 * 1024
SMALL_BUFFER_BYTES = 64 * 1024
"""SO_SNDBUF, which Linux doubles; the small one where a fault needs an offset or a rate, so that
what was written is not far from what was acknowledged."""

UNSENT_BYTES = 16 * 1024
"""TCP_NOTSENT_LOWAT there: the kernel takes no more while this much waits for the peer's window."""

MORE: int = getattr(socket, "MSG_MORE", 0)
"""More follows at once: no segment needs to end here."""
SEGMENT: int = getattr(socket, "MSG_EOR", 0)
"""Nothing is joined to these bytes: they are TCP segments of their own, sent late or not."""


class Gone(ConnectionError):
    """Raised when the device has left."""


class Wire:
    """A connection that was accepted.

    Args:
        sock: its socket, which is the wire's to close.

    Attributes:
        tls: set once TLS is spoken.
        inbox: bytes of the device that nobody has read yet, decrypted.
        gone: how it ended: ``fin``, ``rst``, ``timeout`` or ``error`` of the device's side,
            ``closed`` by us; None while it is open.
        spilled: whether bytes of the device were thrown away.
        queued: bytes that were put on it so far.
        taken: bytes that the kernel took of them.
        moved: called when the kernel has taken more.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[memoryview, int]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._woken = False
        self._reads = self._writes = False
        self._acked: int | None = None
        self._drops = 0
        self.tls: Tls | None = None
        self.tls_error: ssl.SSLError | None = None
        self.inbox = bytearray()
        self.gone: str | None = None
        self.spilled = False
        self.queued = self.taken = 0
        self.moved: Callable[[], object] = lambda: None
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # it is gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HEALTHY_BUFFER_BYTES)
        said = bytes_acked(sock)
        self._before = said or 0
        self.acked_by = "written" if said is None else "tcp_info"
        self._read_on()

    # Waiting.

    def wake(self) -> None:
        """Have the one who waits look around."""
        self._woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, until: float | None = None) -> None:
        """Wait until something changes, or until a time on the loop's clock."""
        if not self._woken:
            self._waiter = self._loop.create_future()
            timer = self._loop.call_at(until, self.wake) if until is not None else None
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._woken = False

    # Writing.

    @property
    def waiting(self) -> bool:
        """Whether bytes wait for the kernel to take them."""
        return bool(self._queue)

    def narrow(self) -> None:
        """Keep the kernel's buffers small from now on."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)
            if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                option = socket.TCP_NOTSENT_LOWAT
                self._sock.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)

    def send(self, data: bytes | memoryview, flags: int = 0, ledger: Ledger | None = None) -> None:
        """Put bytes on the wire, sealed where TLS is spoken. They count from the beginning: a
        device that stops reading in their midst has acknowledged some of them.

        Args:
            flags: :data:`MORE` or :data:`SEGMENT`.
            ledger: where they are booked if they are bytes of a body.
        """
        if self.gone is not None:
            return  # and TLS may have broken down
        view = memoryview(data)
        if self.tls is None:
            if ledger is not None:
                ledger.book(self.queued, len(view), len(view))
            self.put(view, flags)
            return
        sealed, sizes = self.tls.seal(view)
        at = self.queued
        for wire, body in sizes:
            if ledger is not None and body:
                ledger.book(at, wire, body)
            at += wire
        self.put(sealed, flags)

    def put(self, data: bytes | memoryview, flags: int = 0) -> None:
        """Put bytes on the wire as they are."""
        if self.gone is not None or not data:
            return
        self.queued += len(data)
        self._queue.append((memoryview(data), flags))
        if len(self._queue) == 1:
            self._flush()

    def recall(self) -> int:
        """Take back what the kernel has not taken yet; returns how many bytes."""
        count = self.queued - self.taken
        self._queue.clear()
        self.queued = self.taken
        self._write_off()
        return count

    def acked(self) -> int:
        """Bytes of the wire that the device's TCP has acknowledged; where the kernel does not
        tell, those that it took, which is early by its buffers."""
        if self._acked is None:
            total = bytes_acked(self._sock)
            if total is None:
                return self.taken
            return total - self._before  # a FIN counts as one more
        return self._acked

    def in_flight(self) -> bool | None:
        """Whether bytes are on their way to the device; None where the kernel does not tell, or
        where it is too late to ask."""
        return None if self._acked is not None else in_flight(self._sock)

    # Ends.

    def close(self) -> None:
        """End it by FIN, behind what the kernel has taken. Safe to call twice."""
        if self._sock.fileno() < 0:
            return
        if self.gone is None:
            # Bytes that nobody has read would make the FIN a RST.
            with contextlib.suppress(OSError):
                for _ in range(DRAINS):
                    if not self._sock.recv(READ_BYTES):
                        break
        self._shut()

    def reset(self) -> None:
        """End it by RST."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._shut()

    def finish(self) -> None:
        """FIN behind what the kernel has taken, and read on."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def silence(self) -> None:
        """Not a packet is taken or answered any more, but that a RST ends it. Raises OSError where
        that cannot be."""
        filters.silence(self._sock, filters.DROP_BUT_RESETS)
        self.forget_knocks()
        self._readable()  # one that has left already does not knock any more

    def knocked(self) -> bool:
        """Whether a packet has come since it was silenced, or since the knocks were forgotten."""
        return filters.dropped(self._sock) > self._drops

    def forget_knocks(self) -> None:
        """Count from now on."""
        self._drops = filters.dropped(self._sock)

    def _shut(self) -> None:
        if self._acked is None and self.acked_by == "tcp_info":
            self._acked = self.acked()
        self._read_off()
        self._write_off()
        self.gone = self.gone or "closed"
        self._queue.clear()
        self._sock.close()
        self.wake()

    def _lost(self, error: OSError | None) -> None:
        """The device has left, or its network has."""
        if self.gone is None:
            self.gone = (
                "fin"
                if error is None
                else "timeout"
                if isinstance(error, TimeoutError)
                else "rst"
                if isinstance(error, ConnectionError)
                else "error"
            )
        self._read_off()
        self._write_off()
        self._queue.clear()
        self.wake()

    def secure(self, tls: Tls) -> None:
        """Speak TLS from now on; the handshake is over."""
        self.tls = tls
        self._came(b"")

    # The kernel.

    def take(self) -> bytes:
        """All bytes of the inbox."""
        data = bytes(self.inbox)
        self.inbox.clear()
        if self.gone is None:
            self._read_on()
        return data

    def spill(self) -> None:
        """Throw a full inbox away: the device's end is seen only behind all that it has sent."""
        if len(self.inbox) >= INBOX_BYTES:
            self.spilled = True
            self.take()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        if not data:
            self._lost(None)
            return
        self._came(data)
        if len(self.inbox) >= INBOX_BYTES:
            self._read_off()
        self.wake()

    def _came(self, data: bytes) -> None:
        if self.tls is None:
            self.inbox += data
            return
        self.tls.feed(data)
        try:
            opened, left = self.tls.open_records()
        except ssl.SSLError as error:
            self.tls_error = error
            self.put(self.tls.said())
            self._lost(ConnectionAbortedError(str(error)))
            return
        self.inbox += opened
        if left:
            self._lost(None)

    def _flush(self) -> None:
        """Give the kernel what it takes."""
        while self._queue:
            data, flags = self._queue[0]
            try:
                count = self._sock.send(data, flags)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lost(error)
                return
            self.taken += count
            if count == len(data):
                self._queue.popleft()
            else:
                self._queue[0] = (data[count:], flags)
                break
        if self._queue:
            self._write_on()
        else:
            self._write_off()

    def _writable(self) -> None:
        self._flush()
        self.moved()
        if not self._queue:
            self.wake()

    def _read_on(self) -> None:
        if not self._reads:
            self._reads = True
            self._loop.add_reader(self._sock, self._readable)

    def _read_off(self) -> None:
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._sock)

    def _write_on(self) -> None:
        if not self._writes:
            self._writes = True
            self._loop.add_writer(self._sock, self._writable)

    def _write_off(self) -> None:
        if self._writes:
            self._writes = False
            self._loop.remove_writer(self._sock)
