"""What is offered to one board: a file, its URLs, and the faults of each download."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Protocol

from pytest_blynk_ota.delivery.doors import Door, Gate
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan import Offered
from pytest_blynk_ota.delivery.steps import Due
from pytest_blynk_ota.delivery.when import EVENTS, Asked
from pytest_blynk_ota.delivery.wire import Wire
from pytest_blynk_ota.errors import DeadlinePassed, FaultError
from pytest_blynk_ota.fault_form import nearest

TOKEN_BYTES = 16
"""32 hex digits, as a Blynk token is long."""

LIFETIME_S = 86_400.0
"""Device seconds that a URL lasts. Our choice: longer than any test, as a cloud's."""

VANISHED = 256
"""Connections that are kept silent at a time; the oldest ends for a newer one, by RST. Its device
has long given up."""

CLOSE_WALL_S = 5.0
"""Open answers end within milliseconds; after this the event loop hangs."""

BEFORE = ("tls", "unreachable")
"""Kinds of fault that act before a request."""
IN_ANSWER = frozenset({"record-cut", "bad-record", "no-close-notify"})
"""Ways of ``tls`` that are steps of an answer."""


def acts_before(fault: Fault) -> bool:
    """Whether it acts on a connection that has not asked for anything yet."""
    return fault.kind in BEFORE and fault.values["how"] not in IN_ANSWER


class Open(Protocol):
    """Something under way that a campaign ends: an answer, a handshake."""

    done: asyncio.Event

    def stop(self) -> None:
        """End it at once."""

    def look(self) -> None:
        """Something was seen: look whether that changes anything."""


@dataclass(slots=True, eq=False)
class Offer:
    """One URL.

    Attributes:
        name: of the offer, as events have it.
        token: what its URL is secret by.
        data, offered: the file that it serves, and its facts.
        expires: monotonic host seconds after which it is not served.
        door: its own port, where a fault acts before the request.
        attempt: the download that it serves, once the first request or connection came.
        got: whether a GET of this attempt has come.
        failed: whether a fault has acted before a request of this attempt.
        used: redirects behind the GETs that came: 0 for the URL itself.
        spent: places of faults that are over in this attempt.
    """

    name: str
    token: str
    campaign: Campaign
    data: bytes
    offered: Offered
    expires: float
    door: Door | None = None
    gate: Gate | None = None
    attempt: int | None = None
    got: bool = False
    failed: bool = False
    used: set[int] = field(default_factory=set)
    spent: set[int] = field(default_factory=set)

    def withheld(self, method: str, hop: int) -> str | None:
        """Why it is not served any more; None: it is."""
        if time.monotonic() >= self.expires:
            return "this URL has expired"
        if self.campaign.single_use and method == "GET" and hop in self.used:
            return "this URL has been used"
        return None

    def close(self) -> None:
        """Give its own port back, if it has one; on the loop once it is open."""
        if self.gate is not None:
            self.gate.close()
        if self.door is not None:
            self.door.close()


