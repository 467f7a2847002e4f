"""What version 5 has more than 3.1.1: properties, which paho-mqtt reads, and reason codes.

No property changes what the cloud does, so they are read, and cut out.
"""

from __future__ import annotations

import struct
from typing import Final

from amqtt.mqtt import CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from pytest_blynk_ota.cloud.mqtt.packets import ACKS, NAMES, PacketError, Reason

FLAGS_AT: Final = 7
"""Where the flags stand in a CONNECT."""
WILL_FLAG: Final = 0x04
CONNECT_BYTES: Final = 10
"""Name, level, flags and keepalive of a CONNECT."""


def without_properties(kind: int, flags: int, body: bytes) -> tuple[bytes, int]:
    """The packet as 3.1.1 would have it, and its reason code."""
    try:
        if kind == CONNECT:
            return _connect_without(body), 0
        if kind == PUBLISH:
            return _cut(kind, body, _text_end(body, 0) + (2 if flags & 0b110 else 0)), 0
        if kind in (SUBSCRIBE, UNSUBSCRIBE):
            return _cut(kind, body, 2), 0
        if kind in ACKS or kind == DISCONNECT:
            size = 0 if kind == DISCONNECT else 2
            kept, rest = body[:size], body[size:]
            if len(rest) > 1 and _cut(kind, rest, 1) != rest[:1]:
                raise ValueError("bytes after the properties")
            return kept, rest[0] if rest else 0
        return body, 0
    except (MQTTException, ValueError, KeyError, IndexError, struct.error) as error:
        # Not its words: a property may hold anything.
        raise PacketError(
            f"{NAMES[kind]} with properties that cannot be read", Reason.MALFORMED
        ) from error


def _connect_without(body: bytes) -> bytes:
    body = _cut(CONNECT, body, CONNECT_BYTES)
    has_will = body[FLAGS_AT] & WILL_FLAG
    return _cut(PacketTypes.WILLMESSAGE, body, _text_end(body, CONNECT_BYTES)) if has_will else body


def _text_end(body: bytes, at: int) -> int:
    """Where the text that begins at ``at`` ends."""
    return at + 2 + int(struct.unpack_from("!H", body, at)[0])


def _cut(kind: int, body: bytes, at: int) -> bytes:
    """The body without the properties that stand at ``at``."""
    properties = Properties(kind)
    _, size = properties.unpack(body[at:])
    if len(properties.pack()) != size or hasattr(properties, "TopicAlias"):
        raise ValueError("properties that are cut, or the alias of a topic, which we allow none of")
    return body[:at] + body[at + size :]
