"""Connections whose first bytes are HTTP: each goes to one aiohttp application.

The parts of the cloud that speak HTTP add their routes to that application (:data:`Part`); none of
them has a port of its own. What becomes a WebSocket is handed on to an :class:`Occupant`, which has
the last word on the connection from then on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from pytest_blynk_ota.cloud.http_heads import FirstHead
from pytest_blynk_ota.cloud.site import Site, Timer

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

    from pytest_blynk_ota.cloud.porch import Porch

REQUEST_S: Final = 60.0
"""Device seconds from the connection, or the last answer, to the next answer. Our choice: Edgent
gives a request up after 50 s (Edgent-Arduino, network time-out)."""

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # silent where nobody has set logging up
aiohttp_log = logging.getLogger(f"{__name__}.aiohttp")


def _is_ours(record: logging.LogRecord) -> bool:
    """Neither a request that aiohttp cannot read (it quotes those, and they may hold a token) nor a
    connection lost under a handler, which is on record as ``closed``.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ConnectionError)


aiohttp_log.addFilter(_is_ours)

Part = Callable[[web.Application, "HttpRoom"], None]
"""Adds its routes to the application; the room tells a handler whose connection it is on."""


class Occupant(Protocol):
    """What a connection has become."""

    def close(self, why: str) -> None:
        """End it for a reason that is no fault of the device."""

    def abort(self) -> None:
        """Drop it with whatever waits to be sent."""

    def gone(self, exc: Exception | None) -> None:
        """The connection is lost."""


class HttpRoom:
    """The application, and who is in it.

    Attributes:
        site: what all connections share.
    """

    def __init__(self, site: Site, parts: Sequence[Part]) -> None:
        self.site = site
        self._parts = parts
        self._guests: dict[RequestHandler, Guest] = {}
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Get ready for the first connection."""
        app = web.Application(middlewares=[self._answered])
        for part in self._parts:
            part(app, self)
        self._runner = web.AppRunner(
            app, handle_signals=False, access_log=None, logger=aiohttp_log,
            keepalive_timeout=2 * self.site.wall(REQUEST_S),  # a guest's own patience ends first
            auto_decompress=False,  # a small body would become a large one
        )  # fmt: skip
        await self._runner.setup()

    async def close(self) -> None:
        """End what runs for nobody any more; the connections are gone already."""
        if self._runner is not None:
            await self._runner.cleanup()

    def enter(self, porch: Porch) -> Guest:
        """Let a connection in."""
        assert self._runner is not None, "entered before it was opened"
        server = self._runner.server
        assert server is not None, "entered after it was closed"
        handler = server()
        guest = self._guests[handler] = Guest(porch, self.site, handler, self._left)
        return guest

    def guest(self, request: web.BaseRequest) -> Guest:
        """Whose connection a request came on."""
        return self._guests[request.protocol]

    def _left(self, handler: RequestHandler) -> None:
        self._guests.pop(handler, None)

    @web.middleware
    async def _answered(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            if guest := self._guests.get(request.protocol):
                guest.answered()


class Guest(asyncio.Protocol):
    """One connection that speaks HTTP.

    Attributes:
        number: of the connection, unique on its server.
        door: the kind of port that it came in at.
        peer: its address, without the port.
        started: monotonic host seconds of its beginning.
    """

    def __init__(
        self, porch: Porch, site: Site, handler: RequestHandler,
        left: Callable[[RequestHandler], None],
    ) -> None:  # fmt: skip
        self.number, self.door, self.peer = porch.number, porch.door.kind, porch.peer
        self.started = porch.started
        self._site = site
        self._handler = handler
        self._left = left
        self._occupant: Occupant | None = None
        self._transport: asyncio.Transport | None = None
        self._heard = self._begun = porch.started
        self._timer = Timer(self._patience)
        self._head = FirstHead()
        self._lost = asyncio.Event()
        self._ignored = ""
        self._left_by = "server"  # aiohttp ends a connection without a word
        self._ended = False

    # What the handlers call.

    def hand_over(self, occupant: Occupant) -> None:
        """The connection is a WebSocket from now on, and no longer HTTP's to end."""
        self._occupant = occupant
        self._timer.stop()

    def answered(self) -> None:
        """A request is done with."""
        self._begun = self._heard = time.monotonic()

    async def ignore(self, why: str) -> NoReturn:
        """Answer nothing until the patience of either end is over.

        Raises:
            ConnectionAbortedError: it is.
        """
        self._ignored = why
        await self._lost.wait()
        raise ConnectionAbortedError(why)

    async def lost_within(self, seconds: float) -> bool:
        """Wait so many wall seconds; whether the connection was lost meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                return await self._lost.wait()
        except TimeoutError:
            return False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let aiohttp have it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._handler.connection_made(transport)
        self._timer.look()

    def data_received(self, data: bytes) -> None:
        """For aiohttp."""
        self._heard = time.monotonic()
        if mended := self._head.feed(data):
            self._handler.data_received(mended)

    def eof_received(self) -> bool | None:
        """For aiohttp."""
        self._left_by = "device"
        if held := self._head.rest():
            self._handler.data_received(held)
        self._handler.eof_received()
        return None

    def pause_writing(self) -> None:
        """For aiohttp."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """For aiohttp."""
        self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note how it ended, unless somebody else does."""
        self._handler.connection_lost(exc)
        self._left(self._handler)
        self._lost.set()
        if self._occupant is not None:
            self._occupant.gone(exc)
        else:
            self._end("device" if exc else self._left_by, str(exc) if exc else "closed")
        self._site.over(self.number)

    # What the server calls.

    def close(self, why: str) -> None:
        """End it for this reason."""
        if self._occupant is not None:
            self._occupant.close(why)
            return
        self._end("server", why)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    # Inside.

    def _patience(self) -> float | None:
        """A request has to come, and to go on coming."""
        if self._ended or self._occupant is not None:
            return None
        now, login_s = time.monotonic(), self._site.limits.login_s
        silent = self._heard + self._site.wall(login_s) - now
        slow = self._begun + self._site.wall(REQUEST_S) - now
        if silent > 0 and slow > 0:
            return min(silent, slow)
        why = "no request that is whole within {:g} s" if slow <= 0 else "no request for {:g} s"
        why = self._ignored or why.format(REQUEST_S if slow <= 0 else login_s)
        if self._begun == self.started:  # who has been answered may keep silent
            log.warning("cloud session %d (HTTP) cut off: %s", self.number, why)
        self.close(why)
        return None

    def _end(self, by: str, why: str) -> None:
        if not self._ended:
            self._ended = True
            self._timer.stop()
            self._site.say("closed", None, self.number, by=by, why=why)
