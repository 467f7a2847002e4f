"""MQTT 3.1.1 packets, the client's half: bytes out, packets in; no I/O.

Source: OASIS MQTT Version 3.1.1, sections 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

LONGEST = 268_435_455
"""Remaining length: four bytes of seven bits."""
PROTOCOL = b"\x00\x04MQTT\x04"
CLEAN, HAS_PASSWORD, HAS_USER = 0x02, 0x40, 0x80
"""Connect flags."""


class MqttError(Exception):
    """Raised when what came is no MQTT 3.1.1."""


class Kind(IntEnum):
    """Control packet types that a client meets."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


@dataclass(frozen=True, slots=True)
class Packet:
    """One control packet: type, the four flag bits, and what follows the length."""

    kind: int
    flags: int
    body: bytes

    @property
    def number(self) -> int:
        """The packet identifier of a PUBACK or SUBACK. Raises MqttError if it is cut."""
        if len(self.body) < 2:
            raise MqttError(f"packet type {self.kind} without an identifier")
        return int.from_bytes(self.body[:2], "big")

    @property
    def return_code(self) -> int:
        """Of a CONNACK. Raises MqttError if it is cut."""
        if len(self.body) != 2:
            raise MqttError(f"CONNACK of {len(self.body)} bytes")
        return self.body[1]


@dataclass(frozen=True, slots=True)
class Message:
    """An application message; ``number`` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    number: int = 0
    dup: bool = False
    retain: bool = False

    @classmethod
    def parse(cls, packet: Packet) -> Message:
        """Read a PUBLISH. Raises MqttError."""
        qos = packet.flags >> 1 & 0b11
        if qos == 3 or len(packet.body) < 2:
            raise MqttError("PUBLISH with QoS 3 or without a topic")
        end = 2 + int.from_bytes(packet.body[:2], "big")
        start = end + (2 if qos else 0)
        if start > len(packet.body):
            raise MqttError("PUBLISH that is cut")
        try:
            topic = packet.body[2:end].decode()
        except UnicodeDecodeError as wrong:
            raise MqttError("PUBLISH whose topic is no UTF-8") from wrong
        number = int.from_bytes(packet.body[end:start], "big")
        dup, retain = bool(packet.flags & 8), bool(packet.flags & 1)
        return cls(topic, packet.body[start:], qos, number, dup, retain)

    def build(self) -> bytes:
        """The PUBLISH."""
        number = struct.pack(">H", self.number) if self.qos else b""
        flags = self.dup << 3 | self.qos << 1 | self.retain
        return _packet(Kind.PUBLISH, _text(self.topic) + number + self.payload, flags)


def connect(client: str, user: str, password: str, keepalive_s: int) -> bytes:
    """A CONNECT with a clean session."""
    head = PROTOCOL + struct.pack(">BH", CLEAN | HAS_USER | HAS_PASSWORD, keepalive_s)
    return _packet(Kind.CONNECT, head + _text(client) + _text(user) + _text(password))


def subscribe(number: int, topic: str, qos: int) -> bytes:
    """A SUBSCRIBE to one filter."""
    return _packet(Kind.SUBSCRIBE, struct.pack(">H", number) + _text(topic) + bytes([qos]), 0b0010)


def puback(number: int) -> bytes:
    """The answer to a message of QoS 1."""
    return _packet(Kind.PUBACK, struct.pack(">H", number))


PINGREQ = bytes([Kind.PINGREQ << 4, 0])
DISCONNECT = bytes([Kind.DISCONNECT << 4, 0])


class Decoder:
    """Cuts a stream into packets."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are whole with ``data``. Raises MqttError."""
        self._data += data
        while (length := self._length()) is not None:
            size, start = length
            if len(self._data) < start + size:
                return
            first, body = self._data[0], self._data[start : start + size]
            self._data = self._data[start + size :]
            yield Packet(first >> 4, first & 0x0F, body)

    def _length(self) -> tuple[int, int] | None:
        """Remaining length, and where what it counts begins."""
        size = 0
        for place, byte in enumerate(self._data[1:5]):
            size |= (byte & 0x7F) << 7 * place
            if not byte & 0x80:
                return size, place + 2
        if len(self._data) >= 5:
            raise MqttError("a remaining length of more than four bytes")
        return None


def _packet(kind: Kind, body: bytes, flags: int = 0) -> bytes:
    size, length = len(body), bytearray()
    if size > LONGEST:
        raise MqttError(f"a packet of {size} bytes")
    while True:
        more = size >> 7
        length.append(size & 0x7F | (0x80 if more else 0))
        size = more
        if not size:
            return bytes([kind << 4 | flags]) + bytes(length) + body


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 0xFFFF:
        raise MqttError(f"a text of {len(raw)} bytes")
    return struct.pack(">H", len(raw)) + raw
