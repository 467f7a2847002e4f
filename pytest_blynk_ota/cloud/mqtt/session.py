"""One device on MQTT, from its CONNECT to its end.

The rules, in order:

1. The first packet is CONNECT, whole within the time of :class:`~.site.Limits`. User ``device``
   with a token that the rig gave out is let in. Any other gets the refusal that MQTT has for it: no
   client of Blynk's samples goes into a configuration mode for that, they report it or try again.
2. A login ends the session that the same device had before, whatever it spoke.
3. What a device publishes goes to :class:`~.uplinks.Uplinks` and to no other device. Where that
   does nothing with it, it is acknowledged all the same (3.1.1 has no other answer), the reason is
   on record as ``cloud/diag``, and the device is told on ``downlink/diag``.
4. A filter that is not allowed is refused in the SUBACK, and the same is done.
5. Silence of more than 1.5 keepalives ends the session, and so do too many messages.
6. A packet that breaks the protocol ends this session and no other.
7. A device that goes without DISCONNECT has its will done, as if it had published it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from amqtt.mqtt import PUBACK, PUBCOMP, PUBREC, PUBREL

from pytest_blynk_ota.cloud.device import Device
from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.cloud.mqtt import orders, writing
from pytest_blynk_ota.cloud.mqtt.login import refusal
from pytest_blynk_ota.cloud.mqtt.packets import (
    Ack,
    Connect,
    Disconnect,
    Packet,
    PacketError,
    Ping,
    Publish,
    Reason,
    Subscribe,
    Unsubscribe,
)
from pytest_blynk_ota.cloud.mqtt.reading import Decoder
from pytest_blynk_ota.cloud.mqtt.topics import PING, UNASKED, matches, wrong_filter
from pytest_blynk_ota.cloud.mqtt.uplinks import NotTaken, Uplinks, known
from pytest_blynk_ota.cloud.protocol import Status
from pytest_blynk_ota.cloud.site import Flood, Site, Timer

MAX_UNREAD_BYTES: Final = 1 << 16
"""A device for which more than this waits unread is cut off."""
MAX_FILTERS: Final = 64
"""Filters that one session may hold. Our choice."""
MAX_HALF_DONE: Final = 64
"""Messages of QoS 2 that may wait for their PUBREL. Our choice."""
KEEPALIVE_FACTOR: Final = 1.5
"""Silence of more keepalives than this ends a session ([MQTT-3.1.2-24])."""
REFUSALS: Final[Mapping[int, Reason]] = {Status.INVALID_TOKEN: Reason.BAD_CREDENTIALS}
"""What MQTT has for a status of the binary protocol with which a fault refuses a login."""

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # silent where nobody has set logging up


class Wire(Protocol):
    """What carries the packets: a connection, or a WebSocket in one."""

    def write(self, data: bytes) -> None:
        """Send this, some time."""

    def close(self) -> None:
        """End it when everything is sent."""

    def abort(self) -> None:
        """Drop it."""


class MqttSession:
    """One connection of one device.

    Args:
        number: unique on this server.
        site: what it shares with the other connections.
        started: monotonic host seconds at which the connection was opened.
        scheme: ``mqtt``, ``mqtts``, ``ws`` or ``wss``.
        elsewhere: whether it came in at a door that stands for another host.
    """

    def __init__(
        self, number: int, site: Site, started: float, scheme: str, wire: Wire,
        elsewhere: bool = False,
    ) -> None:  # fmt: skip
        self._door = Door(scheme, elsewhere=elsewhere)
        self.number = number
        self.device: Device | None = None
        self._site = site
        self._scheme = scheme
        self._wire = wire
        self._decoder = Decoder()
        self._uplinks: Uplinks | None = None
        self._started = self._heard = self._told = started
        self._keepalive_s = 0
        self._will: tuple[str, bytes] | None = None
        self._filters: dict[str, int] = {}
        self._half_done: set[int] = set()
        self._sent: dict[int, str] = {}
        self._last_number = 0
        self._pinged = False
        self._flood = Flood(site.limits)
        self._timer = Timer(self._watch)
        self._ended = False
        self._timer.look()

    # What the wire calls.

    def receive(self, data: bytes) -> None:
        """Handle each packet that is now whole."""
        if self._ended:
            return
        broken: PacketError | None = None
        try:
            packets = self._decoder.feed(data)
        except PacketError as error:
            packets, broken = list(error.packets), error
        for packet in packets:
            self._handle(packet)
            if self._ended:
                return
        if broken is not None:
            self.cut_off(broken.reason, broken.code)

    def unread(self) -> None:
        """The device does not read what it is sent."""
        self.cut_off(f"more than {MAX_UNREAD_BYTES} bytes wait for the device to read them")
        self.abort()

    def gone(self, exc: Exception | None) -> None:
        """The connection is lost."""
        pending = self._decoder.pending
        where = f" inside a packet, {pending} bytes of it" if pending else ""
        if exc is None:
            self._end("device", f"closed without DISCONNECT{where}")
        elif isinstance(exc, OSError):
            self._end("device", f"{exc.strerror or exc}{where}")
        else:
            self._end("server", f"fault of the server: {exc!r}")

    # What the server calls, on its loop.

    def ota_bytes(self, request: OtaRequest) -> int:
        """Bytes of the message that :meth:`send_ota` would send."""
        return writing.publish_bytes(orders.ota(request))

    def send_ota(self, request: OtaRequest) -> bool:
        """Publish ``downlink/ota/json``; False if the session is over, or has not said what it is.

        A device that has not published ``info/mcu`` on this connection gets no update (Blynk
        documentation: it MUST send it for Blynk.Air).
        """
        if self._uplinks is None or self._ended:
            return False
        if not self._uplinks.informed:
            self._say("ota_withheld", offer=request.name,
                      why="no info/mcu of the device on this connection")  # fmt: skip
            return False
        if not self._publish(orders.ota(request)):
            return False
        self._say("ota_sent", offer=request.name, url=request.url)
        return True

    def send_command(self, command: str) -> bool:
        """One of :data:`~.orders.COMMANDS`; False if the session is over, or it has not subscribed.

        Raises:
            UsageError: it is none of them.
        """
        return self._publish(orders.command(self._board, command))

    def send_value(self, name: str, values: tuple[str, ...]) -> bool:
        """Publish the value below ``downlink/ds/``; False if it has not subscribed."""
        return self.downlink(f"downlink/ds/{name}", "\0".join(values))

    def redirect(self, host: str, port: int) -> bool:
        """Send the device to another server, by the door that it came in at."""
        return self._publish(orders.redirect(self._scheme, host, port))

    def downlink(self, topic: str, payload: str) -> bool:
        """Publish to the device; False if the session is over, or it has not subscribed."""
        return self._publish(Publish(topic, payload.encode()))

    def close(self, why: str) -> None:
        """End the session for a reason that is no fault of the device."""
        self._end("server", why, Reason.ADMINISTRATIVE)

    def abort(self) -> None:
        """Drop the connection with whatever waits to be sent."""
        self._wire.abort()

    def cut_off(self, why: str, code: Reason = Reason.PROTOCOL_ERROR) -> None:
        """End the session for something that the device did."""
        if not self._ended:
            log.warning("cloud session %d (%s, MQTT) cut off: %s", self.number, self._board, why)
        self._end("server", why, code)

    # Time.

    def _watch(self) -> float | None:
        """Close if the time is over, ping if it is time to; wall seconds until the next look."""
        if self._ended:
            return None
        silent = time.monotonic() - self._heard
        limit = self._limit()
        left = self._site.wall(limit[0]) - silent if limit else None
        if limit and left is not None and left <= 0:
            self.cut_off(limit[1], Reason.KEEPALIVE_TIMEOUT)
            return None
        ping_s = self._site.limits.ping_s
        if self.device is None or ping_s is None or self._pinged:
            return left
        until_ping = self._site.wall(ping_s) - silent
        if until_ping <= 0:
            self._pinged = True
            self._publish(orders.command(self._board, "ping"))
            return left
        return until_ping if left is None else min(left, until_ping)

    def _limit(self) -> tuple[float, str] | None:
        """Device seconds that the session may be silent, and what it says when they are over."""
        if self.device is None:
            limit_s = self._site.limits.login_s
            return limit_s, f"no login within {limit_s:g} s"
        if not self._keepalive_s:
            return None  # the client has turned it off (3.1.1, 3.1.2.10)
        limit_s = KEEPALIVE_FACTOR * self._keepalive_s
        return limit_s, f"silent for {limit_s:g} s, 1.5 keepalives of {self._keepalive_s} s"

    # Packets.

    def _handle(self, packet: Packet) -> None:
        name = type(packet).__name__.upper()
        if self.device is None and not isinstance(packet, Connect):
            self.cut_off(f"{name} before CONNECT")
            return
        if self._is_silent(self.device):
            return  # a fault of the cloud: as if nothing had come
        if self.device is not None:  # the time for a login does not begin again
            self._heard, self._pinged = time.monotonic(), False
        flood = self._flood.one_more(time.monotonic() * self._site.speed)
        if flood is not None and not isinstance(packet, Ack | Disconnect):
            self.cut_off(flood, Reason.RATE_TOO_HIGH)
            return
        HANDLERS[type(packet)](self, packet)
        now = time.monotonic()
        if self.device is not None and not self._ended and self._site.is_old_news(self._told, now):
            self._say("heard", t=now, what=name)

    def _connect(self, asked: Connect) -> None:
        if self.device is not None:
            self.cut_off("a second CONNECT")
            return
        refused = refusal(asked)
        device = None if refused else self._site.registry.by_token(asked.password or "")
        if device is None:
            code, why = refused or (Reason.BAD_CREDENTIALS, self._unknown(asked.password or ""))
            self._say("refused", why=why)
            self._write(writing.connack(min(asked.level, 5), code))
            self._write_no_more(f"login refused: {why}")
        elif device.manners.refuses(time.monotonic()):
            self._turn_away(device, asked.level)
        elif not self._is_silent(device):
            self._let_in(device, asked)

    def _unknown(self, token: str) -> str:
        return self._site.registry.turn_away(token, self.number)

    def _turn_away(self, device: Device, level: int) -> None:
        """No login, as a fault of the cloud has it."""
        status = device.manners.refuse_status
        self._site.say("refused", device, self.number, why=f"a fault of the cloud, status {status}")
        if status is not None:
            self._write(writing.connack(level, REFUSALS.get(status, Reason.UNAVAILABLE)))
        self.close("login refused: a fault of the cloud")

    def _let_in(self, device: Device, asked: Connect) -> None:
        self.device = device
        self._heard = time.monotonic()
        self._keepalive_s = asked.keepalive_s
        before = device.logged_in(self, self._started)
        if before is not None:
            before.close(f"replaced by session {self.number}")
        self._site.welcomed(self.number)
        self._say("login", protocol=f"MQTT {'3.1.1' if asked.level < 5 else '5'}",
                  scheme=self._scheme)  # fmt: skip
        self._uplinks = Uplinks(device, self.number, asked.keepalive_s, self._say, self.downlink)
        assigned = "" if asked.client else f"session-{self.number}"
        self._write(writing.connack(asked.level, Reason.OK, assigned))
        if not asked.clean:
            self._complain("only clean sessions are kept: this is one")
        if asked.will is not None and not known(asked.will[0]):
            self._complain(f"a will on {asked.will[0]!r}, where a device does not publish: dropped")
        else:
            self._will = asked.will
        self._timer.look()
        device.answered()
        if (place := device.manners.leads(self._door)) is not None:
            self._say("redirected", to=f"{place[0]}:{place[1]}")
            self.redirect(*place)

    def _message(self, message: Publish) -> None:
        code = Reason.OK
        if message.number not in self._half_done:
            if message.qos == 2:
                self._half_done.add(message.number)
            code = self._take(message.topic, message.payload)
        if len(self._half_done) > MAX_HALF_DONE:
            self.cut_off(f"more than {MAX_HALF_DONE} messages of QoS 2 that are half done")
        elif message.qos:
            kind = PUBACK if message.qos == 1 else PUBREC
            failed = code if message.qos == 1 else Reason.OK
            self._write(writing.ack(self._decoder.level, kind, message.number, failed))

    def _take(self, topic: str, payload: bytes) -> Reason:
        assert self._uplinks is not None
        try:
            self._uplinks.take(topic, payload)
        except NotTaken as why:
            self._complain(str(why))
            return Reason.BAD_TOPIC
        return Reason.OK

    def _acknowledged(self, packet: Ack) -> None:
        if packet.kind == PUBREL:
            self._half_done.discard(packet.number)
            self._write(writing.ack(self._decoder.level, PUBCOMP, packet.number))
        elif packet.kind == PUBACK:
            if self._sent.pop(packet.number, "") == PING:
                self._say("pong")
        else:
            self.cut_off("the acknowledgement of a message of QoS 2, and none was sent")

    def _subscribe(self, packet: Subscribe) -> None:
        codes: list[int] = []
        for text, qos in packet.filters:
            wrong = wrong_filter(text)
            if wrong is None and text not in self._filters and len(self._filters) >= MAX_FILTERS:
                wrong = Reason.NOT_AUTHORIZED, f"more than {MAX_FILTERS} filters"
            if wrong is None:
                self._filters[text] = min(qos, 1)
                codes.append(self._filters[text])
            else:
                codes.append(wrong[0])
                self._complain(f"subscription to {text!r} refused: {wrong[1]}")
        self._write(writing.suback(self._decoder.level, packet.number, codes))

    def _unsubscribe(self, packet: Unsubscribe) -> None:
        codes = [
            Reason.NO_SUBSCRIPTION if self._filters.pop(text, None) is None else Reason.OK
            for text in packet.filters
        ]
        self._write(writing.unsuback(self._decoder.level, packet.number, codes))

    def _ping(self, _: Ping) -> None:
        self._write(writing.pingresp())

    def _disconnect(self, packet: Disconnect) -> None:
        if not packet.with_will:
            self._will = None
        self._end("device", "DISCONNECT")

    # Output and end.

    def _publish(self, message: Publish) -> bool:
        """Send it with the QoS that it has by its topic and by the subscription."""
        if self._ended or self.device is None or self._is_silent(self.device):
            return False
        qos = [qos for text, qos in self._filters.items() if matches(text, message.topic)]
        if message.topic in UNASKED:
            qos = [0]
        elif not qos:
            return False
        if message.topic == PING:
            qos = [1]
        self._send(Publish(message.topic, message.payload, max(qos), self._next(max(qos), message)))
        return True

    def _next(self, qos: int, message: Publish) -> int:
        """A packet identifier, if the message needs one."""
        if not qos:
            return 0
        self._last_number = self._last_number % 0xFFFF + 1
        self._sent[self._last_number] = message.topic
        return self._last_number

    def _send(self, message: Publish) -> None:
        self._write(writing.publish(self._decoder.level, message))

    def _complain(self, why: str) -> None:
        """Note what the device should not have done, and tell it."""
        log.warning("cloud session %d (%s, MQTT): %s", self.number, self._board, why)
        self._say("diag", why=why)
        self._publish(orders.diag(why))

    @property
    def _board(self) -> str:
        return self.device.board if self.device else "not logged in"

    def _is_silent(self, device: Device | None) -> bool:
        return device is not None and device.manners.is_silent(time.monotonic())

    def _write(self, data: bytes) -> None:
        slow_s = self.device.manners.slow_s if self.device is not None else 0.0
        if slow_s:
            asyncio.get_running_loop().call_later(slow_s, self._write_now, data)
        else:
            self._write_now(data)

    def _write_now(self, data: bytes) -> None:
        if not self._ended:
            self._wire.write(data)

    def _say(self, kind: str, *, t: float | None = None, **data: object) -> None:
        self._told = time.monotonic() if t is None else t
        self._site.say(kind, self.device, self.number, t=t, **data)

    def _write_no_more(self, why: str) -> None:
        """The last word was a CONNACK: no DISCONNECT after it ([MQTT-3.14.0-1] of version 5)."""
        log.warning("cloud session %d (%s, MQTT) cut off: %s", self.number, self._board, why)
        self._end("server", why)

    def _end(self, by: str, why: str, code: Reason | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if code is not None and self.device is not None:
            self._wire.write(writing.disconnect(self._decoder.level, code))
        self._timer.stop()
        if self._will is not None:
            self._take(*self._will)
        if self.device is not None:
            self.device.logged_out(self)
        self._wire.close()
        self._say("closed", by=by, why=why)


HANDLERS: Final[Mapping[type[Any], Callable[[MqttSession, Any], None]]] = {
    Connect: MqttSession._connect,
    Publish: MqttSession._message,
    Ack: MqttSession._acknowledged,
    Subscribe: MqttSession._subscribe,
    Unsubscribe: MqttSession._unsubscribe,
    Ping: MqttSession._ping,
    Disconnect: MqttSession._disconnect,
}
"""What is done with each packet."""
