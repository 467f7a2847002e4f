"""The firmware server: serves what is on offer, as badly as asked, and says what it saw."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from pytest_blynk_ota.delivery.campaign import Campaign, Offer
from pytest_blynk_ota.delivery.exchange import Connection, Exchange, Note
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan import Answer, Offered, answer, check, plain
from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.evidence.timeline import Record

BACKLOG = 128
SHUTDOWN_WALL_S = 1.0
IDLE_WALL_S = 75.0
"""A kept connection without a request is closed after this (nginx's default)."""


class DeliveryServer:
    """Serves files at secret URLs on the running event loop.

    Args:
        record: called for each event; source ``delivery``.
        host: address to listen at.
        port: 0 for a free one.
        speed: device seconds in a wall second; scales the times and rates of faults.
        advertise: the address put into URLs; by default ``host``.
    """

    def __init__(
        self,
        record: Record,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        advertise: str | None = None,
    ) -> None:
        self._record = record
        self._host, self._port = host, port
        self._speed = speed
        self._advertise = advertise or host
        self._lock = threading.Lock()
        self._offers: dict[str, Offer] = {}
        self._campaigns: list[Campaign] = []
        self._strays: set[Exchange] = set()
        self._connections = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self.address: tuple[str, int] = (host, port)

    async def start(self) -> None:
        """Listen.

        Raises:
            RigError: the address cannot be listened at.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._http = web.Server(self._handle, handler_cancellation=True, loop=loop)
        try:
            self._listener = await loop.create_server(
                self._connection, self._host, self._port, backlog=BACKLOG
            )
        except OSError as error:
            raise RigError(
                f"the firmware server cannot listen at {self._host}:{self._port}: {error}; "
                f"name another address, or port 0 for a free one"
            ) from error
        host, port = self._listener.sockets[0].getsockname()[:2]
        self.address = (host, port)

    async def stop(self) -> None:
        """End open answers, close all connections and the port."""
        listener, http = self._listener, self._http
        if listener is None or http is None:
            return
        self._listener = self._http = None
        listener.close()
        for campaign in list(self._campaigns):
            self._withdraw(campaign)
            await campaign.end()
        for exchange in list(self._strays):
            exchange.stop()
        http.pre_shutdown()
        await http.shutdown(SHUTDOWN_WALL_S)
        await listener.wait_closed()

    def campaign(
        self,
        board: str | None,
        data: bytes,
        *,
        name: str,
        faults: Sequence[Fault] = (),
        about: Sequence[tuple[str, str]] = (),
        every_get: bool = False,
    ) -> Campaign:
        """Put a file on offer. Callable from any thread.

        Args:
            board: whose events the downloads are.
            data: the file.
            name: the last part of its URLs.
            faults: what shall go wrong; their place in this list is the ``index`` in events.
            about: further headers, as ``("x-fw-ver", "1.2.0")``.
            every_get: each GET without Range counts as an attempt of its own.

        Raises:
            FaultError: a fault lies outside of the file or could never fire.
        """
        check(faults, len(data), name)
        made = Campaign(
            board,
            data,
            Offered.of(name, data, about),
            faults,
            base_url=self._base_url,
            loop=lambda: self._loop,
            publish=self._publish,
            withdraw=self._withdraw,
            every_get=every_get,
        )
        with self._lock:
            self._campaigns.append(made)
        return made

    def _base_url(self) -> str:
        host = f"[{self._advertise}]" if ":" in self._advertise else self._advertise
        return f"http://{host}:{self.address[1]}"

    def _publish(self, token: str, offer: Offer) -> None:
        """Serve an offer, unless its campaign has been closed meanwhile."""
        with self._lock:
            if offer.campaign in self._campaigns:
                self._offers[token] = offer

    def _withdraw(self, campaign: Campaign) -> None:
        with self._lock:
            self._offers = {
                token: offer
                for token, offer in self._offers.items()
                if offer.campaign is not campaign
            }
            if campaign in self._campaigns:
                self._campaigns.remove(campaign)

    def _connection(self) -> Connection:
        """A protocol for a connection that is about to be accepted."""
        assert self._http is not None
        self._connections += 1
        return Connection(
            self._http,
            self._connections,
            self._opened,
            access_log=None,
            keepalive_timeout=IDLE_WALL_S,
            lingering_time=0.0,
        )

    def _opened(self, connection: Connection, peer: str) -> None:
        self._record(
            "delivery",
            "connection",
            None,
            conn=connection.number,
            peer=peer,
            acked_by=connection.witness.source,
        )

    def _find(self, request: web.BaseRequest) -> Offer | None:
        """The offer that the URL names: its token and its path both fit."""
        with self._lock:
            offer = self._offers.get(request.query.get("token", ""))
        if offer is None or request.path != f"/f/{offer.offered.name}":
            return None
        return offer

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        offer = self._find(request)
        if offer is None:
            reply = plain(404, "404 Not Found\n", request.method)
            return await self._stray(request, connection, reply)
        if request.method not in ("GET", "HEAD"):
            reply = plain(405, "405 Method Not Allowed\n", request.method, ("Allow", "GET, HEAD"))
            return await self._stray(request, connection, reply, offer)
        campaign = offer.campaign
        wanted = request.headers.get("Range")
        attempt = campaign.number(offer, request.method, wanted is not None)
        # Without an ETag no If-Range can match, and then Range is ignored (RFC 9110 13.1.5).
        asked = None if "If-Range" in request.headers else wanted
        reply = answer(
            offer.offered, campaign.faults, attempt, method=request.method, range_header=asked
        )
        note = self._noter(connection, campaign.board, offer.name, attempt)
        exchange = self._exchange(request, connection, reply, offer.data, note)
        return await self._carry(exchange, request, campaign)

    async def _stray(
        self,
        request: web.BaseRequest,
        connection: Connection,
        reply: Answer,
        offer: Offer | None = None,
    ) -> web.StreamResponse:
        """Answer a request that is no download."""
        board = offer.campaign.board if offer else None
        note = self._noter(
            connection, board, offer.name if offer else None, offer.attempt if offer else None
        )
        return await self._carry(self._exchange(request, connection, reply, b"", note), request)

    def _noter(
        self, connection: Connection, board: str | None, offer: str | None, attempt: int | None
    ) -> Note:
        """A recorder of the events of one request: ``note(kind, **data)``."""

        def note(kind: str, **data: Any) -> None:
            self._record(
                "delivery",
                kind,
                board,
                conn=connection.number,
                offer=offer,
                attempt=attempt,
                **data,
            )

        return note

    def _exchange(
        self,
        request: web.BaseRequest,
        connection: Connection,
        reply: Answer,
        data: bytes,
        note: Note,
    ) -> Exchange:
        note(
            "request",
            method=request.method,
            path=request.path_qs,
            range=request.headers.get("Range"),
        )
        return Exchange(connection, reply, data, note, self._speed)

    async def _carry(
        self, exchange: Exchange, request: web.BaseRequest, campaign: Campaign | None = None
    ) -> web.StreamResponse:
        """Run the exchange where closing its campaign, or the server, finds it."""
        known = self._strays if campaign is None else campaign.exchanges
        known.add(exchange)
        try:
            return await exchange.run(request)
        finally:
            known.discard(exchange)
