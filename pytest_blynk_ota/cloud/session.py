"""One device on the binary protocol, from its first byte to its end.

The rules, in order:

1. The first message is LOGIN, whole within the time of :class:`~.site.Limits`. A token that the rig
   gave out is answered 200. Any other gets no answer: status 9 would send an Edgent into its
   configuration mode.
2. A login ends the session that the same device had before.
3. After that each command is answered as :data:`RULES` says.
4. Silence of more than 2.3 heartbeats ends the session, and so do too many messages.
5. A message that breaks the protocol ends this session and no other.
6. That a device still speaks is on record, as ``heard``: a session that a reset has left half-open
   speaks no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pytest_blynk_ota.cloud.device import Device, field
from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.cloud.protocol import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
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
from pytest_blynk_ota.cloud.site import Flood, Site, Timer

PLAIN: Final = Door("tcp")
MAX_UNREAD_BYTES: Final = 1 << 16
"""A device for which more answers than this wait unread is cut off."""

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # silent where nobody has set logging up


class Session(asyncio.Protocol):
    """One connection of one device.

    Args:
        number: unique on this server.
        site: what it shares with the other connections.
        started: monotonic host seconds at which the connection was opened.
        door: where it came in.
    """

    def __init__(self, number: int, site: Site, started: float, door: Door = PLAIN) -> None:
        self._door = door
        self.number = number
        self.device: Device | None = None
        self._site = site
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._started = self._heard = self._told = started
        self._pinged = False
        self._flood = Flood(site.limits)
        self._timer = Timer(self._watch)
        self._last_id = 0
        self._answers: bytearray | None = None
        """Those to the messages that came together; None while none are handled."""
        self._ended = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the login."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        self._timer.look()

    def data_received(self, data: bytes) -> None:
        """Handle each message that is now whole."""
        if self._ended:
            return
        self._answers = bytearray()
        try:
            self._take(data)
        finally:
            self._send_answers()

    def _take(self, data: bytes) -> None:
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
        self._site.over(self.number)

    # What the server calls, on its loop.

    def ota_bytes(self, request: OtaRequest) -> int:
        """Bytes of the message that :meth:`send_ota` would send, header included."""
        return ota_bytes(request)

    def send_ota(self, request: OtaRequest) -> bool:
        """Send ``ota NUL URL`` in one piece; False if the session is over."""
        if not self.send(Cmd.INTERNAL, "ota", request.url):
            return False
        self._say("ota_sent", offer=request.name, url=request.url)
        return True

    def send_command(self, command: str) -> bool:
        """Send ``dbg NUL COMMAND``, which Edgent types at its own console."""
        return self.send(Cmd.INTERNAL, "dbg", command)

    def send_value(self, name: str, values: tuple[str, ...]) -> bool:
        """Send ``vw NUL PIN NUL VALUE…``."""
        return self.send(Cmd.HARDWARE, "vw", name, *values)

    def redirect(self, host: str, port: int) -> bool:
        """Send the device to another server (REDIRECT, ``host NUL port``)."""
        return self.send(Cmd.REDIRECT, host, str(port))

    def send(self, cmd: Cmd, *parts: str) -> bool:
        """One message of the cloud's own, in one piece; False if the session is over.

        Raises:
            ValueError: a string holds a NUL.
        """
        if self._ended or self.device is None or self.device.manners.is_silent(time.monotonic()):
            return False
        self._last_id = self._last_id % 0xFFFF + 1  # a device closes on id 0
        self._write(frame(cmd, self._last_id, *parts))
        return True

    def close(self, why: str) -> None:
        """End the session for a reason that is no fault of the device."""
        self._end("server", why)

    def abort(self) -> None:
        """Drop the connection with whatever waits to be sent."""
        if self._transport is not None:
            self._transport.abort()

    # Time.

    def _watch(self) -> float | None:
        """Close if the time is over, ping if it is time to; wall seconds until the next look.

        A message moves the deadlines without touching the timer, which then finds time left.
        """
        if self._ended:
            return None
        silent = time.monotonic() - self._heard
        limit_s, why = self._limit()
        left = self._site.wall(limit_s) - silent
        if left <= 0:
            self._cut_off(why)
            return None
        ping_s = self._site.limits.ping_s
        if self.device is None or ping_s is None or self._pinged:
            return left
        until_ping = self._site.wall(ping_s) - silent
        if until_ping <= 0:
            self._pinged = self.send(Cmd.PING)
            return left
        return min(left, until_ping)

    def _limit(self) -> tuple[float, str]:
        """Device seconds that the session may be silent, and what it says when they are over."""
        if self.device is None:
            limit_s = self._site.limits.login_s
            return limit_s, f"no login within {limit_s:g} s"
        state = self.device.state
        limit_s = state.silence_limit_s
        return limit_s, f"silent for {limit_s} s, 2.3 heartbeats of {state.heartbeat_s} s"

    # Messages.

    def _handle(self, message: Frame) -> None:
        if message.id == 0:
            self._cut_off(f"{command_name(message.cmd)} with message id 0")
        elif self.device is None and message.cmd != Cmd.LOGIN:
            self._cut_off(f"{command_name(message.cmd)} before login")
        elif self.device is not None and self.device.manners.is_silent(time.monotonic()):
            return  # a fault of the cloud: as if nothing had come
        elif (rule := RULES.get(message.cmd)) is None:
            self._cut_off(f"{command_name(message.cmd)} is not for a device to send")
        else:
            self._heard, self._pinged = time.monotonic(), False
            flood = self._flood.one_more(self._heard * self._site.speed)
            if flood is not None and message.cmd != Cmd.RESPONSE:
                self._cut_off(flood)
                return
            rule(self, message)
            if self._site.is_old_news(self._told, self._heard) and not self._ended:
                self._say("heard", t=self._heard, what=command_name(message.cmd))

    def _login(self, message: Frame) -> None:
        token = message.parts[0] if message.parts else ""
        if self.device is not None:
            if self.device.token == token:
                self._answer(message, Status.ALREADY_REGISTERED)
            else:
                self._cut_off("a second login, with another token")
            return
        device = self._site.registry.by_token(token)
        if device is None:
            why = self._site.registry.turn_away(token, self.number)
            self._say("refused", why=why)
            self._cut_off(f"login refused: {why}")
            return
        if device.manners.is_silent(time.monotonic()):
            return
        if device.manners.refuses(time.monotonic()):
            self._turn_away(message, device)
            return
        if (place := device.manners.leads(self._door)) is not None:
            self._site.say("redirected", device, self.number, to=f"{place[0]}:{place[1]}")
            self._write(frame(Cmd.REDIRECT, message.id, place[0], str(place[1])))
            return
        self.device = device
        before = device.logged_in(self, self._started)
        if before is not None:
            before.close(f"replaced by session {self.number}")
        self._site.welcomed(self.number)
        self._say("login")
        self._answer(message)
        self._timer.look()
        device.answered()

    def _turn_away(self, message: Frame, device: Device) -> None:
        """No login, as a fault of the cloud has it."""
        status = device.manners.refuse_status
        self._site.say("refused", device, self.number, why=f"a fault of the cloud, status {status}")
        if status is not None:
            self._answer(message, status)
        self.close("login refused: a fault of the cloud")

    def _ping(self, message: Frame) -> None:
        self._answer(message)

    def _internal(self, message: Frame) -> None:
        parts = message.parts
        if not parts or not parts[0]:
            self._answer(message, Status.ILLEGAL_COMMAND)
        elif (request := REQUESTS.get(parts[0])) is not None:
            request(self, message)
        else:
            self._info(pairs(parts))
            self._answer(message)

    def _time(self, message: Frame) -> None:
        """``rtc``: seconds; ``utc NUL time``: milliseconds. The answer has the request's id."""
        what, *rest = message.parts
        if what == "rtc":
            self._reply(message, "rtc", str(int(time.time())))
        elif rest == ["time"]:
            self._reply(message, "utc", "time", str(int(time.time() * 1000)))
        else:
            self._answer(message)

    def _meta(self, message: Frame) -> None:
        """``meta NUL set NUL FIELD NUL VALUE``, or ``get NUL FIELD``: answered with the value."""
        assert self.device is not None
        match message.parts:
            case (_, "set", name, value) if _can_be_sent(message.parts):
                kept = self.device.meta.keep(name, value)
                self._say("meta", field=name, value=value)
                self._answer(message, Status.OK if kept else Status.QUOTA_LIMIT)
            case (_, "get", name):
                self._reply(message, "meta", name, self.device.meta.get(name, ""))
            case _:
                self._answer(message, Status.ILLEGAL_BODY)

    def _console(self, message: Frame) -> None:
        """What the device's console printed for a ``dbg`` command."""
        self._say("console", text="\n".join(message.parts[1:]))
        self._answer(message)

    def _store(self, message: Frame) -> None:
        """HARDWARE ``vw NUL PIN NUL VALUE…``: kept, so that SYNC and the HTTPS API know it."""
        assert self.device is not None
        match message.parts:
            case ("vw", pin, *values) if pin and values and _can_be_sent(message.parts):
                self.device.values.keep(pin, tuple(values))

    def _sync(self, message: Frame) -> None:
        """``vr NUL PIN…`` asks for these, an empty one for all: a HARDWARE for each known."""
        assert self.device is not None
        known = self.device.values
        for pin in message.parts[1:] or tuple(known):
            if pin in known:
                self._write(frame(Cmd.HARDWARE, message.id, "vw", pin, *known[pin]))

    def _info(self, info: Mapping[str, str]) -> None:
        assert self.device is not None
        now = time.monotonic()
        report = self.device.informed(info, self.number, now)
        self._say("info", t=now, pairs=dict(info))
        if report is not None:
            self._say("report", t=now, version=report.version, build=report.build,
                      fw_type=field(info, "fw_type"))  # fmt: skip
        self._timer.look()

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

    def _answer(self, message: Frame, status: int = Status.OK) -> None:
        self._write(response(message.id, status))

    def _reply(self, message: Frame, *parts: str) -> None:
        """An INTERNAL that answers one: with its id."""
        self._write(frame(Cmd.INTERNAL, message.id, *parts))

    def _write(self, message: Frame) -> None:
        slow_s = self.device.manners.slow_s if self.device is not None else 0.0
        if slow_s:
            asyncio.get_running_loop().call_later(slow_s, self._write_now, message)
        else:
            self._write_now(message)

    def _write_now(self, message: Frame) -> None:
        if self._transport is None or self._ended:
            return
        if self._answers is not None:
            self._answers += encode(message)
        else:
            self._transport.write(encode(message))

    def _send_answers(self) -> None:
        """Those to what came together go together: most of the time goes into sending."""
        answers, self._answers = self._answers, None
        if answers and self._transport is not None:
            self._transport.write(bytes(answers))

    def _say(self, kind: str, *, t: float | None = None, **data: object) -> None:
        self._told = time.monotonic() if t is None else t
        self._site.say(kind, self.device, self.number, t=t, **data)

    def _cut_off(self, why: str) -> None:
        if not self._ended:
            board = self.device.board if self.device else "not logged in"
            log.warning("cloud session %d (%s) cut off: %s", self.number, board, why)
        self._end("server", why)

    def _end(self, by: str, why: str) -> None:
        if self._ended:
            return
        self._ended = True
        self._timer.stop()
        if self.device is not None:
            self.device.logged_out(self)
        self._send_answers()
        if self._transport is not None:
            self._transport.close()
        self._say("closed", by=by, why=why)


