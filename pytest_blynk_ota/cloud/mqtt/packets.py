"""The packets of MQTT that a device sends, whichever of the two versions it speaks.

Sources: OASIS MQTT Version 3.1.1 and 5.0, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from amqtt.mqtt import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
)

MAX_BYTES: Final = 1024
"""Of a message, variable header and payload (Blynk documentation, device-mqtt-api)."""
HEADER_BYTES: Final = 5
"""The longest fixed header."""
V3: Final = 4
"""Protocol level of version 3.1.1."""
V5: Final = 5
"""Protocol level of version 5."""


class Reason(IntEnum):
    """Reason codes of version 5; 3.1.1 has no word for most of them."""

    OK = 0x00
    WITH_WILL = 0x04
    NO_SUBSCRIPTION = 0x11
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    BAD_IDENTIFIER = 0x85
    BAD_CREDENTIALS = 0x86
    NOT_AUTHORIZED = 0x87
    UNAVAILABLE = 0x88
    KEEPALIVE_TIMEOUT = 0x8D
    BAD_FILTER = 0x8F
    BAD_TOPIC = 0x90
    TOO_LARGE = 0x95
    RATE_TOO_HIGH = 0x96
    ADMINISTRATIVE = 0x98
    NO_WILDCARD = 0xA2


class PacketError(Exception):
    """Raised when what came is no MQTT, or none that the cloud takes.

    Attributes:
        reason: in words.
        code: that version 5 has for it.
        packets: that were whole before it.
    """

    def __init__(self, reason: str, code: Reason, packets: Sequence[Packet] = ()) -> None:
        super().__init__(reason)
        self.reason, self.code, self.packets = reason, code, tuple(packets)


@dataclass(frozen=True, slots=True)
class Connect:
    """What a client says first; of a version that is neither 3.1.1 nor 5 only that.

    Attributes:
        level: the protocol level; 0 where the protocol has another name.
        will: topic and payload of what is to be published if the client vanishes.
    """

    level: int
    client: str = ""
    user: str | None = None
    password: str | None = None
    keepalive_s: int = 0
    clean: bool = True
    will: tuple[str, bytes] | None = None

    def __repr__(self) -> str:
        return f"<CONNECT level {self.level}>"  # the rest may hold a token


@dataclass(frozen=True, slots=True)
class Publish:
    """A message; ``number`` is 0 at QoS 0."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Filters, each with the QoS that is asked for."""

    number: int
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Filters that are wanted no more."""

    number: int
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""

    kind: int
    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    """PINGREQ."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The client goes on purpose; its will is for naught, unless it says so."""

    with_will: bool = False


Packet = Connect | Publish | Subscribe | Unsubscribe | Ack | Ping | Disconnect

NAMES: Final[Mapping[int, str]] = {
    CONNECT: "CONNECT", PUBLISH: "PUBLISH", PUBACK: "PUBACK", PUBREC: "PUBREC", PUBREL: "PUBREL",
    PUBCOMP: "PUBCOMP", SUBSCRIBE: "SUBSCRIBE", UNSUBSCRIBE: "UNSUBSCRIBE", PINGREQ: "PINGREQ",
    DISCONNECT: "DISCONNECT",
}  # fmt: skip
"""What a client may send."""
FLAGS: Final[Mapping[int, int]] = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
"""The low four bits of the first byte, where they are not 0 (3.1.1, table 2.2)."""
ACKS: Final = (PUBACK, PUBREC, PUBREL, PUBCOMP)
