"""Reading and writing MQTT: against clients' own packets, in pieces, and with anything inside."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from amqtt.mqtt import CONNACK, PUBACK, PUBREL
from cloud_peer import OTHER_TOKEN, TOKEN, Cloud
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mqtt_peer import MQTT, connect, login, packet, publish, reach, text
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from pytest_blynk_ota.cloud.mqtt import writing
from pytest_blynk_ota.cloud.mqtt.packets import (
    V3,
    V5,
    Ack,
    Connect,
    Disconnect,
    PacketError,
    Ping,
    Publish,
    Reason,
    Subscribe,
    Unsubscribe,
)
from pytest_blynk_ota.cloud.mqtt.reading import Decoder
from pytest_blynk_ota.cloud.mqtt.topics import matches, names_in, wrong_filter
from pytest_blynk_ota.cloud.site import Limits
from pytest_blynk_ota.virtual.app import mqtt_packets as packets
from pytest_blynk_ota.virtual.app.mqtt_packets import Message

WORDS = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), max_size=40)
TOPICS = WORDS.filter(bool)
NUMBERS = st.integers(1, 0xFFFF)


def five(kind: int, **values: object) -> bytes:
    """Properties as paho-mqtt writes them."""
    properties = Properties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return bytes(properties.pack())


def read(*data: bytes, level: int = V3) -> list:
    decoder = Decoder()
    decoder.level = level
    return [one for piece in data for one in decoder.feed(piece)]


@given(TOPICS, st.binary(max_size=200), st.integers(0, 2), NUMBERS)
def test_a_message_is_read_as_it_was_written(topic, payload, qos, number):
    number = number if qos else 0
    assert read(Message(topic, payload, qos, number).build()) == [
        Publish(topic, payload, qos, number)
    ]


@given(WORDS, WORDS, WORDS, st.integers(0, 0xFFFF), st.none() | st.tuples(TOPICS, WORDS))
def test_a_connect_is_read_as_it_was_written(client, user, token, keepalive, will):
    data = connect(token, client=client, user=user, keepalive=keepalive, will=will)
    wanted = will and (will[0], will[1].encode())
    assert read(data) == [Connect(V3, client, user, token, keepalive, True, wanted)]


@given(st.lists(st.integers(1, 9), max_size=12))
def test_packets_are_the_same_however_the_network_cuts_them(cuts):
    whole = connect() + packets.subscribe(2, "downlink/#", 1) + publish("ds/A", "1", 1, 3)
    whole += packet(10, b"\0\4" + text("downlink/#"), 2) + packets.PINGREQ + packets.puback(7)
    whole += packets.DISCONNECT
    pieces, rest = [], whole
    for cut in cuts:
        pieces, rest = [*pieces, rest[:cut]], rest[cut:]
    assert read(*pieces, rest) == [
        Connect(V3, "c", "device", TOKEN, 45), Subscribe(2, (("downlink/#", 1),)),
        Publish("ds/A", b"1", 1, 3), Unsubscribe(4, ("downlink/#",)), Ping(), Ack(PUBACK, 7),
        Disconnect(),
    ]  # fmt: skip


@given(st.binary(max_size=300), st.sampled_from([V3, V5]))
@example(packet(14, b"\x04\x00"), V5)
@example(packet(3, text("a") + b"\x03\x23\x00\x01"), V5)
def test_whatever_comes_is_packets_or_a_packet_error(data, level):
    with suppress(PacketError):
        read(data, level=level)


@given(st.data())
def test_a_packet_that_is_read_says_all_that_came(data):
    """Nothing is made up, skipped or left over: what is read could be written back."""
    base = data.draw(st.sampled_from([connect(), publish("ds/A", "1", 1, 3),
                                      packets.subscribe(2, "downlink/#", 1)]))  # fmt: skip
    at = data.draw(st.integers(2, len(base) - 1))
    spoiled = base[:at] + bytes([data.draw(st.integers(0, 255))]) + base[at + 1 :]
    try:
        (got,) = read(spoiled)
    except (PacketError, ValueError):
        return
    if isinstance(got, Publish):
        assert Message(got.topic, got.payload, got.qos, got.number).build() == spoiled
    elif isinstance(got, Subscribe):
        (one,) = got.filters
        assert packets.subscribe(got.number, *one)[:-1] == spoiled[:-1]


# Version 5.


def test_properties_of_version_5_are_read_past():
    head = text("MQTT") + bytes([5, 0xC6]) + b"\0\x2d"
    properties = five(PacketTypes.CONNECT, SessionExpiryInterval=9, UserProperty=("a", "b"))
    will = five(PacketTypes.WILLMESSAGE, WillDelayInterval=3) + text("event/x") + text("bye")
    whole = packet(1, head + properties + text("c") + will + text("device") + text(TOKEN))
    whole += packet(8, b"\0\1" + five(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=[4])
                    + text("downlink/#") + b"\x2d", 2)  # fmt: skip
    whole += packet(
        3, text("ds/A") + b"\0\3" + five(PacketTypes.PUBLISH, ContentType="t") + b"1", 2
    )
    whole += packet(4, b"\0\7\0") + packet(6, b"\0\7\x92\0", 2) + packet(14, b"\x04")
    assert read(whole) == [
        Connect(V5, "c", "device", TOKEN, 45, True, ("event/x", b"bye")),
        Subscribe(1, (("downlink/#", 1),)), Publish("ds/A", b"1", 1, 3), Ack(PUBACK, 7),
        Ack(PUBREL, 7), Disconnect(with_will=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        text("ds/A") + b"\x03\x23\x00\x01",  # the alias of a topic
        text("ds/A") + b"\x02\x01",  # longer than it says
        text("ds/A") + b"\x01\x01",  # shorter than it says
        text("ds/A") + b"\x01\x01\x00",  # the last one reaches into the payload
        text("ds/A") + b"\x02\x7f\x00",  # unknown
        text("ds/A") + b"\x04\x01\x00\x01\x00",  # twice
        text("ds/A") + b"\x05\x11\0\0\0\1",  # of another packet
        text("ds/A") + b"\xff\xff\xff\xff\xff",
        text("ds/A"),
    ],
)
def test_properties_that_cannot_be_read_are_malformed(body):
    with pytest.raises(PacketError, match="PUBLISH with properties that cannot be read") as error:
        read(packet(3, body), level=V5)
    assert error.value.code == Reason.MALFORMED


def test_a_reason_code_has_a_return_code_in_3_1_1():
    assert writing.connack(V3, Reason.BAD_CREDENTIALS) == packet(CONNACK, b"\0\4")
    assert writing.connack(V5, Reason.BAD_CREDENTIALS) == packet(CONNACK, b"\0\x86\0")
    assert writing.suback(V3, 1, [0, 1, Reason.NO_WILDCARD]) == packet(9, b"\0\1\0\1\x80")
    assert writing.suback(V5, 1, [0, 1, Reason.NO_WILDCARD]) == packet(9, b"\0\1\0\0\1\xa2")
    assert writing.disconnect(V3, Reason.TOO_LARGE) == b""


# Topics.


@given(st.lists(st.sampled_from(["downlink", "ds", "x", "#", "+", ""]), min_size=1, max_size=4))
def test_a_filter_that_is_allowed_takes_in_nothing_but_downlinks(levels):
    wanted = "/".join(levels)
    if wrong_filter(wanted) is None:
        assert wanted.startswith("downlink/")
        assert not matches(wanted, "ds/x")
        assert not matches(wanted, "downlinks/x")


def test_a_filter_with_a_hash_takes_in_its_own_stem():
    assert matches("downlink/ds/#", "downlink/ds")
    assert matches("downlink/ds/#", "downlink/ds/a/b")
    assert not matches("downlink/ds/#", "downlink/dsx")
    assert names_in("ds/+/prop/+", "ds/a/prop/b") == ("a", "b")
    assert names_in("ds/+", "ds/") is None


# The whole server.


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4), st.booleans())
def test_hostile_bytes_end_their_own_connection_at_most(pieces, logged_in):
    async def attack() -> None:
        async with Cloud(doors=(MQTT,), limits=Limits(flood_per_s=None)) as one:
            other = await login(one, OTHER_TOKEN)
            device = await login(one) if logged_in else await reach(one)
            for piece in pieces:
                device.send(piece if logged_in else b"\x10" + piece)
            device.leave()
            await one.event("closed")
            assert await other.alive()
            assert not [event for event in one.seen("closed") if "fault" in event.data["why"]]
            other.leave()

    asyncio.run(attack())
