"""Builds what the cloud sends over MQTT, in the version that the device speaks; no I/O."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from amqtt.mqtt import (
    CONNACK,
    DISCONNECT,
    PUBLISH,
    SUBACK,
    UNSUBACK,
    MQTTFixedHeader,
    PingRespPacket,
    PublishPacket,
)
from paho.mqtt.properties import Properties

from pytest_blynk_ota.cloud.mqtt.packets import (
    FLAGS,
    HEADER_BYTES,
    MAX_BYTES,
    V5,
    Publish,
    Reason,
)

RETURN_CODES: Final[Mapping[Reason, int]] = {
    # What a CONNACK of 3.1.1 says for these (3.1.1, table 3.1).
    Reason.OK: 0,
    Reason.UNSUPPORTED_VERSION: 1,
    Reason.BAD_IDENTIFIER: 2,
    Reason.UNAVAILABLE: 3,
    Reason.BAD_CREDENTIALS: 4,
}
SUBSCRIPTION_FAILED: Final = 0x80
"""What a SUBACK of 3.1.1 says, whatever the reason (3.1.1, 3.9.3)."""


def connack(level: int, code: Reason, assigned: str = "") -> bytes:
    """The answer to a CONNECT.

    Args:
        assigned: the identifier of a client that has none; version 5 wants to be told.
    """
    if level < V5:
        return _built(CONNACK, bytes([0, RETURN_CODES[code]]))
    properties = Properties(CONNACK)
    if code is Reason.OK:
        properties.SessionExpiryInterval = 0  # clean sessions only
        properties.MaximumPacketSize = MAX_BYTES + HEADER_BYTES
        properties.RetainAvailable = 0
        if assigned:
            properties.AssignedClientIdentifier = assigned
    return _built(CONNACK, bytes([0, code]) + properties.pack())


def publish(level: int, message: Publish) -> bytes:
    """A message for the device."""
    number = message.number if message.qos else None
    packet = PublishPacket.build(
        message.topic, message.payload, number, dup_flag=False, qos=message.qos, retain=False
    )
    if level < V5:
        return bytes(packet.to_bytes())
    assert packet.variable_header is not None
    head = bytes(packet.variable_header.to_bytes())
    return _built(PUBLISH, head + b"\0" + message.payload, packet.fixed_header.flags)


def publish_bytes(message: Publish) -> int:
    """Bytes of a message's variable header and payload, without version 5's properties."""
    return 2 + len(message.topic.encode()) + (2 if message.qos else 0) + len(message.payload)


def ack(level: int, kind: int, number: int, code: Reason = Reason.OK) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP; 3.1.1 knows no code."""
    rest = bytes([code]) if level >= V5 and code else b""
    return _built(kind, struct.pack("!H", number) + rest, FLAGS.get(kind, 0))


def suback(level: int, number: int, codes: Sequence[int]) -> bytes:
    """The answer to a SUBSCRIBE: a QoS or a :class:`Reason` for each filter."""
    if level < V5:
        codes = [code if code <= 2 else SUBSCRIPTION_FAILED for code in codes]
    head = struct.pack("!H", number) + (b"\0" if level >= V5 else b"")
    return _built(SUBACK, head + bytes(codes))


def unsuback(level: int, number: int, codes: Sequence[int]) -> bytes:
    """The answer to an UNSUBSCRIBE; 3.1.1 says only that it was read."""
    rest = b"\0" + bytes(codes) if level >= V5 else b""
    return _built(UNSUBACK, struct.pack("!H", number) + rest)


def pingresp() -> bytes:
    """The answer to a PINGREQ."""
    return bytes(PingRespPacket().to_bytes())


def disconnect(level: int, code: Reason) -> bytes:
    """Why the cloud ends the session; 3.1.1 has no such word, and gets none."""
    return _built(DISCONNECT, bytes([code])) if level >= V5 else b""


def _built(kind: int, body: bytes, flags: int = 0) -> bytes:
    return bytes(MQTTFixedHeader(kind, flags, len(body)).to_bytes()) + body
