"""The Blynk library's side of a session: login, info, pings, what the cloud sends.

Rules of blynk-library 1.4.0 (BlynkProtocol.h, BlynkArduinoClient.h, BlynkSimpleEsp32_SSL.h). One
:class:`BlynkClient` is one device; :meth:`BlynkClient.login` starts a session, and
:meth:`BlynkClient.serve` lives through it. When to try again is for the firmware.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from pytest_blynk_ota.cloud.protocol import (
    Cmd,
    Decoder,
    Frame,
    ProtocolError,
    Status,
    encode,
    frame,
    response,
)
from pytest_blynk_ota.virtual.app.dial import dial
from pytest_blynk_ota.virtual.app.report import BUFF_IN

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine
    from pytest_blynk_ota.virtual.network.tcp import Connection
    from pytest_blynk_ota.virtual.network.tls import Trust

CONNECT_TIMEOUT_S = 5.0
HANDSHAKE_TIMEOUT_S = 30.0
"""``setHandshakeTimeout(30)``, behind the TCP connection."""
OTHER_PORT = {80: 8080, 8080: 80}
"""Tried at once if the first is not reachable (BlynkArduinoClient.h)."""
LOGIN_TIMEOUT_S = 6.0
"""BLYNK_TIMEOUT_MS."""
RETRY_S = 5.0
GIVE_UP_AFTER_HEARTBEAT_S = 18.0
"""BLYNK_TIMEOUT_MS * 3 of silence beyond the heartbeat."""
PING_SPACING_S = 6.0
HEADER_BYTES = 5

IGNORED = frozenset({Cmd.HARDWARE, Cmd.BRIDGE, Cmd.LOGIN})
"""Commands that reach a handler which this firmware leaves empty."""


class TokenRefused(Exception):
    """Raised when the cloud answers a login with status 9."""


class LinkLost(Exception):
    """Raised inside a session when it has to end; never leaves this module."""


class Redirected(LinkLost):
    """Raised inside a session when the cloud names another address; it is dialled at once."""


class BlynkClient:
    """One device's session with the cloud.

    Args:
        info: keys and values in turn, sent after each login.
        on_ota: called with the URL of each ``ota`` command.
        on_debug: called with the text of each ``dbg`` command.
        trust: whom TLS trusts; None: plain TCP.
        follows: whether it goes where it is redirected in the middle of a session. Edgent's own
            loop begins anew there, with the address that it has kept; at login all follow.
    """

    def __init__(
        self,
        machine: Machine,
        log: Log,
        *,
        token: str,
        host: str,
        port: int,
        info: Sequence[str],
        heartbeat_s: float,
        on_ota: Callable[[str], None],
        on_debug: Callable[[str], Awaitable[None]] | None = None,
        trust: Trust | None = None,
        follows: bool = True,
    ) -> None:
        self._machine = machine
        self._clock = machine.clock
        self._log = log
        self._token = token
        self._address = (host, port)
        self._info = tuple(info)
        self._heartbeat_s = heartbeat_s
        self._on_ota = on_ota
        self._on_debug = on_debug
        self._trust = trust
        self._follows = follows
        self._connection: Connection | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self._let_in = False
        self._inbox: list[Frame] = []
        self._decoder = Decoder()
        self._last_id = 0
        self._last_in = self._last_out = self._last_ping = 0.0

    @property
    def connected(self) -> bool:
        """Whether a session is open: the cloud has let it in, and it has said what it is."""
        return self._let_in

    async def keep_dialling(self) -> None:
        """``Blynk.run()`` without a session: try until it is in, 5 s from one try to the next.

        Raises:
            TokenRefused: the cloud does not know the token.
        """
        begun = self._clock.now()
        while not await self.login():
            await self._clock.sleep(begun + RETRY_S - self._clock.now())
            begun = self._clock.now()

    async def login(self) -> bool:
        """One try to open a session and to send the info.

        A redirection has no back-off: to oneself it is a hot loop, as in the library.

        Raises:
            TokenRefused: the cloud does not know the token.
        """
        while True:
            try:
                return await self._dial()
            except Redirected:
                self.close()

    async def _dial(self) -> bool:
        host, port = self._address
        self._connection = await self._connect(host, port)
        if self._connection is None and port in OTHER_PORT:
            self._connection = await self._connect(host, OTHER_PORT[port])
        if self._trust is not None:
            found = self._connection is not None
            self._log.blynk("Certificate OK" if found else "Secure connection failed")
        if self._connection is None:
            return False
        self._inbox = []
        self._decoder = Decoder(BUFF_IN - HEADER_BYTES)
        self._last_id = 1
        self._last_in = self._last_ping = asked = self._clock.now()
        try:
            await self._send(frame(Cmd.LOGIN, 1, self._token))
            await self._login_answer()
            self._log.blynk(f"Ready (ping: {int((self._clock.now() - asked) * 1000)}ms).")
            await self.send(Cmd.INTERNAL, *self._info)
            self._let_in = True
        except Redirected:
            raise
        except LinkLost:
            self.close()
            return False
        return True

    async def _connect(self, host: str, port: int) -> Connection | None:
        self._log.blynk(f"Connecting to {host}:{port}")
        limit = CONNECT_TIMEOUT_S + (HANDSHAKE_TIMEOUT_S if self._trust else 0.0)
        try:
            async with self._clock.within(self._clock.timeout(limit)):
                return await dial(self._machine, host, port, self._trust)
        except OSError:  # TimeoutError is one; the library prints nothing
            return None

    async def send(self, cmd: Cmd, *parts: str) -> None:
        """Send a message of the device's own; without a session it is skipped, as in the library.

        Raises:
            LinkLost: the connection is broken.
        """
        if self._connection is not None:
            self._last_id = self._last_id % 0xFFFF + 1
            await self._send(frame(cmd, self._last_id, *parts))

    async def tell(self, cmd: Cmd, *parts: str) -> None:
        """Send a message, lost without a word if the link is."""
        try:
            await self.send(cmd, *parts)
        except LinkLost:
            self.close()

    async def event(self, code: str, text: str) -> None:
        """Blynk.logEvent."""
        await self.tell(Cmd.EVENT_LOG, code, text)

    async def serve(self, until: Callable[[], float]) -> bool:
        """Answer the cloud until a device time; False when the link is lost first.

        ``until`` is asked again after each message, because a handler may set a timer.
        """
        while self._clock.now() < until():
            try:
                due = min(until(), self._next_heartbeat())
                message = await self._receive(due - self._clock.now())
                if message is not None:
                    await self._handle(message)
                await self._heartbeat()
            except Redirected:
                self.close()
                if not self._follows or not await self.login():
                    return False
            except LinkLost:
                self.close()
                return False
        return True

    def disconnect(self) -> None:
        """``Blynk.disconnect()``: it says so, even if there was nothing to close."""
        self.close()
        self._log.blynk("Disconnected")

    def close(self) -> None:
        """Close the connection with FIN."""
        self._let_in = False
        self.halt()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def halt(self) -> None:
        """Stop reading and leave the connection as it stands: what a reset does."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _login_answer(self) -> None:
        deadline = self._clock.now() + self._clock.timeout(LOGIN_TIMEOUT_S) * self._clock.speed
        while True:
            message = await self._receive(deadline - self._clock.now())
            if message is None and self._clock.now() >= deadline:
                self._log.blynk("Login timeout")
                raise LinkLost
            if message is None:
                continue
            if message.cmd != Cmd.RESPONSE or message.id != 1:
                await self._handle(message)
                continue
            if message.status in (Status.OK, Status.ALREADY_REGISTERED):
                return
            self.close()
            if message.status == Status.INVALID_TOKEN:
                self._log.blynk("Invalid auth token")
                raise TokenRefused
            self._log.blynk(f"Connect failed. code: {message.status}")
            raise LinkLost

    async def _heartbeat(self) -> None:
        now = self._clock.now()
        if now - self._last_in > self._dead_after_s:
            self._log.blynk("Heartbeat timeout")
            raise LinkLost
        idle = now - min(self._last_in, self._last_out)
        if idle >= self._heartbeat_s and now - self._last_ping >= PING_SPACING_S:
            self._last_ping = now
            await self.send(Cmd.PING)

    @property
    def _dead_after_s(self) -> float:
        scaled = self._clock.timeout(self._heartbeat_s + GIVE_UP_AFTER_HEARTBEAT_S)
        return scaled * self._clock.speed

    def _next_heartbeat(self) -> float:
        ping = min(self._last_in, self._last_out) + self._heartbeat_s
        dead = self._last_in + self._dead_after_s
        return min(max(ping, self._last_ping + PING_SPACING_S), dead + 0.001)

    async def _handle(self, message: Frame) -> None:
        """Do what one message asks for.

        Raises:
            LinkLost: the library would drop the connection.
        """
        parts = message.parts
        if message.id == 0 or (message.cmd, message.status) == (
            Cmd.RESPONSE,
            Status.NOT_AUTHENTICATED,
        ):
            raise LinkLost
        if message.cmd == Cmd.PING:
            await self._send(response(message.id))
        elif message.cmd == Cmd.INTERNAL:
            if parts[:1] == ("ota",):
                self._on_ota(parts[1] if len(parts) > 1 else "")
            elif parts[:1] == ("dbg",) and self._on_debug is not None:
                await self._on_debug(parts[1] if len(parts) > 1 else "")
        elif message.cmd == Cmd.REDIRECT:
            self._redirect(parts)
        elif message.cmd == Cmd.DEBUG_PRINT:
            self._log.blynk(f"Server: {' '.join(parts)}")
        elif message.cmd != Cmd.RESPONSE and message.cmd not in IGNORED:
            raise LinkLost

    def _redirect(self, parts: Sequence[str]) -> None:
        if not parts:
            raise LinkLost
        port = int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 80
        self._address = (parts[0], port)
        self._log.blynk(f"Redirecting to {parts[0]}:{port}")
        raise Redirected

    async def _receive(self, seconds: float) -> Frame | None:
        """The next message, or None after ``seconds`` device seconds without one.

        The read stays pending over the end of the wait, so that no byte is lost.

        Raises:
            LinkLost: closed, broken, or a body larger than the buffer.
        """
        if self._inbox:
            return self._inbox.pop(0)
        if self._connection is None:
            raise LinkLost
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._connection.read(BUFF_IN))
        reading = self._reading
        await self._clock.first({reading}, max(seconds, 0.0) / self._clock.speed)
        if self._reading is not reading:  # closed by another task of the firmware
            raise LinkLost
        if not reading.done():
            return None
        self._reading = None
        try:
            data = reading.result()
            if not data:
                raise LinkLost
            self._inbox += self._decoder.feed(data)
        except OSError as broken:
            raise LinkLost from broken
        except ProtocolError as broken:
            self._log.blynk(f"Packet too big: {broken.reason}")
            raise LinkLost from broken
        self._last_in = self._clock.now()
        return self._inbox.pop(0) if self._inbox else None

    async def _send(self, message: Frame) -> None:
        if self._connection is None:
            raise LinkLost
        try:
            async with self._clock.within(self._clock.timeout(LOGIN_TIMEOUT_S)):
                await self._connection.write(encode(message))
        except OSError as broken:
            raise LinkLost from broken
        self._last_out = self._clock.now()
