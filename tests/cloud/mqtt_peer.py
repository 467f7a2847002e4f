"""A raw MQTT 3.1.1 device for the tests of the cloud."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import suppress

from cloud_peer import PATIENCE_S, TOKEN, Cloud

from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.virtual.app import mqtt_packets as packets
from pytest_blynk_ota.virtual.app.mqtt_packets import Decoder, Kind, Message, Packet

INFO = {"tmpl": "TMPLtest", "ver": "1.2.3", "build": "Nov 23 2026 17:29:49", "type": "TMPLtest",
        "rxbuff": 1024}  # fmt: skip
MQTT, MQTTS, TCP, TLS = Door("mqtt"), Door("mqtts"), Door("tcp"), Door("tls")


def text(words: str) -> bytes:
    return struct.pack("!H", len(words.encode())) + words.encode()


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        length.append(size & 0x7F | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes([kind << 4 | flags]) + bytes(length) + body


def connect(
    token: str | None = TOKEN, *, client: str = "c", user: str | None = "device", level: int = 4,
    name: str = "MQTT", keepalive: int = 45, clean: bool = True, extra_flags: int = 0,
    will: tuple[str, str] | None = None,
) -> bytes:  # fmt: skip
    """A CONNECT with whatever is wrong."""
    flags = extra_flags | clean << 1 | (user is not None) << 7 | (token is not None) << 6
    body = b"" if will is None else text(will[0]) + text(will[1])
    flags |= 0x04 if will else 0
    body += b"".join(text(one) for one in (user, token) if one is not None)
    v5 = b"\0" if level == 5 else b""
    head = text(name) + bytes([level, flags]) + struct.pack("!H", keepalive)
    return packet(1, head + v5 + text(client) + (v5 if will else b"") + body)


def publish(topic: str, payload: str | bytes = b"", qos: int = 0, number: int = 0) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return Message(topic, data, qos, number).build()


class Device:
    """The device's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = Decoder()
        self._inbox: list[Packet] = []

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    async def receive(self) -> Packet:
        async with asyncio.timeout(PATIENCE_S):
            while not self._inbox:
                data = await self.reader.read(4096)
                assert data, "the cloud closed the connection"
                self._inbox += self._decoder.feed(data)
        return self._inbox.pop(0)

    async def message(self) -> Message:
        got = await self.receive()
        assert got.kind == Kind.PUBLISH, got
        return Message.parse(got)

    async def diag(self) -> str:
        got = await self.message()
        assert (got.topic, got.qos) == ("downlink/diag", 0)
        return got.payload.decode()

    async def closed(self) -> bytes:
        """Wait for the end of the connection; returns what came before it."""
        got = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while data := await self.reader.read(4096):
                    got += data
        self.writer.close()
        return got

    async def subscribe(self, wanted: str, qos: int = 0, number: int = 1) -> int:
        self.send(packets.subscribe(number, wanted, qos))
        answer = await self.receive()
        assert (answer.kind, answer.body[:2]) == (Kind.SUBACK, struct.pack("!H", number))
        return answer.body[2]

    async def alive(self) -> bool:
        self.send(packets.PINGREQ)
        return (await self.receive()).kind == Kind.PINGRESP

    async def inform(self, **changes: object) -> None:
        self.send(publish("info/mcu", json.dumps(INFO | changes), 1, 77))
        assert (await self.receive()).number == 77

    def leave(self) -> None:
        self.writer.close()


async def reach(cloud: Cloud, kind: str = "mqtt") -> Device:
    return Device(*await asyncio.open_connection(*cloud.server.address_of(kind)))


async def login(cloud: Cloud, token: str = TOKEN, **options) -> Device:
    device = await reach(cloud)
    device.send(connect(token, **options))
    answer = await device.receive()
    assert (answer.kind, answer.body) == (Kind.CONNACK, b"\0\0")
    return device