def _can_be_sent(parts: Sequence[str]) -> bool:
    """Whether these fit a message again: bytes that were no UTF-8 have become three each."""
    return len("\0".join(parts).encode()) <= MAX_BODY_BYTES


def ota_bytes(request: OtaRequest) -> int:
    """Bytes of the message that tells a device of an update, header included."""
    return len(frame(Cmd.INTERNAL, 1, "ota", *request.url.split("\0")).body) + HEADER_BYTES


RULES: Final[Mapping[int, Callable[[Session, Frame], None]]] = {
    # What is not in facts of today's cloud follows the open-source blynk-server's HardwareHandler.
    Cmd.RESPONSE: Session._ignore,  # the answer to our `ota`, if the firmware sends one
    Cmd.LOGIN: Session._login,  # again: status 4 (blynk-server)
    Cmd.PING: Session._ping,  # 200 (BlynkProtocol.h waits for any byte)
    Cmd.INTERNAL: Session._internal,  # 200; empty: status 2 (blynk-server, BlynkInternalLogic)
    Cmd.EVENT_LOG: Session._event,  # 200
    Cmd.EVENT_CLEAR: Session._ping,  # 200
    Cmd.PROPERTY: Session._property,  # 200; fewer than three strings: 11 (SetWidgetPropertyLogic)
    Cmd.HARDWARE: Session._store,  # no answer (HardwareLogic)
    Cmd.HARDWARE_SYNC: Session._sync,  # one HARDWARE a stored value (HardwareSyncLogic)
    Cmd.BRIDGE: Session._ignore,  # would go to another device: there is none
    Cmd.GROUP: Session._ignore,
    Cmd.DEBUG_PRINT: Session._ignore,
}
"""What a logged-in device may send. Anything else breaks the protocol: REDIRECT is the cloud's."""

REQUESTS: Final[Mapping[str, Callable[[Session, Frame], None]]] = {
    # First strings of an INTERNAL that is no info (blynk-library, BlynkApi.h; `meta`: Edgent).
    "rtc": Session._time,
    "utc": Session._time,
    "meta": Session._meta,
    "dbg": Session._console,
    "ota": Session._ping,
    "vfs": Session._ping,
    "acon": Session._ping,
    "adis": Session._ping,
}