class Host(Protocol):
    """The server, as its campaigns see it."""

    def url(self, offer: Offer) -> str:
        """The URL of an offer."""

    def publish(self, offer: Offer) -> None:
        """Serve it from now on. Callable from any thread."""

    def withdraw(self, campaign: Campaign) -> None:
        """Serve none of a campaign's offers any more. Callable from any thread."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """What the server runs on; None before it started."""


class Campaign:
    """A file on offer to one board. Made by ``DeliveryServer.campaign``.

    Args:
        host: the server.
        board: name of the board, for the events.
        data: the file.
        offered: its facts.
        faults: what shall go wrong.
        others: the files that ``other`` names.
        https: whether its URLs are https ones.
        lifetime_wall_s: wall seconds that a URL lasts.
        single_use: whether a URL serves one GET and no more.
        every_get: each GET without Range is a download of its own, not only the first of a URL.
    """

    def __init__(
        self,
        host: Host,
        board: str | None,
        data: bytes,
        offered: Offered,
        faults: Sequence[Fault],
        *,
        others: Mapping[str, bytes],
        https: bool = False,
        lifetime_wall_s: float = LIFETIME_S,
        single_use: bool = False,
        every_get: bool = False,
    ) -> None:
        self.board = board
        self.data = data
        self.offered = offered
        self.faults = tuple(faults)
        self.others = others
        self.https = https
        self.single_use = single_use
        self.every_get = every_get
        self.fired: dict[int, int] = {}
        self.seen: frozenset[str] = frozenset()
        self.open: set[Open] = set()
        self.vanished: list[Wire] = []
        self.offers: list[Offer] = []
        self._host = host
        self._lifetime_wall_s = lifetime_wall_s
        self._lock = threading.Lock()
        self._numbered = 0
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """How many downloads the device has begun, with a GET or a connection that failed."""
        return self._attempts

    def offer(self, offer_id: str, data: bytes | None = None) -> str:
        """A fresh URL for the file, or for another one. Callable from any thread.

        Raises:
            RigError: it needs a port of its own, and there is none.
        """
        other = data is not None and data != self.data
        offer = Offer(
            offer_id,
            secrets.token_hex(TOKEN_BYTES),
            self,
            data if data is not None else self.data,
            Offered.of(self.offered.name, data) if data is not None and other else self.offered,
            time.monotonic() + self._lifetime_wall_s,
        )
        self._host.publish(offer)
        return self._host.url(offer)

    def needs_door(self) -> bool:
        """Whether the next offer has to have a port of its own."""
        attempt = self._numbered + 1
        return any(
            acts_before(fault) and (self.every_get or fault.when.might(attempt, self.board))
            for fault in self.faults
        )

    # Downloads.

    def number(self, offer: Offer, method: str, ranged: bool, hop: int = 0) -> int:
        """The download that this request belongs to; counts it if it begins one."""
        first = method == "GET" and not ranged and hop == 0
        with self._lock:
            if offer.attempt is None or (self.every_get and first and offer.got):
                self._begin(offer)
            if method == "GET":
                self._count(offer)
                offer.got = True
                offer.used.add(hop)
            assert offer.attempt is not None
            return offer.attempt

    def arrive(self, offer: Offer) -> Due | None:
        """A connection has come to the offer's own door: it begins the download, if none is under
        way. The fault of TLS that acts on it."""
        with self._lock:
            if offer.attempt is None or (self.every_get and (offer.got or offer.failed)):
                self._begin(offer)
            attempt = offer.attempt
        return self._before(offer, "tls", attempt)

    def shut_by(self, offer: Offer) -> Due | None:
        """The fault that shuts the offer's own door for the next connection."""
        attempt = offer.attempt
        if attempt is None or (self.every_get and (offer.got or offer.failed)):
            attempt = self._numbered + 1
        return self._before(offer, "unreachable", attempt)

    def _before(self, offer: Offer, kind: str, attempt: int | None) -> Due | None:
        """The fault of this kind that acts on a connection before it asks."""
        asked = Asked(attempt or 1, self.board, {}, self.seen)
        for index, fault in enumerate(self.faults):
            if fault.kind != kind or not acts_before(fault):
                continue
            if index in offer.spent and attempt == offer.attempt:
                continue
            if fault.due(asked, self.fired.get(index, 0)):
                return Due(index, fault)
        return None

    def failed(self, offer: Offer) -> int:
        """A fault has acted before a request; the download that this was the beginning of."""
        with self._lock:
            if offer.attempt is None or (self.every_get and (offer.got or offer.failed)):
                self._begin(offer)
            self._count(offer)
            offer.failed = True
            assert offer.attempt is not None
            return offer.attempt

    def has_fired(self, index: int) -> None:
        """The fault at this place took effect."""
        self.fired[index] = self.fired.get(index, 0) + 1

    def _begin(self, offer: Offer) -> None:
        self._numbered += 1
        offer.attempt = self._numbered
        offer.got = offer.failed = False
        offer.spent.clear()

    def _count(self, offer: Offer) -> None:
        if not (offer.got or offer.failed):
            self._attempts += 1

    # What happens around it.

    def saw(self, event: str) -> None:
        """An event of ``when.EVENTS`` has happened. Callable from any thread.

        Raises:
            FaultError: there is no such event.
        """
        if event not in EVENTS:
            raise FaultError(f"{event!r} is no event; {nearest(event, EVENTS)}")
        with self._lock:
            self.seen |= {event}
        loop = self._host.loop
        if loop is not None and loop.is_running():
            loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        for one in list(self.open):
            one.look()
        self.review()

    def review(self) -> None:
        """Open or shut the doors of its offers, as it is now."""
        for offer in self.offers:
            if offer.gate is not None:
                offer.gate.review()

    def keep(self, wire: Wire) -> None:
        """Let a connection that vanished be silent, and no packet of it leave."""
        self.vanished.append(wire)
        if len(self.vanished) > VANISHED:
            self.vanished.pop(0).reset()

    def close(self) -> None:
        """Take the URLs back and end open answers at once. Callable from any thread.

        From another thread than the loop's it returns when they have ended.

        Raises:
            DeadlinePassed: the loop does not get to it.
        """
        self._host.withdraw(self)
        loop = self._host.loop
        if loop is None or not loop.is_running():
            self._stop()
            return
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            self._stop()
            return
        try:
            asyncio.run_coroutine_threadsafe(self.end(), loop).result(CLOSE_WALL_S)
        except FutureTimeout:
            raise DeadlinePassed(
                f"open downloads of {self.offered.name} to end",
                CLOSE_WALL_S,
                instead="the event loop of the delivery server does not run",
            ) from None

    async def end(self) -> None:
        """End open answers; returns when each has said so."""
        for one in self._stop():
            await one.done.wait()

    def _stop(self) -> list[Open]:
        for offer in self.offers:
            offer.close()
        for wire in self.vanished:
            wire.reset()
        self.vanished.clear()
        open_ones = list(self.open)
        for one in open_ones:
            one.stop()
        return open_ones
