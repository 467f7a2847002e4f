"""ESP-IDF's esp-mqtt: one client that connects for ever.

Rules of mqtt_client.c with its defaults: 10 s for a connection and its answer, 10 s until the next
try, a ping after half the keepalive, and silence for a whole one ends the session. A message of
QoS 1 that is not acknowledged is sent again each second. Handlers run in the client's own task:
while one works nothing is read, sent or pinged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.virtual.app import mqtt_packets as packets
from pytest_blynk_ota.virtual.app.dial import dial
from pytest_blynk_ota.virtual.app.mqtt_packets import Decoder, Kind, Message, MqttError
from pytest_blynk_ota.virtual.boot.bootlog import error, warning

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine
    from pytest_blynk_ota.virtual.network.tcp import Connection
    from pytest_blynk_ota.virtual.network.tls import Trust

NETWORK_TIMEOUT_S = 10.0
"""MQTT_NETWORK_TIMEOUT_MS."""
RECONNECT_S = 10.0
"""MQTT_RECON_DEFAULT_MS."""
KEEPALIVE_S = 120
"""MQTT_KEEPALIVE_TICK, where the sample asks for no other."""
RETRANSMIT_S = 1.0
BUFFER_BYTES = 1024
"""MQTT_BUFFER_SIZE_BYTE: a longer message comes in parts."""
TAG = "mqtt_client"
REFUSALS = {
    1: "Connection refused, bad protocol",
    2: "Connection refused, server unavailable",
    3: "Connection refused, server unavailable",
    4: "Connection refused, bad username or password",
    5: "Connection refused, not authorized",
}


@dataclass(frozen=True)
class Broker:
    """Where the client goes, and as whom."""

    host: str
    port: int
    user: str
    password: str
    trust: Trust | None = None


@dataclass(frozen=True)
class Handlers:
    """What the firmware does at each event (``MQTT_EVENT_…``)."""

    before_connect: Callable[[], None]
    connected: Callable[[], Awaitable[None]]
    data: Callable[[Message], Awaitable[None]]
    acknowledged: Callable[[Kind, int], None]
    disconnected: Callable[[], None]
    failed: Callable[[OSError | None], None]


class SessionOver(Exception):
    """Raised inside a session when it has to end; never leaves this module."""


class MqttClient:
    """One device's link to its broker. :meth:`halt` when the firmware ends."""

    def __init__(self, machine: Machine, log: Log, broker: Broker, handlers: Handlers) -> None:
        self._machine = machine
        self._clock = machine.clock
        self._log = log
        self.broker = broker
        self._on = handlers
        self._client_id = f"ESP32_{machine.chip.mac[3:].hex()}"
        self._connection: Connection | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self._decoder = Decoder()
        self._inbox: list[packets.Packet] = []
        self._unacknowledged: dict[int, Message] = {}
        self._last_number = 0
        self._last_in = self._last_out = self._last_sent_again = 0.0
        self._ping_sent = False

    async def run(self) -> NoReturn:
        """Connect, serve, wait, for ever; what a handler raises ends it."""
        while True:
            self._on.before_connect()
            if await self._connect():
                await self._serve()
            else:
                self._on.failed(None)
            self.close()
            self._on.disconnected()
            await self._clock.sleep(RECONNECT_S)

    async def publish(self, topic: str, payload: str) -> int:
        """Send at QoS 1; its number."""
        message = Message(topic, payload.encode(), 1, self._next_number())
        self._unacknowledged[message.number] = message
        self._last_sent_again = self._clock.now()
        await self._send(message.build())
        return message.number

    async def subscribe(self, topic: str) -> int:
        """Ask for what is sent to a filter; the number of the request."""
        number = self._next_number()
        await self._send(packets.subscribe(number, topic, 0))
        return number

    def close(self) -> None:
        """End the session with FIN."""
        self.halt()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def halt(self) -> None:
        """Stop reading and leave the connection as it stands: what a reset does."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _connect(self) -> bool:
        one = self.broker
        try:
            async with self._clock.within(self._clock.timeout(NETWORK_TIMEOUT_S)):
                self._connection = await dial(self._machine, one.host, one.port, one.trust)
        except OSError as failure:  # TimeoutError is one
            self._complain("Error transport connect")
            self._on.failed(failure)
            return False
        self._decoder, self._inbox, self._ping_sent = Decoder(), [], False
        self._last_in = self._last_out = self._clock.now()
        try:
            await self._send(packets.connect(self._client_id, one.user, one.password, KEEPALIVE_S))
            answer = await self._receive(NETWORK_TIMEOUT_S)
            if answer is None or answer.kind != Kind.CONNACK:
                self._complain("MQTT connect failed")
                return False
            if answer.return_code:
                text = REFUSALS.get(answer.return_code, "Connection refused, Unknown reason")
                self._log.idf([warning(TAG, text)])
                self._complain("MQTT connect failed")
                return False
        except (SessionOver, MqttError):
            self._complain("MQTT connect failed")
            return False
        return True

    async def _serve(self) -> None:
        """Until the session is over, which may be in what the handler sends first."""
        try:
            await self._on.connected()
            while True:
                packet = await self._receive(self._next_duty() - self._clock.now())
                if packet is not None:
                    await self._handle(packet)
                await self._duties()
        except SessionOver:
            return
        except MqttError:
            self._complain("mqtt_message_receive: deserialize failed")

    async def _handle(self, packet: packets.Packet) -> None:
        if packet.kind == Kind.PUBLISH:
            message = Message.parse(packet)
            if message.qos == 1:
                await self._send(packets.puback(message.number))
            room = max(BUFFER_BYTES - 7 - len(message.topic.encode()), 0)
            await self._on.data(replace(message, payload=message.payload[:room]))
        elif packet.kind in (Kind.PUBACK, Kind.SUBACK):
            self._unacknowledged.pop(packet.number, None)
            self._on.acknowledged(Kind(packet.kind), packet.number)
        elif packet.kind == Kind.PINGRESP:
            self._ping_sent = False

    def _next_duty(self) -> float:
        now = self._clock.now()
        ping = max(min(self._last_in, self._last_out) + KEEPALIVE_S / 2, now + RETRANSMIT_S)
        if not self._unacknowledged:
            return ping
        return min(ping, self._last_sent_again + self._patience(RETRANSMIT_S))

    def _patience(self, device_s: float) -> float:
        """Device seconds that are no shorter on the wall than a peer may take."""
        return self._clock.timeout(device_s) * self._clock.speed

    async def _duties(self) -> None:
        now = self._clock.now()
        if self._unacknowledged and now >= self._last_sent_again + self._patience(RETRANSMIT_S):
            self._last_sent_again = now
            for message in list(self._unacknowledged.values()):
                await self._send(replace(message, dup=True).build())
        if now - self._last_in > self._patience(KEEPALIVE_S):
            self._complain("No PING_RESP, disconnected")
            raise SessionOver
        if not self._ping_sent and now - min(self._last_in, self._last_out) >= KEEPALIVE_S / 2:
            self._ping_sent = True
            await self._send(packets.PINGREQ)

    async def _send(self, data: bytes) -> None:
        if self._connection is None:
            raise SessionOver
        try:
            async with self._clock.within(self._clock.timeout(NETWORK_TIMEOUT_S)):
                await self._connection.write(data)
        except OSError as broken:
            self._complain("Writing failed: errno=128")
            raise SessionOver from broken
        self._last_out = self._clock.now()

    async def _receive(self, seconds: float) -> packets.Packet | None:
        """The next packet; None after ``seconds`` device seconds. Raises SessionOver, MqttError."""
        if self._inbox:
            return self._inbox.pop(0)
        if self._connection is None:
            raise SessionOver
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._connection.read())
        await self._clock.first({self._reading}, max(seconds, 0.0) / self._clock.speed)
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        try:
            data = reading.result()
        except OSError as broken:
            raise SessionOver from broken
        if not data:
            raise SessionOver
        self._last_in = self._clock.now()
        self._inbox += self._decoder.feed(data)
        return self._inbox.pop(0) if self._inbox else None

    def _next_number(self) -> int:
        self._last_number = self._last_number % 0xFFFF + 1
        return self._last_number

    def _complain(self, text: str) -> None:
        self._log.idf([error(TAG, text)])
