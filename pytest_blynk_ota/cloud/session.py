"""One connection to the cloud, from its first byte to its end.

The rules, in order:

1. The first message is LOGIN, whole within :data:`LOGIN_TIMEOUT_S`. A token that the rig gave out
   is answered 200. Any other gets no answer: status 9 would send an Edgent into its configuration
   mode.
2. A login ends the session that the same device had before.
3. After that each command is answered as :data:`RULES` says.
4. Silence of more than 2.3 heartbeats ends the session. The cloud itself sends no pings.
5. A message that breaks the protocol ends this session and no other.
6. That a device still speaks is on record, as ``heard``: a session that a reset has left half-open
   speaks no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from pytest_blynk_ota.cloud.device import Device, Registry, field, is_token
from pytest_blynk_ota.cloud.protocol import (
    Cmd,
    Decoder,
    Frame,
    ProtocolError,
    Status,
    command_name,
    encode,
    frame,
    pairs,
    response,
)
from pytest_blynk_ota.evidence.timeline import Record

LOGIN_TIMEOUT_S: Final = 10.0
"""Device seconds from the connection to the login. Our choice: more patient than the library, which
gives its own login up after 6 s."""
HEARD_S: Final = 10.0
"""Device seconds without an event of a session, after which its next message is one: the shortest
heartbeat, so that a device that talks all the time fills no evidence."""
MIN_TIMEOUT_S: Final = 0.25
"""No scaled time-out is shorter than this, in wall seconds."""
MAX_UNREAD_BYTES: Final = 1 << 16
"""A device for which more answers than this wait unread is cut off."""
INTERNAL_REQUESTS: Final = frozenset({"rtc", "utc", "ota", "vfs", "dbg", "acon", "adis", "meta"})
"""First strings of an INTERNAL that is no info (blynk-library, BlynkApi.h; `meta`: new Edgent)."""

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # silent where nobody has set logging up


class Session(asyncio.Protocol):
    """One connection of one device.

    Args:
        number: unique on this server.
        registry: the devices that may log in.
        speed: device seconds in a wall second.
        over: called once, when the connection is gone.
    """

    def __init__(
        self, number: int, registry: Registry, record: Record, speed: float,
        over: Callable[[Session], None],
    ) -> None:  # fmt: skip
        self.number = number
        self.device: Device | None = None
        self._registry = registry
        self._record = record
        self._speed = speed
        self._over = over
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._started = self._heard = self._told = time.monotonic()
        self._last_id = 0
        self._ended = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the login."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        peer = transport.get_extra_info("peername")
        self._started = self._heard = time.monotonic()
        self._say("connected", t=self._started, peer=f"{peer[0]}:{peer[1]}" if peer else "gone")
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Handle each message that is now whole."""
        if self._ended:
            return
        broken: ProtocolError | None = None
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            frames, broken = list(error.frames), error
        for message in frames:
            self._handle(message)
            if self._ended:
                return
        if broken is not None:
            self._cut_off(broken.reason)

    def pause_writing(self) -> None:
        """The device does not read what it is sent."""
        self._cut_off(f"more than {MAX_UNREAD_BYTES} bytes wait for the device to read them")
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note how the connection ended, if we did not end it."""
        inside = f" inside a message, {self._decoder.pending} bytes of it"
        where = inside if self._decoder.pending else ""
        if exc is None:
            self._end("device", f"closed{where}")
        elif isinstance(exc, OSError):
            self._end("device", f"{exc.strerror or exc}{where}")
        else:
            self._end("server", f"fault of the server: {exc!r}")
        self._over(self)

    # What the server calls, on its loop.

    def send_ota(self, url: str, offer: str) -> bool:
        """Send ``ota NUL URL`` in one piece; False if the session is over."""
        if self._ended or self.device is None:
            return False
        self._last_id = self._last_id % 0xFFFF + 1  # a device closes on id 0
        self._write(frame(Cmd.INTERNAL, self._last_id, "ota", url))
        self._say("ota_sent", offer=offer, url=url)
        return True

    def close(self, why: str) -> None:
        """End the session for a reason that is no fault of the device."""
        self._end("server", why)

    def abort(self) -> None:
        """Drop the connection with whatever waits to be sent."""
        if self._transport is not None:
            self._transport.abort()

    # Time.

    def _limit(self) -> tuple[float, str]:
        """Wall seconds that the session may be silent, and what it says when they are over."""
        if self.device is None:
            return self._scaled(LOGIN_TIMEOUT_S), f"no login within {LOGIN_TIMEOUT_S:g} s"
        state = self.device.state
        seconds = state.silence_limit_s
        why = f"silent for {seconds} s, 2.3 heartbeats of {state.heartbeat_s} s"
        return self._scaled(seconds), why

    def _scaled(self, device_s: float) -> float:
        return max(device_s / self._speed, MIN_TIMEOUT_S)

    def _watch(self) -> None:
        """Close if the time is over, else look again when it will be.

        A message moves the deadline without touching the timer, which then finds time left.
        """
        if self._ended:
            return
        seconds, why = self._limit()
        remaining = self._heard + seconds - time.monotonic()
        if remaining <= 0:
            self._cut_off(why)
        else:
            loop = asyncio.get_running_loop()
            if self._timer:
                self._timer.cancel()
            self._timer = loop.call_later(remaining, self._watch)

    # Messages.

    def _handle(self, message: Frame) -> None:
        name = command_name(message.cmd)
        if message.id == 0:
            self._cut_off(f"{name} with message id 0")
        elif self.device is None and message.cmd != Cmd.LOGIN:
            self._cut_off(f"{name} before login")
        elif (rule := RULES.get(message.cmd)) is None:
            self._cut_off(f"{name} is not for a device to send")
        else:
            self._heard = time.monotonic()
            rule(self, message)
            if self._heard - self._told >= HEARD_S / self._speed and not self._ended:
                self._say("heard", t=self._heard, what=name)

    def _login(self, message: Frame) -> None:
        token = message.parts[0] if message.parts else ""
        if self.device is not None:
            if self.device.token == token:
                self._answer(message, Status.ALREADY_REGISTERED)
            else:
                self._cut_off("a second login, with another token")
            return
        device = self._registry.by_token(token)
        if device is None:
            what = "that the rig did not give out" if is_token(token) else "of the wrong form"
            self._say("refused", why=f"a token {what}")
            self._cut_off(f"login refused: a token {what}")
            return
        self.device = device
        before = device.logged_in(self, self._started)
        if before is not None:
            before.close(f"replaced by session {self.number}")
        self._say("login")
        self._answer(message)
        self._watch()

    def _ping(self, message: Frame) -> None:
        self._answer(message)

    def _internal(self, message: Frame) -> None:
        parts = message.parts
        if not parts or not parts[0]:
            self._answer(message, Status.ILLEGAL_COMMAND)
            return
        if parts[0] not in INTERNAL_REQUESTS:
            self._info(pairs(parts))
        self._answer(message)

    def _info(self, info: Mapping[str, str]) -> None:
        assert self.device is not None
        now = time.monotonic()
        report = self.device.informed(info, self.number, now)
        self._say("info", t=now, pairs=dict(info))
        if report is not None:
            self._say("report", t=now, version=report.version, build=report.build,
                      fw_type=field(info, "fw_type"))  # fmt: skip
        self._watch()

    def _event(self, message: Frame) -> None:
        code, *rest = message.parts or ("",)
        if not code:
            self._answer(message, Status.ILLEGAL_BODY)
            return
        self._say("log_event", code=code, text=rest[0] if rest else "")
        self._answer(message)

    def _property(self, message: Frame) -> None:
        good = len(message.parts) >= 3 and all(message.parts[:3])
        self._answer(message, Status.OK if good else Status.ILLEGAL_BODY)

    def _ignore(self, message: Frame) -> None:
        """Take the message without an answer."""

    # Output and end.

    def _answer(self, message: Frame, status: Status = Status.OK) -> None:
        self._write(response(message.id, status))

    def _write(self, message: Frame) -> None:
        if self._transport is not None and not self._ended:
            self._transport.write(encode(message))

    def _say(self, kind: str, *, t: float | None = None, **data: object) -> None:
        board = self.device.board if self.device else None
        self._told = time.monotonic() if t is None else t
        self._record("cloud", kind, board, t=t, session=self.number, **data)

    def _cut_off(self, why: str) -> None:
        if not self._ended:
            board = self.device.board if self.device else "not logged in"
            log.warning("cloud session %d (%s) cut off: %s", self.number, board, why)
        self._end("server", why)

    def _end(self, by: str, why: str) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer:
            self._timer.cancel()
        if self.device is not None:
            self.device.logged_out(self)
        if self._transport is not None:
            self._transport.close()
        self._say("closed", by=by, why=why)


RULES: Final[Mapping[int, Callable[[Session, Frame], None]]] = {
    # What is not in facts of today's cloud follows the open-source blynk-server's HardwareHandler.
    Cmd.RESPONSE: Session._ignore,  # the answer to our `ota`, if the firmware sends one
    Cmd.LOGIN: Session._login,  # again: status 4 (blynk-server)
    Cmd.PING: Session._ping,  # 200 (BlynkProtocol.h waits for any byte)
    Cmd.INTERNAL: Session._internal,  # 200; empty: status 2 (blynk-server, BlynkInternalLogic)
    Cmd.EVENT_LOG: Session._event,  # 200
    Cmd.EVENT_CLEAR: Session._ping,  # 200
    Cmd.PROPERTY: Session._property,  # 200; fewer than three strings: 11 (SetWidgetPropertyLogic)
    Cmd.HARDWARE: Session._ignore,  # no answer (HardwareLogic)
    Cmd.HARDWARE_SYNC: Session._ignore,  # the answer would be the stored values: there are none
    Cmd.BRIDGE: Session._ignore,  # would go to another device: there is none
    Cmd.GROUP: Session._ignore,
    Cmd.DEBUG_PRINT: Session._ignore,
}
"""What a logged-in device may send. Anything else breaks the protocol: REDIRECT is the cloud's."""
