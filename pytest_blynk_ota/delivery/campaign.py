"""What is offered to one board: a file, its URLs, and the faults of each download."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from urllib.parse import quote

from pytest_blynk_ota.delivery.exchange import Exchange
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan import Offered
from pytest_blynk_ota.errors import DeadlinePassed

TOKEN_BYTES = 16
"""32 hex digits, as a Blynk token is long."""

CLOSE_WALL_S = 5.0
"""Open answers end within milliseconds; after this the event loop hangs."""


@dataclass(slots=True)
class Offer:
    """One URL.

    Attributes:
        data, offered: the file that it serves, and its facts.
        attempt: the download that it serves, once the first request came.
    """

    name: str
    campaign: Campaign
    data: bytes
    offered: Offered
    attempt: int | None = None
    got: bool = False


class Campaign:
    """A file on offer to one board. Made by ``DeliveryServer.campaign``.

    Args:
        board: name of the board, for the events.
        data: the file.
        offered: its facts.
        faults: what shall go wrong.
        base_url: where the server listens; called when a URL is made.
        loop: the loop that the server runs on; None before it started.
        publish: makes an offer known to the server under its token.
        withdraw: takes all offers of this campaign back.
        every_get: each GET without Range is a download of its own, not only the first of a URL.
    """

    def __init__(
        self,
        board: str | None,
        data: bytes,
        offered: Offered,
        faults: Sequence[Fault],
        *,
        base_url: Callable[[], str],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        publish: Callable[[str, Offer], None],
        withdraw: Callable[[Campaign], None],
        every_get: bool = False,
    ) -> None:
        self.board = board
        self.data = data
        self.offered = offered
        self.faults = tuple(faults)
        self.exchanges: set[Exchange] = set()
        self._base_url = base_url
        self._loop = loop
        self._publish = publish
        self._withdraw = withdraw
        self._every_get = every_get
        self._lock = threading.Lock()
        self._numbered = 0
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """How many downloads the device has begun with a GET."""
        return self._attempts

    def offer(self, offer_id: str, data: bytes | None = None) -> str:
        """A fresh URL for the file, or for another one. Callable from any thread.

        ``s=0`` stands last: Edgent with TLS rewrites any other http URL to https
        (BlynkEdgent.h).
        """
        token = secrets.token_hex(TOKEN_BYTES)
        if data is None:
            offer = Offer(offer_id, self, self.data, self.offered)
        else:
            offer = Offer(offer_id, self, data, Offered.of(self.offered.name, data, ()))
        self._publish(token, offer)
        return f"{self._base_url()}/f/{quote(self.offered.name, safe='')}?token={token}&s=0"

    def number(self, offer: Offer, method: str, ranged: bool) -> int:
        """The download that this request belongs to; counts it if it begins one."""
        again = self._every_get and method == "GET" and not ranged and offer.got
        with self._lock:
            if offer.attempt is None or again:
                self._numbered += 1
                offer.attempt = self._numbered
            if method == "GET" and (again or not offer.got):
                self._attempts += 1
                offer.got = True
            return offer.attempt

    def close(self) -> None:
        """Take the URLs back and end open answers at once. Callable from any thread.

        From another thread than the loop's it returns when they have ended.

        Raises:
            DeadlinePassed: the loop does not get to it.
        """
        self._withdraw(self)
        loop = self._loop()
        if loop is None or not loop.is_running():
            return
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            for exchange in list(self.exchanges):
                exchange.stop()
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
        open_ones = list(self.exchanges)
        for exchange in open_ones:
            exchange.stop()
        for exchange in open_ones:
            await exchange.done.wait()
