"""One device at the door: TLS if it is spoken there, then request by request, until one leaves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from pytest_blynk_ota.delivery.campaign import Offer
from pytest_blynk_ota.delivery.certificates import Certificates
from pytest_blynk_ota.delivery.exchange import ACK_POLL_WALL_S, Exchange, Note
from pytest_blynk_ota.delivery.heads import Heads, Refused, Request
from pytest_blynk_ota.delivery.steps import Due
from pytest_blynk_ota.delivery.tls_layer import PROTOCOL_VERSION_ALERT, Tls, reason
from pytest_blynk_ota.delivery.wire import Gone, Wire

PATIENCE_WALL_S: Final = 30.0
"""A connection that has asked for nothing, or not to the end, is closed after this."""
IDLE_WALL_S: Final = 75.0
"""A kept connection without a further request is closed after this (nginx's default)."""

HELLO_HEAD: Final = 5
"""Bytes of a TLS record before what it carries; the last two are its length."""
HANDSHAKE: Final = 0x16
SAID_MOST: Final = 64 * 1024
"""Bytes that a device may say behind its hello while the answer is held back; more are lost."""

Answered = Callable[["Connection", Request], Awaitable[bool]]
"""Answers a request; whether the connection may have another one."""


class Impatient(Exception):
    """Raised when the device takes too long."""


class Connection:
    """One connection.

    Args:
        number: of the connection, unique on its server.
        wire: the connection itself.
        offer: whose door it came in at; None: one for all.
        certificates: for TLS; None: none is spoken.
        note: puts an event of this connection on record.
        answered: answers one request.
        refusal: what is sent in answer to what is no request.
        patience_wall_s: wall seconds that a device has for its first request.

    Attributes:
        asked: whether there was a request.
        exchange: the answer that is under way, or was the last.
        is_held: whether its socket outlives it.
        is_leaving: whether it has been told to go.
        done: set when it is over.
    """

    def __init__(
        self,
        number: int,
        wire: Wire,
        *,
        offer: Offer | None,
        certificates: Certificates | None,
        note: Note,
        answered: Answered,
        refusal: Callable[[int, str], bytes],
        patience_wall_s: float = PATIENCE_WALL_S,
    ) -> None:
        self.number = number
        self.wire = wire
        self.offer = offer
        self.asked = False
        self.is_held = False
        self.is_leaving = False
        self.exchange: Exchange | None = None
        self.done = asyncio.Event()
        self._certificates = certificates
        self._note = note
        self._answered = answered
        self._refusal = refusal
        self._patience_wall_s = patience_wall_s
        self._loop = asyncio.get_running_loop()
        self._heads = Heads()
        self._due: Due | None = None
        self._over = False

    async def run(self) -> None:
        """See it through."""
        try:
            if self._certificates is None or await self._shake_hands(self._certificates):
                await self._serve()
        except Gone:
            pass
        except Impatient:
            self._give_up()
        except Refused as error:
            await self._refuse(error)
        finally:
            if not self.is_held:
                self.wire.close()
            if self._over and self._due is not None:
                self._fault(self._due, "over")
            self.done.set()

    def stop(self) -> None:
        """End it at once, and the answer that is under way."""
        if self.exchange is not None:
            self.exchange.stop()
        self.wire.close()

    def look(self) -> None:
        """Something was seen: a handshake that is stalled may go on."""
        self.wire.wake()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for the device to ask, for the first time or again."""
        return not self.is_leaving and (self.exchange is None or self.exchange.done.is_set())

    def crowd_out(self) -> None:
        """Make room for a newer one."""
        self.is_leaving = True
        which = "ask for nothing more" if self.asked else "have asked for nothing"
        self._note("refused", why=f"too many connections that {which}", status=None)
        self.wire.close()

    # Requests.

    async def _serve(self) -> None:
        while True:
            request = await self._request()
            self.asked = True
            if not await self._answered(self, request) or self.wire.spilled:
                return
            self._heads.feed(self.wire.take())

    async def _request(self) -> Request:
        """The next request."""
        limit = IDLE_WALL_S if self.asked else self._patience_wall_s
        until = self._loop.time() + limit
        while True:
            self._heads.feed(self.wire.take())
            if (request := self._heads.next()) is not None:
                return request
            await self._wait(until)

    async def _wait(self, until: float) -> None:
        if self.wire.gone is not None:
            raise Gone(self.wire.gone)
        if self._loop.time() >= until:
            raise Impatient
        await self.wire.wait(until)

    def _give_up(self) -> None:
        """The device has not asked in time; who has been served may keep silent."""
        if self._heads.is_idle and self.asked:
            self._goodbye()
            return
        limit = self._patience_wall_s
        what = "no request" if self._heads.is_idle else "no end of a request"
        self._note("refused", why=f"{what} within {limit:g} s", status=None)

    async def _refuse(self, error: Refused) -> None:
        """Say what is wrong, and end it."""
        self._note("refused", why=str(error), status=error.status)
        self.wire.send(self._refusal(error.status, str(error)))
        self._goodbye()
        await self._drained()

    def _goodbye(self) -> None:
        if self.wire.tls is not None:
            self.wire.put(self.wire.tls.goodbye())

    # TLS.

    async def _shake_hands(self, certificates: Certificates) -> bool:
        """TLS, well or badly; whether requests may come."""
        due = self.offer.campaign.arrive(self.offer) if self.offer is not None else None
        self._due = due
        how = str(due.fault.values["how"]) if due else None
        until = self._loop.time() + self._patience_wall_s
        tls = Tls(certificates.context(how))
        hello = await self._hello(until)
        if due is not None and how != "cut-handshake":
            self._fire(due)
        if how in BROKEN_OFF:
            more = await BROKEN_OFF[how](self, tls, hello)
            if more is None:
                self._note("handshake", version=None, cipher=None, why=f"as asked: {how}")
                return False
            hello += more
            until = self._loop.time() + self._patience_wall_s
        try:
            await self._exchanged(tls, hello, until)
        except (ssl.SSLError, Gone, Impatient) as error:
            await self._failed(tls, error)
            return False
        self._note("handshake", version=tls.version, cipher=tls.cipher, why=None)
        self.wire.secure(tls)
        return True

    async def _hello(self, until: float) -> bytes:
        """The device's first record, as far as one can be made out."""
        data = bytearray()
        while True:
            data += self.wire.take()
            if data and data[0] != HANDSHAKE:
                return bytes(data)  # no TLS: OpenSSL says so
            if len(data) >= HELLO_HEAD + int.from_bytes(data[3:HELLO_HEAD]) > HELLO_HEAD:
                return bytes(data)
            await self._wait(until)

    async def _exchanged(self, tls: Tls, hello: bytes, until: float) -> None:
        """The handshake as it should be."""
        tls.feed(hello)
        while not tls.shake():
            self.wire.put(tls.said())
            await self._wait(until)
            tls.feed(self.wire.take())
        self.wire.put(tls.said())

    async def _failed(self, tls: Tls, error: Exception) -> None:
        why = (
            f"no end of it within {self._patience_wall_s:g} s"
            if isinstance(error, Impatient)
            else f"the device left ({error})"
            if isinstance(error, Gone)
            else reason(error)
        )
        self._note("handshake", version=None, cipher=None, why=why)
        self.wire.put(tls.said())
        await self._drained()

    async def _stalled(self, tls: Tls, hello: bytes) -> bytes | None:
        """Its hello was taken, and that is all, but where an event ends it: what the device has
        said until then."""
        said = b""
        while self.wire.gone is None:
            if self._due is not None and self._is_seen(self._due.fault.when.until):
                self._over = False
                self._fault(self._due, "over")
                return said
            said = (said + self.wire.take())[:SAID_MOST]
            await self.wire.wait()
        return None

    def _is_seen(self, event: str | None) -> bool:
        return self.offer is not None and event in self.offer.campaign.seen

    async def _refused_version(self, tls: Tls, hello: bytes) -> None:
        self.wire.put(PROTOCOL_VERSION_ALERT)
        await self._drained()

    async def _cut(self, tls: Tls, hello: bytes) -> None:
        """The first half of the server's first flight, and FIN."""
        tls.feed(hello)
        tls.shake()
        flight = tls.said()
        self.wire.put(flight[: len(flight) // 2])
        await self._drained()
        if self._due is not None:
            self._fire(self._due)

    async def _drained(self) -> None:
        """All that was written has come, unless the device leaves or takes nothing."""
        until = self._loop.time() + self._patience_wall_s
        try:
            while self.wire.waiting or self.wire.acked() < self.wire.queued:
                self.wire.take()  # what it still says would make our FIN a RST
                await self._wait(min(until, self._loop.time() + ACK_POLL_WALL_S[-1]))
        except (Gone, Impatient):
            return

    def _fire(self, due: Due) -> None:
        offer = self.offer
        assert offer is not None
        offer.campaign.failed(offer)
        offer.campaign.has_fired(due.index)
        self._fault(due, "fired")
        self._over = True

    def _fault(self, due: Due, phase: str) -> None:
        self._note("fault", index=due.index, fault=str(due.fault), at=0, phase=phase)


BROKEN_OFF = {
    "stalled-handshake": Connection._stalled,
    "version": Connection._refused_version,
    "cut-handshake": Connection._cut,
}
"""Ways of ``tls`` in which no handshake comes to its end."""
