"""The MQTT device API, rule by rule, over raw sockets."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from cloud_peer import INFO as BINARY_INFO
from cloud_peer import OTHER_TOKEN, TOKEN, Cloud, Peer, until
from mqtt_peer import INFO, MQTT, TCP, Device, connect, login, packet, publish, reach, text

from pytest_blynk_ota.cloud.device import Report
from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.cloud.site import Limits
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.app import mqtt_packets as packets
from pytest_blynk_ota.virtual.app.mqtt_packets import Kind

pytestmark = pytest.mark.asyncio
DOORS = (MQTT, TCP)
TAG = {"build": "Nov 24 2026 10:00:00", "ver": "2.0.0", "type": "TMPLtest"}
UNKNOWN_TOKEN = "x" * 32


def cloud(**options) -> Cloud:
    return Cloud(doors=DOORS, **options)


async def order(one: Cloud, **more) -> int | None:
    return await one.server.send_ota("a", "http://h/f?token=t", offer="o1", size=7, **more)


# Login.


async def test_the_user_device_with_its_token_is_let_in():
    async with cloud() as one:
        device = await login(one, client="")
        assert (await one.event("login", "a")).data["protocol"] == "MQTT 3.1.1"
        assert one.server.device("a").online
        device.leave()


@pytest.mark.parametrize(
    ("wrong", "code", "why"),
    [
        ({"token": UNKNOWN_TOKEN}, 4, "a token that the rig did not give out"),
        ({"token": None}, 4, "no password"),
        ({"user": "root"}, 4, "user name"),
        ({"user": None, "token": None}, 4, "user name"),
        ({"client": "c" * 65}, 2, "more than 64 characters"),
        ({"client": "", "clean": False}, 2, "no client identifier"),
        ({"level": 3, "name": "MQIsdp"}, 1, "neither 3.1.1 nor 5"),
    ],
)
async def test_a_wrong_login_gets_the_return_code_that_mqtt_has_for_it(wrong, code, why):
    async with cloud() as one:
        device = await reach(one)
        device.send(connect(**wrong))
        assert await device.closed() == bytes([0x20, 2, 0, code])
        assert why in (await one.event("refused")).data["why"]
        assert why in (await one.event("closed")).data["why"]
        assert not one.seen("login")


async def test_a_token_is_in_no_event_and_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    async with cloud() as one:
        device = await reach(one)
        device.send(connect(UNKNOWN_TOKEN, client=TOKEN))
        await device.closed()
        await one.event("closed")
    assert UNKNOWN_TOKEN not in caplog.text + repr([*one.timeline.events()])
    assert TOKEN not in caplog.text + repr([*one.timeline.events()])


async def test_a_client_identifier_of_64_characters_is_let_in():
    async with cloud() as one:
        (await login(one, client="ü" * 64)).leave()


async def test_a_newer_login_takes_the_place_of_an_older_one():
    async with cloud() as one:
        first, second = await login(one), await login(one)
        assert await first.closed() == b""
        assert (await one.event("closed")).data["why"] == "replaced by session 2"
        assert await second.alive()
        second.leave()


async def test_mqtt_and_the_binary_protocol_are_one_device():
    async with cloud() as one:
        mqtt = await login(one)
        binary = await reach(one, "tcp")
        peer = Peer(binary.reader, binary.writer)
        assert (await peer.ask(Cmd.LOGIN, 1, TOKEN)).status == 200
        await mqtt.closed()
        await peer.ask(Cmd.INTERNAL, 2, *BINARY_INFO)
        again = await login(one)
        await peer.closed()
        assert one.server.device("a").session == 3
        again.leave()


async def test_a_session_that_is_not_clean_is_clean_all_the_same_and_told_so():
    async with cloud() as one:
        device = await login(one, clean=False)
        assert "only clean sessions" in await device.diag()
        device.leave()


@pytest.mark.parametrize("begun", [b"\x10", connect()[:20]])
async def test_a_connect_that_never_becomes_whole_ends_with_the_time_for_a_login(begun):
    async with cloud(speed=20, limits=Limits(login_s=5)) as one:
        device = await reach(one)
        device.send(begun)
        assert await device.closed() == b""
        assert (await one.event("closed")).data["why"] == "no login within 5 s"


async def test_a_second_connect_ends_the_session():
    async with cloud() as one:
        device = await login(one)
        device.send(connect())
        assert await device.closed() == b""
        assert (await one.event("closed", "a")).data["why"] == "a second CONNECT"


# Silence and noise.


async def test_silence_of_one_and_a_half_keepalives_ends_the_session():
    async with cloud(speed=20) as one:
        device = await login(one, keepalive=10)
        await device.closed()
        closed = await one.event("closed", "a")
        assert closed.data["why"] == "silent for 15 s, 1.5 keepalives of 10 s"
        assert closed.t - one.seen("login")[0].t >= 0.7


async def test_a_ping_keeps_a_session_and_a_keepalive_of_0_needs_none():
    async with cloud(speed=40) as one:
        quiet, lively = await login(one, keepalive=0), await login(one, OTHER_TOKEN, keepalive=10)
        begun = one.timeline.now()
        while one.timeline.now() - begun < 1.0:
            assert await lively.alive()
            then = one.timeline.now() + 0.1
            await until("a tenth of a second", lambda then=then: one.timeline.now() > then)
        assert await quiet.alive()
        quiet.leave()
        lively.leave()


async def test_more_messages_than_the_flood_limit_end_the_session_and_no_other():
    async with cloud(limits=Limits(flood_per_s=2, flood_window_s=5)) as one:
        other, device = await login(one, OTHER_TOKEN), await login(one)
        device.send(*[publish("ds/Temperature", "1")] * 30)
        await device.closed()
        assert "flood: more than 10 messages within 5 s" in (await one.event("closed")).data["why"]
        assert await other.alive()
        other.leave()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (publish("ds/A", b"x" * 1020), "a message of 1026 bytes, at most 1024 are taken"),
        (b"\x30\xff\xff\xff\xff\x01", "remaining length of more than four bytes"),
        (b"\x30\xff\xff\xff\x7f", "a message of 268435455 bytes"),
        (packet(3, b"\x00"), "PUBLISH that cannot be read"),
        (packet(3, text("ds/A"), 0b0110), "PUBLISH that cannot be read"),
        (packet(3, text("ds/A") + b"\0\1", 0b0110), "PUBLISH with QoS 3"),
        (packet(3, text("ds/A") + b"\0\0", 0b0010), "packet identifier 0"),
        (packet(3, text("ds/+")), "wildcard"),
        (packet(3, text("")), "without a topic"),
        (packet(3, b"\0\2\xc3\x28"), "PUBLISH that does not say what it should"),
        (packet(3, text("ds/\0")), "NUL"),
        (packet(8, b"\0\1" + text("downlink/#") + b"\0"), "SUBSCRIBE with the flags 0x0"),
        (packet(8, b"\0\1", 2), "SUBSCRIBE of nothing"),
        (packet(8, b"\0\1" + text("downlink/#") + b"\3", 2), "SUBSCRIBE with QoS 3"),
        (packet(8, b"\0\1" + text("downlink/#"), 2), "SUBSCRIBE that does not say"),
        (packet(12, b"!"), "PINGREQ that does not say what it should"),
        (packet(2, b"\0\0"), "packet type 2 is not for a device"),
        (packet(5, b"\0\1"), "QoS 2, and none was sent"),
    ],
)
async def test_a_packet_that_breaks_the_protocol_ends_its_session_and_no_other(data, why):
    async with cloud() as one:
        other, device = await login(one, OTHER_TOKEN), await login(one)
        device.send(data)
        await device.closed()
        assert why in (await one.event("closed", "a")).data["why"]
        assert await other.alive()
        other.leave()


async def test_what_comes_whole_before_a_broken_packet_still_counts():
    async with cloud() as one:
        device = await login(one)
        device.send(publish("event/hot", "41"), b"\x00\x00")
        await device.closed()
        assert (await one.event("log_event", "a")).data["text"] == "41"


# Uplinks.


async def test_info_is_recorded_as_the_binary_protocol_records_it():
    async with cloud() as one:
        device = await login(one, keepalive=60)
        await device.inform(rxbuff=512)
        assert (await one.event("info", "a")).data["pairs"] == INFO | {"rxbuff": "512"}
        report = await one.event("report", "a")
        assert [report.data[key] for key in ("version", "build", "fw_type")] == [
            "1.2.3", "Nov 23 2026 17:29:49", "TMPLtest"
        ]  # fmt: skip
        state = one.server.device("a")
        assert state.reports == (Report(report.t, 1, "1.2.3", "Nov 23 2026 17:29:49"),)
        assert (state.buff_in, state.heartbeat_s) == (512, 60)
        device.leave()


async def test_info_without_a_version_is_no_report():
    async with cloud() as one:
        device = await login(one)
        device.send(publish("info/mcu", '{"tmpl": "TMPLtest"}', 1, 3))
        assert (await device.receive()).number == 3
        await one.event("info", "a")
        assert not one.seen("report")
        device.leave()


async def test_values_are_kept_by_name_and_given_back_on_request():
    async with cloud() as one:
        device = await login(one)
        await device.subscribe("downlink/#")
        device.send(
            publish("ds/Temperature", "21.3"),
            publish("ds/List", "a\0b"),
            publish("batch_ds", json.dumps({"On": True, "Place": [30.5, 50.25], "Name": "x"})),
            publish("ds/T/timestamped_batch", "[[3, 22.5], [9, 24], [5, 23]]"),
            publish("ds/Gone", "1"),
            publish("ds/Gone/erase"),
            publish("ds/Temperature/prop/color", "red"),
            publish("get/ds", "Temperature,List,Gone,On,Place,T"),
        )
        got = [await device.message() for _ in range(5)]
        assert {one.topic.rpartition("/")[2]: one.payload for one in got} == {
            "Temperature": b"21.3", "List": b"a\0b", "On": b"true", "Place": b"30.5\x0050.25",
            "T": b"24",
        }  # fmt: skip
        device.send(publish("get/ds/all"))
        assert len({(await device.message()).topic for _ in range(6)}) == 6
        device.leave()


async def test_metadata_are_kept_given_back_and_on_record():
    async with cloud() as one:
        device = await login(one)
        await device.subscribe("downlink/meta/#", qos=1)
        device.send(publish("meta/Serial Number", "12345"), publish("get/meta", "Serial Number,X"))
        first, second = await device.message(), await device.message()
        assert (first.topic, first.payload, first.qos) == (
            "downlink/meta/Serial Number", b"12345", 1
        )  # fmt: skip
        assert (second.topic, second.payload) == ("downlink/meta/X", b"")
        assert (await one.event("meta", "a")).data["field"] == "Serial Number"
        device.leave()


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        ("ds/c", "1", "ds/c: 1024 datastreams are kept"),
        ("batch_ds", '{"a": 5, "c": 1}', "ds/c: 1024 datastreams are kept"),
        ("ds/c/timestamped_batch", "[[1, 2]]", "ds/c: 1024 datastreams are kept"),
        ("meta/c", "1", "meta/c: 1024 metafields are kept"),
    ],
)
async def test_no_more_values_and_metadata_are_kept_than_there_is_room_for(
    monkeypatch, topic, payload, why
):
    monkeypatch.setattr("pytest_blynk_ota.cloud.device.MAX_KEPT", 2)
    async with cloud() as one:
        device = await login(one)
        await device.subscribe("downlink/#")
        for known in "ab":
            device.send(publish(f"ds/{known}", "0"), publish(f"meta/{known}", "0"))
        device.send(publish(topic, payload))
        told = await device.message()
        assert (told.topic, why in told.payload.decode()) == ("downlink/diag", True)
        device.send(publish("ds/a/erase"), publish("ds/c", "7"), publish("get/ds", "c"))
        assert (await device.message()).payload == b"7", "there is room again"
        device.leave()


async def test_the_time_is_given_in_utc():
    async with cloud() as one:
        device = await login(one)
        await device.subscribe("downlink/utc/all/json")
        device.send(publish("get/utc/all/json"))
        said = json.loads((await device.message()).payload)
        assert abs(said["time"] / 1000 - one.timeline.events()[-1].wall) < 5
        assert said["tz_name"] == "UTC"
        device.leave()


async def test_an_event_is_recorded_as_the_binary_protocol_records_it():
    async with cloud() as one:
        device = await login(one)
        device.send(publish("event/sys_ota", "OTA started"))
        assert (await one.event("log_event", "a")).data == {
            "session": 1, "code": "sys_ota", "text": "OTA started"
        }  # fmt: skip
        device.leave()


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        ("downlink/ota/json", "{}", "a device does not publish on 'downlink/ota/json'"),
        ("home/door", "open", "a device does not publish on 'home/door'"),
        ("$SYS/x", "", "a device does not publish on '$SYS/x'"),
        ("ds/", "1", "a device does not publish on 'ds/'"),
        ("info/mcu", "no JSON", "info/mcu: the payload is no JSON"),
        ("info/mcu", "[" * 900, "info/mcu: the payload is no JSON"),
        ("info/mcu", "[1]", "info/mcu: expected a JSON object"),
        ("batch_ds", "3", "batch_ds: expected a JSON object"),
        ("ds/T/timestamped_batch", '[["a", 1]]', "expected [[milliseconds, value], …]"),
        ("ds/T", b"\xff", "a payload that is no UTF-8"),
        ("get/loc/all", "", "does not know where a device is"),
    ],
)
async def test_what_the_cloud_does_nothing_with_is_acknowledged_and_the_device_told_why(
    topic, payload, why, caplog
):
    async with cloud() as one:
        other, device = await login(one, OTHER_TOKEN), await login(one)
        await other.subscribe("downlink/#")
        device.send(publish(topic, payload, 1, 5))
        assert why in await device.diag()
        assert (await device.receive()).kind == Kind.PUBACK
        assert why in (await one.event("diag", "a")).data["why"]
        assert f"session 2 (a, MQTT): {one.seen('diag')[0].data['why']}" in caplog.text
        assert await device.alive()
        assert await other.alive(), "the next that it hears is the answer to its ping"
        for each in (device, other):
            each.leave()


async def test_a_message_of_qos_2_is_taken_once_however_often_it_comes():
    async with cloud() as one:
        device = await login(one)
        for _ in range(2):
            device.send(publish("event/hot", "", 2, 9))
            assert (await device.receive()).kind == 5
        device.send(packet(6, b"\0\x09", 2))
        assert (await device.receive()).kind == 7
        assert len(one.seen("log_event")) == 1
        device.send(publish("event/hot", "", 2, 9))
        assert (await device.receive()).kind == 5
        assert len(one.seen("log_event")) == 2
        device.leave()


async def test_more_than_64_messages_of_qos_2_half_done_end_the_session():
    async with cloud() as one:
        device = await login(one)
        device.send(*[publish("ds/A", "", 2, number) for number in range(1, 70)])
        await device.closed()
        assert "QoS 2 that are half done" in (await one.event("closed", "a")).data["why"]


# The will.


async def test_the_will_of_a_device_that_vanishes_is_done():
    async with cloud() as one:
        device = await login(one, will=("event/gone", "good bye"))
        device.leave()
        assert (await one.event("log_event", "a")).data["text"] == "good bye"


async def test_the_will_of_a_device_that_takes_its_leave_is_not_done():
    async with cloud() as one:
        device = await login(one, will=("event/gone", ""))
        device.send(packets.DISCONNECT)
        assert (await one.event("closed", "a")).data == {
            "session": 1, "by": "device", "why": "DISCONNECT"
        }  # fmt: skip
        assert not one.seen("log_event")


async def test_a_will_on_a_foreign_topic_is_dropped_and_felt_by_nobody():
    async with cloud() as one:
        other = await login(one, OTHER_TOKEN)
        await other.subscribe("downlink/#")
        device = await login(one, will=("downlink/ota/json", "{}"))
        assert "a will on 'downlink/ota/json'" in await device.diag()
        device.leave()
        await one.event("closed", "a")
        assert await other.alive()
        other.leave()


# Subscriptions.


@pytest.mark.parametrize("wanted", ["downlink/#", "downlink/ds/#", "downlink/ds/Temperature"])
async def test_what_is_below_downlink_may_be_subscribed_to(wanted):
    async with cloud() as one:
        device = await login(one)
        assert await device.subscribe(wanted, qos=2) == 1
        device.leave()


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("#", "only what is below downlink/"),
        ("downlink", "only what is below downlink/"),
        ("uplink/#", "only what is below downlink/"),
        ("downlink/+/json", "no + in a filter"),
        ("downlink/#/json", "# only at the end"),
        ("downlink/d#", "# only at the end"),
        ("$SYS/#", "only what is below downlink/"),
        ("", "only what is below downlink/"),
    ],
)
async def test_any_other_subscription_is_refused_and_the_device_told_why(wanted, why):
    async with cloud() as one:
        device = await login(one)
        device.send(packets.subscribe(3, wanted, 0))
        assert why in await device.diag()
        answer = await device.receive()
        assert (answer.kind, answer.body) == (Kind.SUBACK, b"\0\x03\x80")
        assert why in (await one.event("diag", "a")).data["why"]
        assert await device.alive()
        device.leave()


async def test_a_filter_that_is_given_back_brings_nothing_more():
    async with cloud() as one:
        device = await login(one)
        device.send(publish("ds/T", "1"))
        await device.subscribe("downlink/ds/T")
        device.send(packet(10, b"\0\x04" + text("downlink/ds/T"), 2))
        assert (await device.receive()).kind == 11
        device.send(publish("get/ds", "T"))
        assert await device.alive()
        device.leave()


async def test_no_more_than_64_filters_are_held():
    async with cloud(limits=Limits(flood_per_s=None)) as one:
        device = await login(one)
        for number in range(1, 65):
            assert await device.subscribe(f"downlink/ds/{number}", 0, number) == 0
        device.send(packets.subscribe(99, "downlink/ds/x", 0))
        assert "more than 64 filters" in await device.diag()
        device.leave()


# Downlinks.


async def test_an_update_reaches_a_device_that_has_not_subscribed():
    async with cloud() as one:
        device = await login(one)
        await device.inform()
        assert await order(one, tag=TAG) == 1
        got = await device.message()
        assert (got.topic, got.qos) == ("downlink/ota/json", 0)
        about = json.loads(got.payload)
        assert about == {"url": "http://h/f?token=t", "size": 7, **TAG}
        assert list(about) == ["url", "size", "type", "ver", "build"]
        sent = await one.event("ota_sent", "a")
        assert sent.data == {"session": 1, "offer": "o1", "url": "http://h/f?token=[url token]"}
        device.leave()


async def test_a_file_without_a_tag_has_only_url_and_size():
    async with cloud() as one:
        device = await login(one)
        await device.inform()
        await order(one)
        assert set(json.loads((await device.message()).payload)) == {"url", "size"}
        device.leave()


async def test_a_device_that_has_not_said_what_it_is_gets_no_update():
    async with cloud() as one:
        device = await login(one)
        await device.inform()
        device.leave()
        await one.event("closed", "a")
        again = await login(one)
        assert await order(one) is None
        assert "no info/mcu" in (await one.event("ota_withheld", "a")).data["why"]
        assert await again.alive()
        again.leave()


@pytest.mark.parametrize(("rxbuff", "most"), [(100, 100), (1024, 1024), (9000, 1024)])
async def test_an_update_that_the_device_could_not_receive_is_refused(rxbuff, most):
    async with cloud() as one:
        device = await login(one)
        await device.inform(rxbuff=rxbuff)
        with pytest.raises(UsageError, match=f"at most {most} .*shorten the URL by"):
            await one.server.send_ota("a", "http://h/" + "x" * 1000, offer="o1")
        assert await device.alive()
        device.leave()


async def test_the_device_is_sent_elsewhere_by_the_door_that_it_came_in_at():
    async with cloud() as one:
        device = await login(one)
        assert await one.server.redirect("a", "fra1.example", 1883) == 1
        got = await device.message()
        assert (got.topic, got.payload) == ("downlink/redirect", b"mqtt://fra1.example:1883")
        device.leave()


async def test_a_ping_has_qos_1_and_its_puback_is_the_pong():
    async with cloud() as one:
        device = await login(one)
        assert await one.server.send_command("a", "ping") is None, "it has not subscribed"
        await device.subscribe("downlink/#", qos=0)
        assert await one.server.send_command("a", "ping") == 1
        got = await device.message()
        assert (got.topic, got.payload, got.qos) == ("downlink/ping", b"", 1)
        device.send(packets.puback(got.number))
        await one.event("pong", "a")
        device.leave()


async def test_the_cloud_pings_a_silent_device_where_it_is_told_to():
    async with cloud(speed=20, limits=Limits(ping_s=10)) as one:
        device = await login(one)
        await device.subscribe("downlink/#")
        assert (await device.message()).topic == "downlink/ping"
        device.leave()


@pytest.mark.parametrize("command", ["reboot", "reconfigure"])
async def test_the_menu_of_a_device_is_there_and_a_console_is_not(command):
    async with cloud() as one:
        device = await login(one)
        await device.subscribe(f"downlink/{command}")
        assert await one.server.send_command("a", command) == 1
        got = await device.message()
        assert (got.topic, got.payload) == (f"downlink/{command}", b"")
        with pytest.raises(UsageError, match="'devinfo' would be for a console"):
            await one.server.send_command("a", "devinfo")
        device.leave()


async def test_a_device_that_reads_nothing_is_cut_off():
    async with cloud(limits=Limits(flood_per_s=None)) as one:
        device = await login(one)
        device.writer.transport.pause_reading()
        await _fill(one, device)
        assert "wait for the device to read them" in (await one.event("closed", "a")).data["why"]
        device.leave()


async def _fill(one: Cloud, device: Device) -> None:
    device.send(publish("meta/M", "x" * 900))
    device.send(packets.subscribe(1, "downlink/#", 0))
    asked = publish("get/meta", ",".join(["M"] * 400))

    def more() -> bool:
        device.send(asked)
        return bool(one.seen("closed", "a"))

    await until("the end of a session", more)


async def test_a_device_that_still_speaks_is_on_record_but_not_with_each_packet():
    async with cloud(speed=100) as one:
        device = await login(one)
        assert await device.alive()
        assert one.seen("heard") == []  # the login has just said so
        await asyncio.sleep(0.11)  # 11 device seconds
        for _ in range(5):
            assert await device.alive()
        (heard,) = one.seen("heard", "a")
        assert heard.data["what"] == "PING"
        device.leave()


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("batch_ds", r'{"A": "\ud800"}'),
        ("batch_ds", r'{"A": "x\u0000y"}'),
        ("info/mcu", r'{"ver": "\udfff"}'),
        ("meta/A", "x\0y"),
    ],
)
async def test_a_text_that_no_wire_and_no_file_can_hold_is_not_taken(topic, payload):
    async with cloud() as one:
        device = await login(one)
        device.send(publish(topic, payload))
        assert "NUL" in await device.diag()
        kept = one.server._registry.get("a")
        assert (kept.values, kept.meta, one.seen("report")) == ({}, {}, [])
        for event in one.timeline.events():
            event.to_json().encode()
        device.leave()


async def test_a_device_that_is_logged_in_has_no_seat_among_those_who_wait():
    async with cloud(limits=Limits(waiting_per_peer=2)) as one:
        device = await login(one)
        waiting = [await reach(one) for _ in range(3)]
        assert (await one.event("closed")).data["session"] == 2
        assert one.server.device("a").online
        for each in (device, *waiting):
            each.leave()
