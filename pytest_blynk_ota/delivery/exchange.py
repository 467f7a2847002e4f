"""One answer on its way to one device: carries out the schedule and says what happened."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from pytest_blynk_ota.delivery.plan import Answer, Cut, Due, Fire, Hold, Over, Send, Step, reason
from pytest_blynk_ota.delivery.witness import Witness

CHUNK_BYTES = 64 * 1024
"""One write on a healthy line."""

SEND_BUFFER_BYTES = 64 * 1024
"""SO_SNDBUF, which Linux doubles: what was written is not far from what was acknowledged."""

UNSENT_BYTES = 16 * 1024
"""TCP_NOTSENT_LOWAT: the kernel takes no more while this much waits for the peer's window."""

PROGRESS_SHARE = 0.02
PROGRESS_WALL_S = 0.05
"""At most one progress event for each 2 % of the body or 50 ms."""

ACK_POLL_WALL_S = 0.002
"""How often the acknowledged bytes are read while something waits for them."""

BANDWIDTH_TICK_WALL_S = 0.01
TRICKLE_TICK_WALL_S = 0.002
"""A slow line sends a piece this often; a drip sends single bytes down to this distance."""

LATE_WALL_S = 0.25
"""A paced line that fell behind by more was blocked by the device: it does not catch up."""

Note = Callable[..., None]


class Connection(web.RequestHandler):
    """One TCP connection: aiohttp's, and what the delivery needs to know about its end."""

    __slots__ = ("_on_open", "gone", "number", "witness")

    def __init__(
        self,
        manager: web.Server,
        number: int,
        on_open: Callable[[Connection, str], None],
        **options: Any,
    ) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **options)
        self.number = number
        self.gone: str | None = None
        self._on_open = on_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep kernel and user buffers small, so that written bytes are nearly sent bytes."""
        assert isinstance(transport, asyncio.Transport)
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        transport.set_write_buffer_limits(high=0)
        self.witness = Witness(transport)
        peer = transport.get_extra_info("peername") or ("?", 0)
        self._on_open(self, f"{peer[0]}:{peer[1]}")
        super().connection_made(transport)

    def eof_received(self) -> None:
        """The device closed. What is still queued would wait for acknowledgements: drop it."""
        self.gone = self.gone or "fin"
        self.witness.freeze()
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note how the device left, before the socket is closed."""
        if self.gone is None:
            self.gone = (
                "fin"
                if exc is None
                else "timeout"
                if isinstance(exc, TimeoutError)
                else "rst"
                if isinstance(exc, ConnectionError)
                else "error"
            )
        self.witness.freeze()
        super().connection_lost(exc)


