"""The firmware server: serves what is on offer, as badly as asked, and says what it saw."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from pytest_blynk_ota.delivery import files, filters
from pytest_blynk_ota.delivery.campaign import LIFETIME_S, Campaign, Offer
from pytest_blynk_ota.delivery.certificates import Certificates, Signer
from pytest_blynk_ota.delivery.connection import PATIENCE_WALL_S, Connection
from pytest_blynk_ota.delivery.doors import Door, Gate, elsewhere
from pytest_blynk_ota.delivery.exchange import Exchange, Note
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.heads import Request
from pytest_blynk_ota.delivery.plan import Offered, answer, check, plain
from pytest_blynk_ota.delivery.steps import Answer, Due, Say
from pytest_blynk_ota.delivery.when import Asked
from pytest_blynk_ota.delivery.wire import Wire
from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.evidence.timeline import Record

WAITING = 256
"""Connections that have asked for nothing yet, and as many that ask for nothing more; the oldest is
closed for a newer one. Our choice: far above a rack, far below what hurts."""

HOPS = 10_000
"""No redirect leads further than this."""

SILENT = ("vanish", "unreachable")
"""Kinds of fault that take a socket which hears nothing."""

LOCAL_NAMES = ("localhost", "127.0.0.1")
"""What else a certificate is for."""

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # silent where nobody has set logging up


class DeliveryServer:
    """Serves files at secret URLs on the running event loop.

    Args:
        record: called for each event; source ``delivery``.
        host: address to listen at.
        port, tls_port: of http and of https URLs; 0 for a free one.
        speed: device seconds in a wall second; scales the times and rates of faults.
        advertise: the address put into URLs; by default ``host``.
        authority: who signs the certificates of https URLs; None: there are none.
        patience_wall_s: wall seconds that a device has for a request.
        names: host names that lead to it, for its certificates.
        opened: called when it has opened a port.
    """

    def __init__(
        self,
        record: Record,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls_port: int = 0,
        speed: float = 1.0,
        advertise: str | None = None,
        authority: Signer | None = None,
        patience_wall_s: float = PATIENCE_WALL_S,
        names: Sequence[str] = (),
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        self._record = record
        self._host, self._port, self._tls_port = host, port, tls_port
        self._speed = speed
        self._address = self._advertise = advertise or host
        self._patience_wall_s = patience_wall_s
        self._opened = opened
        every = dict.fromkeys((self._advertise, host, *LOCAL_NAMES, *names))
        self._certificates = Certificates(authority, list(every)) if authority is not None else None
        self._lock = threading.Lock()
        self._offers: dict[str, Offer] = {}
        self._campaigns: list[Campaign] = []
        self._doors: dict[tuple[str, bool], Door] = {}
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._numbered = self._served = 0
        self._stopped = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.address: tuple[str, int] = (host, port)

    async def start(self) -> None:
        """Listen.

        Raises:
            RigError: the address cannot be listened at.
        """
        self.loop = asyncio.get_running_loop()
        try:
            self.address = self._listen("here", secure=False, port=self._port).address
            if self._certificates is not None:
                self._listen("here", secure=True, port=self._tls_port)
        except RigError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End open answers, close all connections and ports."""
        with self._lock:
            self._stopped = True
            doors = list(self._doors.values())
        for door in doors:
            door.close()
        for campaign in list(self._campaigns):
            self.withdraw(campaign)
            await campaign.end()
        tasks = list(self._connections.values())
        for connection in list(self._connections):
            connection.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _listen(self, where: str, *, secure: bool, port: int = 0) -> Door:
        """The door for all URLs of a kind; opened on first use."""
        new = False
        loop = self._soon_loop()  # before a port is opened that nobody would let anyone in by
        with self._lock:
            door = self._doors.get((where, secure))
            if door is None:
                if self._stopped:
                    raise RigError("the firmware server has been stopped: it opens no port")
                host = self._host if where == "here" else elsewhere(self._host)
                door = self._doors[where, secure] = Door(host, port, secure=secure)
                self._soon(door.open, loop, self._enter)
                new = True
        if new:
            self._opened()
        return door

    def go_by(self, name: str | None) -> None:
        """Put a host name into URLs from now on; None: the address again."""
        self._advertise = name or self._address

    @property
    def ports(self) -> Sequence[int]:
        """All ports that are open."""
        with self._lock:
            if self._stopped:
                return []
            own = [offer.door for offer in self._offers.values() if offer.door is not None]
            return [door.address[1] for door in (*self._doors.values(), *own)]

    def _soon_loop(self) -> asyncio.AbstractEventLoop:
        if self.loop is None:
            raise RigError("the firmware server has not been started, so it has no port yet")
        return self.loop

    def _soon(self, call: Any, *args: Any) -> None:
        self._soon_loop().call_soon_threadsafe(call, *args)

    # What is on offer.

    def campaign(
        self,
        board: str | None,
        data: bytes,
        *,
        name: str,
        faults: Sequence[Fault] = (),
        about: Sequence[tuple[str, str]] = (),
        every_get: bool = False,
        https: bool = False,
        lifetime_s: float = LIFETIME_S,
        single_use: bool = False,
    ) -> Campaign:
        """Put a file on offer. Callable from any thread.

        Args:
            board: whose events the downloads are.
            data: the file.
            name: the last part of its URLs.
            faults: what shall go wrong; their place in this list is the ``index`` in events.
            about: further headers, as ``("x-fw-ver", "1.2.0")``.
            every_get: each GET without Range counts as an attempt of its own.
            https: whether the URLs are https ones.
            lifetime_s: device seconds after which a URL is answered with 403.
            single_use: whether a URL serves one GET, and 403 to each further one; a redirect from
                it is none.

        Raises:
            FaultError: a fault lies outside of the file or could never fire, or the file that it
                names cannot be read.
            UsageError: https, and the server has no authority.
            RigError: a fault takes what this host does not have.
        """
        if https and self._certificates is None:
            raise UsageError("https URLs need a certificate: give the server an authority")
        if not lifetime_s > 0:
            raise UsageError(f"lifetime_s: expected a number above 0, got {lifetime_s!r}")
        for fault in faults:
            if fault.kind in SILENT and (why := filters.unavailable()):
                raise RigError(f"{fault} cannot be done here: {why}")
        others = files.others_of(faults)
        check(faults, data, name, https=https, others=others, about=about)
        made = Campaign(
            self,
            board,
            data,
            Offered.of(name, data, about),
            faults,
            others=others,
            https=https,
            lifetime_wall_s=lifetime_s / self._speed,
            single_use=single_use,
            every_get=every_get,
        )
        with self._lock:
            self._campaigns.append(made)
        return made

    def publish(self, offer: Offer) -> None:
        """Serve an offer, unless its campaign has been closed meanwhile."""
        campaign = offer.campaign
        with self._lock:
            if campaign not in self._campaigns:
                return
        if campaign.needs_door():
            self._give_door(offer)
        with self._lock:
            closed = campaign not in self._campaigns
            if not closed:
                self._offers[offer.token] = offer
                campaign.offers.append(offer)
        if offer.door is None:
            return
        if closed:
            self._soon(offer.close)
        else:
            self._opened()

    def withdraw(self, campaign: Campaign) -> None:
        """Serve none of a campaign's offers any more."""
        with self._lock:
            for offer in campaign.offers:
                self._offers.pop(offer.token, None)
            if campaign in self._campaigns:
                self._campaigns.remove(campaign)

    def url(self, offer: Offer) -> str:
        """``s=0`` stands last: Edgent with TLS rewrites any other http URL to https
        (BlynkEdgent.h)."""
        door = offer.door or self._listen("here", secure=offer.campaign.https)
        return self._at(self._advertise, door) + _target(offer, 0)

    def _links(self, offer: Offer, to: str, hop: int) -> str:
        """Where a redirect leads."""
        if to == "relative":
            return _target(offer, hop)
        where = "elsewhere" if to == "other-host" else "here"
        door = self._listen(where, secure=offer.campaign.https)
        other = door.address[0] if where == "elsewhere" else self._host
        return self._at(self._advertise if other == self._host else other, door) + _target(
            offer, hop
        )

    @staticmethod
    def _at(host: str, door: Door) -> str:
        scheme = "https" if door.secure else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{door.address[1]}"

    def _give_door(self, offer: Offer) -> None:
        """A port of its own: what happens there before a request is this offer's."""
        loop = self._soon_loop()
        campaign = offer.campaign
        guarded = any(fault.kind == "unreachable" for fault in campaign.faults)
        door = Door(self._host, 0, secure=campaign.https, guarded=guarded)
        offer.door = door
        try:
            if guarded:
                offer.gate = self._gate(offer, door)
        except BaseException:
            door.close()
            raise
        self._soon(self._open_door, offer, door, loop)

    def _gate(self, offer: Offer, door: Door) -> Gate:
        campaign = offer.campaign

        def fired(due: Due) -> None:
            campaign.failed(offer)
            campaign.has_fired(due.index)
            told(due, "fired")

        def over(due: Due) -> None:
            offer.spent.add(due.index)
            told(due, "over")

        def told(due: Due, phase: str) -> None:
            note = self._noter(None, campaign.board, offer.name, offer.attempt)
            note("fault", index=due.index, fault=str(due.fault), at=0, phase=phase)

        return Gate(
            door,
            wanted=lambda: campaign.shut_by(offer),
            seen=lambda: campaign.seen,
            fired=fired,
            over=over,
            speed=self._speed,
        )

    def _open_door(self, offer: Offer, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        if offer.campaign not in self._campaigns:  # closed meanwhile
            offer.close()
            return

        def enter(_: Door, sock: socket.socket, peer: str) -> None:
            self._enter(door, sock, peer, offer)

        door.open(loop, enter)
        if offer.gate is not None:
            offer.gate.open(loop)

    # Connections.

    def _enter(
        self, door: Door, sock: socket.socket, peer: str, offer: Offer | None = None
    ) -> None:
        """Somebody has come in."""
        self._crowd_out()
        self._numbered += 1
        number = self._numbered
        board = offer.campaign.board if offer else None

        def note(kind: str, **data: Any) -> None:
            attempt = offer.attempt if offer else None
            self._noter(number, board, offer.name if offer else None, attempt)(kind, **data)

        wire = Wire(sock)
        connection = Connection(
            number,
            wire,
            offer=offer,
            certificates=self._certificates if door.secure else None,
            note=note,
            answered=self._answer,
            refusal=_refusal,
            patience_wall_s=self._patience_wall_s,
        )
        where: dict[str, Any] = {"offer": offer.name} if offer else {}
        where |= {"conn": number, "peer": peer, "acked_by": wire.acked_by}
        self._record("delivery", "connection", board, **where)
        if offer is not None:
            offer.campaign.open.add(connection)
        task = asyncio.ensure_future(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda done: self._left(connection, done))

    def _left(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._connections.pop(connection, None)
        if connection.offer is not None:
            connection.offer.campaign.open.discard(connection)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("delivery connection %d: %r", connection.number, error, exc_info=error)

    def _crowd_out(self) -> None:
        for asked in (False, True):
            idle = [one for one in self._connections if one.is_idle and one.asked is asked]
            for one in idle[: max(0, len(idle) - WAITING + 1)]:
                one.crowd_out()

    # Requests.

    async def _answer(self, connection: Connection, request: Request) -> bool:
        """Answer one request; whether the connection may have another one."""
        self._served += 1
        offer = self._find(connection, request)
        if offer is None:
            return await self._stray(connection, request, None, 404, "404 Not Found\n")
        if request.method not in ("GET", "HEAD"):
            allow = ("Allow", "GET, HEAD")
            return await self._stray(
                connection, request, offer, 405, "405 Method Not Allowed\n", allow
            )
        hop = _hop(request)
        if (why := offer.withheld(request.method, hop)) is not None:
            if request.method == "GET" and offer.attempt is None:  # asked for, so it counts
                offer.campaign.number(offer, request.method, "range" in request.headers, hop)
            return await self._stray(connection, request, offer, 403, f"403 Forbidden: {why}\n")
        campaign = offer.campaign
        campaign.number(offer, request.method, "range" in request.headers, hop)
        assert offer.attempt is not None
        reply = self._plan(offer, request, offer.attempt, hop)
        note = self._noter(connection.number, campaign.board, offer.name, offer.attempt)
        return await self._carry(connection, request, reply, note, campaign)

    def _plan(self, offer: Offer, request: Request, attempt: int, hop: int) -> Answer:
        campaign = offer.campaign
        return answer(
            offer.offered,
            offer.data,
            campaign.faults,
            Asked(attempt, campaign.board, request.headers, campaign.seen),
            fired=campaign.fired,
            method=request.method,
            version=request.version,
            serial=self._served,
            hop=hop,
            links=lambda to, hop: self._links(offer, to, hop),
            others=campaign.others,
            date=formatdate(usegmt=True),
        )

    def _find(self, connection: Connection, request: Request) -> Offer | None:
        """The offer that the URL names: its token, its path and its scheme fit."""
        with self._lock:
            offer = self._offers.get(request.query.get("token", ""))
        if offer is None or request.path != f"/f/{offer.offered.name}":
            return None
        if offer.campaign.https != (connection.wire.tls is not None):
            return None
        return offer

    async def _stray(
        self,
        connection: Connection,
        request: Request,
        offer: Offer | None,
        status: int,
        text: str,
        *headers: tuple[str, str],
    ) -> bool:
        """Answer a request that is no download."""
        reply = plain(
            status,
            text,
            *headers,
            asked=Asked(1, headers=request.headers),
            method=request.method,
            version=request.version,
            keep=not request.last,
        )
        note = self._noter(
            connection.number,
            offer.campaign.board if offer else None,
            offer.name if offer else None,
            offer.attempt if offer else None,
        )
        return await self._carry(connection, request, reply, note, None)

    async def _carry(
        self,
        connection: Connection,
        request: Request,
        reply: Answer,
        note: Note,
        campaign: Campaign | None,
    ) -> bool:
        """Send an answer where closing its campaign, or the server, finds it."""
        note(
            "request",
            method=request.method,
            path=request.target,
            range=request.headers.get("range"),
            headers=request.noted(),
        )
        if campaign is None:
            exchange = Exchange(connection.wire, reply, note, self._speed)
            connection.exchange = exchange
            return await exchange.run() and not request.last
        exchange = Exchange(
            connection.wire,
            reply,
            note,
            self._speed,
            seen=lambda: campaign.seen,
            fired=campaign.has_fired,
        )
        connection.exchange = exchange
        campaign.open.add(exchange)
        try:
            keeps = await exchange.run()
        finally:
            campaign.open.discard(exchange)
        if exchange.is_forsaken:
            connection.is_held = True  # not a packet shall leave, a FIN neither
            campaign.keep(connection.wire)
        campaign.review()
        return keeps and not request.last

    def _noter(
        self, connection: int | None, board: str | None, offer: str | None, attempt: int | None
    ) -> Note:
        """A recorder of the events of one request: ``note(kind, **data)``."""

        def note(kind: str, **data: Any) -> None:
            self._record(
                "delivery", kind, board, conn=connection, offer=offer, attempt=attempt, **data
            )

        return note


def _target(offer: Offer, hop: int) -> str:
    hops = f"&hop={hop}" if hop else ""
    end = "" if offer.campaign.https else "&s=0"
    return f"/f/{quote(offer.offered.name, safe='')}?token={offer.token}{hops}{end}"


def _hop(request: Request) -> int:
    """How many redirects lie behind a URL of ours."""
    text = request.query.get("hop", "0")
    return min(int(text), HOPS) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _refusal(status: int, why: str) -> bytes:
    """What is sent in answer to what is no request."""
    reply = plain(status, f"{status} {why}\n", keep=False)
    head = b"".join(step.data for step in reply.steps if isinstance(step, Say))
    return head + bytes(reply.body)
