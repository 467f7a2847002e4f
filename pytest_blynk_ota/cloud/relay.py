"""Between a board and another Blynk server: everything passes, what matters is seen.

A relayed session is a session whose answers come from the other server. The device logs in with a
token that the rig knows, the same token goes on, and from then on each message of either side is
handed over as it came. On the way versions, events and OTA requests are put on record as those of a
session of our own; an OTA request of ours goes to the device alone, and the URL of one of theirs
can be exchanged. A redirection is followed here: a board that follows it itself would be gone.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pytest_blynk_ota.cloud.device import is_token
from pytest_blynk_ota.cloud.doors import KINDS
from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.cloud.protocol import (
    Cmd,
    Decoder,
    Frame,
    ProtocolError,
    Status,
    encode,
    frame,
)
from pytest_blynk_ota.cloud.session import MAX_UNREAD_BYTES, REQUESTS, Session
from pytest_blynk_ota.cloud.site import Site
from pytest_blynk_ota.errors import UsageError

CONNECT_TIMEOUT_S: Final = 10.0
"""Wall seconds to reach the other server, TLS included."""
MAX_REDIRECTS: Final = 5
LOGGED_IN: Final = (Status.OK, Status.ALREADY_REGISTERED)
"""What BlynkProtocol.h takes for a login."""

Exchange = Callable[[str], OtaRequest | None]
"""Gives what a device shall be told in place of the other server's URL; None: that."""


