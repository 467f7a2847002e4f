"""Reads what a device sends over MQTT: bytes in, packets out; no I/O.

amqtt's classes read the packets. They are lenient, so each packet is built again from what was read
of it, and must come out as it came in. amqtt knows 3.1.1 only: a packet of version 5 is one of
3.1.1 with a list of properties inside (:mod:`~.version5`), and what is left goes the same way.
"""

from __future__ import annotations

import struct
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBLISH,
    UNSUBSCRIBE,
    MQTTFixedHeader,
    packet_class,
)

from pytest_blynk_ota.cloud.mqtt.packets import (
    ACKS,
    FLAGS,
    HEADER_BYTES,
    MAX_BYTES,
    NAMES,
    V3,
    V5,
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
from pytest_blynk_ota.cloud.mqtt.version5 import without_properties

NAME: Final = b"\0\4MQTT"
"""How a CONNECT begins; the protocol level is next."""

T = TypeVar("T")


class Decoder:
    """Cuts a stream into packets.

    Attributes:
        level: the protocol level that the CONNECT has named; until then 3.1.1's.
        pending: bytes of a packet that is not whole.
    """

    def __init__(self) -> None:
        self.level = V3
        self._data = b""

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not whole."""
        return len(self._data)

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole with ``data``.

        Raises:
            PacketError: one breaks the protocol; it holds those before it.
        """
        self._data += data
        packets: list[Packet] = []
        try:
            while (whole := self._next()) is not None:
                packets.append(self._packet(*whole))
        except PacketError as error:
            raise PacketError(error.reason, error.code, packets) from error
        return packets

    def _next(self) -> tuple[int, int, bytes] | None:
        """Kind, flags and body of the next packet, if it is whole."""
        reader = _Bytes(self._data[:HEADER_BYTES])
        try:
            header = _now(MQTTFixedHeader.from_stream(reader))
        except MQTTError as error:
            raise PacketError(
                "a remaining length of more than four bytes", Reason.MALFORMED
            ) from error
        if header is None:
            return None
        if header.remaining_length > MAX_BYTES:
            raise PacketError(
                f"a message of {header.remaining_length} bytes, at most {MAX_BYTES} are taken",
                Reason.TOO_LARGE,
            )
        end = reader.at + header.remaining_length
        if len(self._data) < end:
            return None
        body, self._data = self._data[reader.at : end], self._data[end:]
        return header.packet_type, header.flags, body

    def _packet(self, kind: int, flags: int, body: bytes) -> Packet:
        name = NAMES.get(kind)
        if name is None:
            raise PacketError(f"packet type {kind} is not for a device", Reason.PROTOCOL_ERROR)
        if kind != PUBLISH and flags != FLAGS.get(kind, 0):
            raise PacketError(f"{name} with the flags {flags:#x}", Reason.MALFORMED)
        if kind == CONNECT:
            level = body[len(NAME)] if body.startswith(NAME) and len(body) > len(NAME) else 0
            if level not in (V3, V5):
                return Connect(level)
            self.level = level
        code = 0
        if self.level == V5:
            body, code = without_properties(kind, flags, body)
        return _parsed(kind, code, _read(kind, flags, body))


class _Bytes:
    """Bytes for amqtt to read, as a ReaderAdapter of its, and how far it has come."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    async def read(self, n: int = -1) -> bytes:
        end = len(self._data) if n < 0 else self.at + n
        got = self._data[self.at : end]
        self.at += len(got)
        return got


def _now(reading: Coroutine[Any, Any, T]) -> T:
    """What a coroutine of amqtt returns that reads :class:`_Bytes`, and so never waits."""
    try:
        reading.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("amqtt waits for bytes that are there")


def _read(kind: int, flags: int, body: bytes) -> Any:
    """A packet of 3.1.1 as amqtt reads it."""
    name = NAMES[kind]
    header = MQTTFixedHeader(kind, flags, len(body))
    try:
        packet = _now(packet_class(header).from_stream(_Bytes(body), header))
        if kind == CONNECT and packet.payload.client_id_is_random:
            packet.payload.client_id = ""  # amqtt makes one up
        again = packet.to_bytes()
    except (AMQTTError, CodecError, MQTTError, NoDataError, ValueError, struct.error) as error:
        raise PacketError(f"{name} that cannot be read: {error}", Reason.MALFORMED) from error
    if not again.endswith(body) or packet.fixed_header.remaining_length != len(body):
        raise PacketError(f"{name} that does not say what it should", Reason.MALFORMED)
    return packet


def _parsed(kind: int, code: int, packet: Any) -> Packet:
    """Our own view of it, with the rules that amqtt does not look at."""
    if kind == CONNECT:
        return _connect(packet)
    if kind == PINGREQ:
        return Ping()
    if kind == DISCONNECT:
        return Disconnect(with_will=code == Reason.WITH_WILL)
    number = packet.variable_header.packet_id
    if number == 0:
        raise PacketError(f"{NAMES[kind]} with packet identifier 0", Reason.PROTOCOL_ERROR)
    if kind == PUBLISH:
        _check_text("PUBLISH", packet.topic_name)
        if packet.qos > 2 or not packet.topic_name:
            raise PacketError("PUBLISH with QoS 3 or without a topic", Reason.MALFORMED)
        return Publish(packet.topic_name, packet.data or b"", packet.qos, number or 0)
    if kind in ACKS:
        return Ack(kind, number)
    return _filters(kind, number, packet.payload.topics)


def _connect(packet: Any) -> Connect:
    head, said = packet.variable_header, packet.payload
    texts = (said.client_id, said.will_topic, said.username, said.password)
    missing = (
        (head.will_flag and said.will_message is None)
        or (head.username_flag and said.username is None)
        or (head.password_flag and said.password is None)
    )
    wrong_will = head.will_qos > 2 or (not head.will_flag and head.flags & 0x38)
    if head.reserved_flag or missing or wrong_will:
        raise PacketError("CONNECT that does not say what its flags promise", Reason.MALFORMED)
    for text in texts:
        _check_text("CONNECT", text or "")
    will = (said.will_topic, said.will_message) if head.will_flag else None
    return Connect(head.proto_level, said.client_id, said.username, said.password,
                   head.keep_alive, head.clean_session_flag, will)  # fmt: skip


def _filters(kind: int, number: int, topics: Sequence[Any]) -> Subscribe | Unsubscribe:
    name = NAMES[kind]
    if not topics:
        raise PacketError(f"{name} of nothing", Reason.PROTOCOL_ERROR)
    if kind == UNSUBSCRIBE:
        for topic in topics:
            _check_text(name, topic)
        return Unsubscribe(number, tuple(topics))
    for topic, options in topics:
        _check_text(name, topic)
        if options & 0b11 == 3:
            raise PacketError(f"{name} with QoS 3", Reason.MALFORMED)
    return Subscribe(number, tuple((topic, options & 0b11) for topic, options in topics))


def _check_text(name: str, text: str) -> None:
    if "\0" in text:
        raise PacketError(f"{name} with a NUL in a text", Reason.MALFORMED)  # [MQTT-1.5.3-2]