class Exchange:
    """One request and its answer.

    Args:
        connection: where it is sent.
        answer: what to send.
        data: the file.
        note: called with the kind and the data of each event.
        speed: device seconds in a wall second.
    """

    def __init__(
        self, connection: Connection, answer: Answer, data: bytes, note: Note, speed: float
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._body = answer.body(data)
        self._note = note
        self._speed = speed
        self._loop = asyncio.get_running_loop()
        self._written = 0
        self._taken = 0
        self._holding = False
        self._open: dict[int, Due] = {}
        self._ending: tuple[str, str] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._awaited: asyncio.Future[None] | None = None
        self._said = (0, 0)
        self._said_at = self._loop.time()
        self.done = asyncio.Event()

    async def run(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send the answer. However it ends, ``ended`` is said exactly once."""
        answer = self._answer
        response = web.StreamResponse(
            status=answer.status, reason=reason(answer.status), headers=dict(answer.headers)
        )
        response.content_length = answer.length
        try:
            self._connection.witness.begin()
            writer = await response.prepare(request)
            assert writer is not None
            self._connection.witness.headers(writer.output_size)
            self._note("response", status=answer.status, announced=answer.announced)
            self._tick()
            for step in answer.steps:
                await self._carry_out(step, writer)
            if self._ending is None:
                await response.write_eof()
                await self._acknowledged()
                self._ending = ("server", "complete")
        except ConnectionError:
            self._ending = self._ending or ("device", self._connection.gone or "rst")
            raise
        except Exception:
            self._ending = self._ending or ("server", "error")
            raise
        finally:
            self._finish()
        return response

    def stop(self) -> None:
        """End the answer at once, from our side."""
        if self._ending is None:
            self._ending = ("shutdown", "fin")
        self._drop()

    async def _carry_out(self, step: Step, writer: AbstractStreamWriter) -> None:
        """One step of the schedule."""
        match step:
            case Send(stop, None):
                while self._written < stop:
                    await self._write(writer, min(CHUNK_BYTES, stop - self._written))
                    self._progress()
            case Send(stop, rate, trickle):
                assert rate is not None
                await self._send_slowly(writer, stop, rate * self._speed, trickle)
            case Fire(due, at, flipped):
                self._fire(due, at, **({"offsets": list(flipped)} if flipped else {}))
            case Over(due):
                self._over(due)
            case Hold(seconds):
                self._holding = True
                await self._hold(seconds)
                self._holding = False
            case Cut(due, how, at):
                await self._acknowledged()
                self._cut(due, how, at)

    async def _hold(self, seconds: float | None) -> None:
        """Send nothing; without ``seconds`` only the device or :meth:`stop` ends it."""
        if seconds is None:
            await self._loop.create_future()
        else:
            await asyncio.sleep(seconds / self._speed)

    async def _write(self, writer: AbstractStreamWriter, count: int) -> None:
        """Send the next bytes and wait until the kernel has taken them. They count from the
        beginning: a device that stops reading in their midst has acknowledged some of them."""
        begin, self._written = self._written, self._written + count
        await writer.write(self._body[begin : self._written])
        await writer.drain()
        self._take()

    def _take(self) -> int:
        """Note how much of what was written the kernel has taken; a lost connection adds none."""
        transport = self._connection.transport
        if transport is not None and not transport.is_closing():
            self._taken = self._written - transport.get_write_buffer_size()
        return self._taken

    async def _send_slowly(
        self, writer: AbstractStreamWriter, stop: int, rate: float, trickle: bool
    ) -> None:
        """Send up to ``stop`` at ``rate`` bytes per wall second; a piece goes when its last
        byte is due. A device that takes them more slowly is not flooded afterwards."""
        tick = TRICKLE_TICK_WALL_S if trickle else BANDWIDTH_TICK_WALL_S
        piece = min(CHUNK_BYTES, max(1, round(rate * tick)))
        begun, first = self._loop.time(), self._written
        while self._written < stop:
            count = min(piece, stop - self._written)
            due = begun + (self._written + count - first) / rate
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._write(writer, count)
            late = self._loop.time() - due
            if late > LATE_WALL_S:
                begun += late

    async def _acknowledged(self) -> None:
        """Wait until the device's TCP has acknowledged all that was written."""
        self._awaited = self._loop.create_future()
        self._tick()
        await self._awaited

    def _tick(self) -> None:
        """Look at the acknowledged bytes now, and again soon."""
        if self._ticker is not None:
            self._ticker.cancel()
        acked = self._progress()
        waiting = self._awaited is not None and not self._awaited.done()
        if waiting and acked >= self._written:
            assert self._awaited is not None
            self._awaited.set_result(None)
            waiting = False
        self._ticker = self._loop.call_later(
            ACK_POLL_WALL_S if waiting else PROGRESS_WALL_S, self._tick
        )

    def _progress(self) -> int:
        """Say how far it came, if it is worth saying; returns the acknowledged bytes."""
        acked = self._connection.witness.acked(self._written)
        now = (max(self._take(), acked), acked)
        step = max(1.0, self._answer.announced * PROGRESS_SHARE)
        moved = acked - self._said[1] >= step
        if now != self._said and (moved or self._loop.time() - self._said_at >= PROGRESS_WALL_S):
            self._said, self._said_at = now, self._loop.time()
            self._note("progress", written=now[0], acked=acked)
        return acked

    def _fire(self, due: Due, at: int, **more: Any) -> None:
        self._open[due.index] = due
        self._fault(due, at, "fired", **more)

    def _over(self, due: Due) -> None:
        if self._open.pop(due.index, None):
            self._fault(due, self._written, "over")

    def _fault(self, due: Due, at: int, phase: str, **more: Any) -> None:
        self._note("fault", index=due.index, fault=str(due.fault), at=at, phase=phase, **more)

    def _cut(self, due: Due, how: str, at: int) -> None:
        """End the connection: by RST with SO_LINGER 0, else by FIN."""
        transport = self._connection.transport
        if transport is None:
            raise ConnectionResetError("the device left before the connection was cut")
        if how == "rst":
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._ending = ("server", how)
        self._fire(due, at)
        self._drop()

    def _drop(self) -> None:
        """Close the connection, queued bytes or not."""
        self._connection.witness.freeze()
        if self._connection.transport is not None:
            self._connection.transport.abort()

    def _finish(self) -> None:
        """Say the end. Faults that it interrupts are over after it, all others before."""
        if self._ticker is not None:
            self._ticker.cancel()
        acked = self._connection.witness.acked(self._written)
        by, how = self._ending or ("device", self._connection.gone or "rst")
        if by == "device" and not self._holding and acked == self._answer.announced:
            by, how = "server", "complete"
        if by == "server" and how != "error":
            self._all_over()
        self._note(
            "ended",
            status=self._answer.status,
            page=self._answer.page is not None,
            by=by,
            how=how,
            written=max(self._taken, acked),
            acked=acked,
            announced=self._answer.announced,
            acked_by=self._connection.witness.source,
        )
        self._all_over()
        self.done.set()

    def _all_over(self) -> None:
        for due in list(self._open.values()):
            self._over(due)