def port_of(text: str) -> int | None:
    """The port that a text names, if it can be one."""
    readable = text.isascii() and text.isdigit() and len(text) <= 5
    return int(text) if readable and 0 < int(text) < 1 << 16 else None


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server that is relayed to.

    Attributes:
        tls: whether it is spoken to over TLS.
        ca: a file with the CA to trust (PEM); None: those of the system.
    """

    host: str
    port: int
    tls: bool
    ca: Path | None = None

    @classmethod
    def parse(cls, text: str, ca: Path | None = None) -> Upstream:
        """Read ``HOST:PORT``, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.

        Without a scheme the port tells: the usual ones of TLS (443, 9443) have it, others not.

        Raises:
            UsageError: it is none of that, or the CA file cannot be read or is of no use.
        """
        scheme, found, rest = text.rpartition("://")
        host, colon, port = rest.rpartition(":")
        number = port_of(port)
        if not (host and colon) or number is None or (found and scheme not in ("tcp", "tls")):
            raise UsageError(
                f"relay: expected HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT, got {text!r}"
            )
        tls = scheme == "tls" if found else number in KINDS["tls"].usual
        if ca is not None and not tls:
            raise UsageError(f"relay_ca is for a relay over TLS; expected tls://…, got {text!r}")
        upstream = cls(host.strip("[]"), number, tls, ca)
        upstream.context()
        return upstream

    def context(self) -> ssl.SSLContext | None:
        """How it is known. Raises UsageError if the CA file cannot be read."""
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"relay_ca: {self.ca} is no CA in PEM: {error}") from error

    def __str__(self) -> str:
        return f"{'tls' if self.tls else 'tcp'}://{self.host}:{self.port}"


class RelayedSession(Session):
    """One device, and its connection to the other server.

    Args:
        upstream: where that is.
    """

    def __init__(self, number: int, site: Site, started: float, upstream: Upstream) -> None:
        super().__init__(number, site, started)
        self._upstream = upstream
        self._far: _FarSide | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[bytes] = []
        """What the device has said before the other server was reached."""
        self._hello: Frame | None = None
        """The login, until the other server has answered it."""
        self._greeting: list[Frame] = []
        """Login and info, which each server that is redirected to has to hear."""
        self._redirects = 0
        self._answered = False
        """Whether the device has an answer to its login."""
        self._passing = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The device is gone: so is its other half."""
        super().connection_lost(exc)
        if self._connecting is not None:
            self._connecting.cancel()
        self._leave_far()

    # ---- from the device

    def _handle(self, message: Frame) -> None:
        if message.id == 0 or (self.device is None and message.cmd != Cmd.LOGIN):
            super()._handle(message)  # which cuts it off
            return
        self._heard = time.monotonic()
        if message.cmd == Cmd.LOGIN and self.device is None:
            if not self._known(message):
                return
        else:
            self._observe(message)
        if not self._ended:
            self._pass_on(encode(message))

    def _known(self, message: Frame) -> bool:
        """Whether the rig gave out or was given this token; if not, the device is cut off."""
        token = message.parts[0] if message.parts else ""
        device = self._site.registry.by_token(token)
        if device is None:
            self._site.registry.turn_away(token, self.number)
            what = "that the rig does not know" if is_token(token) else "of the wrong form"
            self._say("refused", why=f"a token {what}")
            self._cut_off(f"login refused: a token {what}")
            return False
        self.device, self._hello, self._greeting = device, message, [message]
        self._connecting = asyncio.ensure_future(self._connect())
        return True

    def _observe(self, message: Frame) -> None:
        """What a session of our own would have put on record, without its answers."""
        if message.cmd == Cmd.INTERNAL and not set(message.parts[:1]) & REQUESTS.keys():
            self._greeting[1:] = [message]
        self._passing = True
        try:
            super()._handle(message)
        finally:
            self._passing = False

    def _write(self, message: Frame) -> None:
        if not self._passing:
            super()._write(message)

    def _pass_on(self, data: bytes) -> None:
        if self._far is None:
            self._waiting.append(data)
        else:
            self._far.send(data)

    # ---- the other server

    async def _connect(self) -> None:
        loop, to = asyncio.get_running_loop(), self._upstream
        far = _FarSide(self)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(
                    lambda: far,
                    to.host,
                    to.port,
                    ssl=to.context(),
                    server_hostname=to.host if to.tls else None,
                )
        except (OSError, UsageError, ValueError) as error:  # TimeoutError is an OSError
            # A ValueError is a host name that cannot be one: from a redirection.
            self.close(f"the relayed server {to} is not to be reached: {error or 'no answer'}")
            return
        if self._ended:
            far.leave()
            return
        self._far = far
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            far.send(data)

    def far_said(self, message: Frame) -> None:
        """A message of the other server."""
        if self._ended:
            return
        if self._hello is not None and message.id == self._hello.id and message.cmd == Cmd.RESPONSE:
            again, self._answered = self._answered, True
            self._far_answered_login(message)
            if again or self._ended:
                return
        elif message.cmd == Cmd.REDIRECT:
            self._follow(message)
            return
        elif message.cmd == Cmd.INTERNAL and message.parts[:1] == ("ota",):
            message = self._far_offered(message)
        self._write_now(message)

    def far_left(self, why: str) -> None:
        """The other server ended the connection."""
        self.close(f"the relayed server {self._upstream} {why}")

    def _far_answered_login(self, message: Frame) -> None:
        assert self.device is not None
        if message.status not in LOGGED_IN:
            why = f"the relayed server answered status {message.status}"
            self._say("refused", why=why)
            # The device must not see a 9: an Edgent would go into its configuration mode.
            if self._redirects or message.status == Status.INVALID_TOKEN:
                self.close(f"login refused: {why}")
            return
        self._hello = None
        before = self.device.logged_in(self, self._started)
        if before is not None and before is not self:
            before.close(f"replaced by session {self.number}")
        self._site.welcomed(self.number)
        self._say("login")
        self._timer.look()

    def _far_offered(self, message: Frame) -> Frame:
        """An OTA request of theirs, with the URL exchanged if the rig asks for that."""
        assert self.device is not None
        url = message.parts[1] if len(message.parts) > 1 else ""
        mine = self.device.exchange(url) if self.device.exchange is not None else None
        self._say("ota_relayed", url=url, exchanged=mine is not None)
        if mine is None:
            return message
        self._say("ota_sent", offer=mine.name, url=mine.url)
        return frame(Cmd.INTERNAL, message.id, "ota", mine.url)

    def _follow(self, message: Frame) -> None:
        """Go to the other server's other server, with the login that began here."""
        host, *rest = message.parts or ("",)
        named = rest[0] if rest and rest[0] else str(self._upstream.port)
        self._say("redirected", to=f"{host}:{named}")
        self._redirects += 1
        port = port_of(named)
        if not host or port is None or self._redirects > MAX_REDIRECTS:
            times = f"{self._redirects} times"
            self.close(f"redirected by the relayed server to {f'{host}:{named}'!r}, {times}")
            return
        self._leave_far()
        self._hello = self._greeting[0]
        self._waiting = [encode(message) for message in self._greeting]
        self._upstream = replace(self._upstream, host=host, port=port)
        self._connecting = asyncio.ensure_future(self._connect())

    def _leave_far(self) -> None:
        far, self._far = self._far, None
        if far is not None:
            far.leave()


class _FarSide(asyncio.Protocol):
    """The connection to the other server."""

    def __init__(self, near: RelayedSession) -> None:
        self._near: RelayedSession | None = near
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)

    def send(self, data: bytes) -> None:
        """To the other server."""
        if self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """From the other server."""
        broken = None
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            frames, broken = list(error.frames), error.reason
        for message in frames:
            if self._near is not None:
                self._near.far_said(message)
        if broken is not None and self._near is not None:
            self._near.far_left(f"does not speak Blynk's protocol: {broken}")

    def pause_writing(self) -> None:
        """It does not read."""
        if self._near is not None:
            self._near.far_left(f"does not read: more than {MAX_UNREAD_BYTES} bytes wait")

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._near is not None:
            self._near.far_left("closed the connection" if exc is None else f"is lost: {exc}")

    def leave(self) -> None:
        """End it; nobody is to be told."""
        self._near = None
        if self._transport is not None:
            self._transport.close()
