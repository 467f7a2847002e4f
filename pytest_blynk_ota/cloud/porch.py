"""One connection between its first packet and the protocol that it turns out to speak."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Final

from pytest_blynk_ota.cloud.doors import KINDS, TLS_HANDSHAKE, Door, Speech, speech_of
from pytest_blynk_ota.cloud.site import Site, Timer

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # silent where nobody has set logging up

Arrive = Callable[["Porch"], None]
"""Told of each connection when its peer is known."""
Enter = Callable[[Speech, "Porch"], asyncio.Protocol]
"""Gives the protocol that goes on with a connection."""

PLAIN_AT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"})
"""What OpenSSL calls bytes that are no TLS."""


class Porch(asyncio.Protocol):
    """Shakes hands if the door has TLS, waits for the first byte, hands over.

    Attributes:
        number: of the connection, unique on its server.
        door: where it came in.
        started: monotonic host seconds of its beginning.
        peer: its address, without the port.
    """

    def __init__(
        self, number: int, door: Door, context: ssl.SSLContext | None, site: Site,
        arrive: Arrive, enter: Enter, accepted: float | None = None,
    ) -> None:  # fmt: skip
        self.number = number
        self.door = door
        self.started = time.monotonic() if accepted is None else accepted
        self.peer = ""
        self._context = context
        self._site = site
        self._arrive = arrive
        self._enter = enter
        self._transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early = b""
        self._timer = Timer(self._patience)
        self._ended = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who comes, and begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._ended:  # closed between accept and here
            transport.abort()
            return
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else "gone"
        shown = f"{peer[0]}:{peer[1]}" if peer else "gone"
        self.say("connected", t=self.started, peer=shown, door=self.door.kind,
                 **({"elsewhere": True} if self.door.elsewhere else {}))  # fmt: skip
        self._arrive(self)
        self._timer.look()
        if self._context is not None and not self._ended:
            transport.pause_reading()  # the handshake's bytes are not for us
            self._handshake = asyncio.ensure_future(self._shake_hands(transport, self._context))
            self._handshake.add_done_callback(self._shaken)

    def data_received(self, data: bytes) -> None:
        """The first bytes say who goes on."""
        if self._ended or self._transport is None:
            return
        if self._handshake is not None and not self._handshake.done():
            self._early += data  # it came with the end of the handshake, which we have not seen
            return
        kind = KINDS[self.door.kind]
        if data[0] == TLS_HANDSHAKE and not kind.tls:
            self.close(f"a TLS handshake at the plain {self.door.kind} port")
            return
        speech = speech_of(data[0])
        if speech not in kind.speaks:
            taken = " and ".join(one.upper() for one in kind.speaks)
            self.close(f"{speech.upper()} at a port for {taken}")
            return
        self._timer.stop()
        inside = self._enter(speech, self)
        self._transport.set_protocol(inside)
        inside.connection_made(self._transport)
        inside.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It went before it said a word."""
        self._end("device", "closed" if exc is None else str(exc))
        self._site.over(self.number)

    # What the server calls.

    def close(self, why: str) -> None:
        """End it for this reason."""
        if not self._ended:
            log.warning("cloud session %d (not logged in) cut off: %s", self.number, why)
        self._end("server", why)
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        if self._handshake is not None:
            self._handshake.cancel()
        if self._transport is not None:
            self._transport.abort()

    def say(self, kind: str, *, t: float | None = None, **data: object) -> None:
        """Put something about this connection on record."""
        self._site.say(kind, None, self.number, t=t, **data)

    # Inside.

    def _patience(self) -> float | None:
        if self._ended:
            return None
        limit_s = self._site.limits.login_s
        left = self.started + self._site.wall(limit_s) - time.monotonic()
        if left > 0:
            return left
        self.close(f"no login within {limit_s:g} s")
        return None

    async def _shake_hands(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        """TLS inside the connection; what comes out of it is for :meth:`data_received`."""
        loop = asyncio.get_running_loop()
        try:
            inner = await loop.start_tls(
                transport, self, context, server_side=True,
                ssl_handshake_timeout=self._site.wall(self._site.limits.login_s),
            )  # fmt: skip
        except (OSError, asyncio.CancelledError) as error:
            self._end("device", f"no TLS handshake: {reason(error)}")
            transport.abort()
        else:
            if inner is not None:  # None if we closed the connection meanwhile
                assert isinstance(inner, asyncio.Transport)
                self._transport = inner
        if transport.is_closing():  # then asyncio may not tell us that it is lost
            self._site.over(self.number)

    def _shaken(self, _: asyncio.Task[None]) -> None:
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def _end(self, by: str, why: str) -> None:
        if not self._ended:
            self._ended = True
            self._timer.stop()
            self.say("closed", by=by, why=why)


def reason(error: BaseException) -> str:
    """Why a handshake failed, in words."""
    if isinstance(error, ssl.SSLError) and error.reason:
        if error.reason in PLAIN_AT_TLS:
            return f"what came is no TLS ({error.reason})"
        return error.reason.replace("_", " ").lower()
    return str(error) or "the device went away"
