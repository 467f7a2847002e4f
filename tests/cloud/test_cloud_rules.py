"""What a session is asked and told beside the update: time, metafields, values, console, pings."""

from __future__ import annotations

import time

import pytest
from cloud_peer import OTHER_TOKEN, TOKEN, Cloud, until

from pytest_blynk_ota.cloud.protocol import (
    MAX_BODY_BYTES,
    Cmd,
    Frame,
    Status,
    encode,
    frame,
    response,
)
from pytest_blynk_ota.cloud.site import Flood, Limits
from pytest_blynk_ota.errors import UsageError

pytestmark = pytest.mark.asyncio


async def test_the_time_is_told_in_seconds_or_milliseconds_with_the_id_of_the_request():
    async with Cloud() as cloud:
        peer = await cloud.login()
        now = time.time()
        rtc = await peer.ask(Cmd.INTERNAL, 5, "rtc", "sync")
        utc = await peer.ask(Cmd.INTERNAL, 6, "utc", "time")
        assert (rtc.id, rtc.parts[0], utc.id, utc.parts[:2]) == (5, "rtc", 6, ("utc", "time"))
        assert abs(int(rtc.parts[1]) - now) < 5
        assert abs(int(utc.parts[2]) / 1000 - now) < 5
        peer.leave()


async def test_a_metafield_is_kept_and_told_again():
    async with Cloud() as cloud:
        peer = await cloud.login()
        await peer.ask(Cmd.INTERNAL, 2, "meta", "set", "Hotspot Name", "lab")
        told = await peer.ask(Cmd.INTERNAL, 3, "meta", "get", "Hotspot Name")
        assert told == frame(Cmd.INTERNAL, 3, "meta", "Hotspot Name", "lab")
        assert (await cloud.event("meta", "a")).data["value"] == "lab"
        peer.leave()


async def test_a_written_value_is_what_a_sync_gets():
    async with Cloud() as cloud:
        peer = await cloud.login()
        peer.send(Cmd.HARDWARE, 2, "vw", "1", "23", "C")
        assert await peer.ask(Cmd.HARDWARE_SYNC, 3, "vr", "9", "1") == frame(
            Cmd.HARDWARE, 3, "vw", "1", "23", "C"
        )
        assert (await peer.ask(Cmd.HARDWARE_SYNC, 4)).parts == ("vw", "1", "23", "C")
        peer.leave()


async def test_so_many_values_and_metafields_are_kept_and_no_more(monkeypatch, caplog):
    monkeypatch.setattr("pytest_blynk_ota.cloud.device.MAX_KEPT", 2)
    async with Cloud() as cloud:
        peer = await cloud.login()
        for pin, value in (("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("1", "e")):
            peer.send(Cmd.HARDWARE, 2, "vw", pin, value)
        await peer.ask(Cmd.PING, 3)
        peer.send(Cmd.HARDWARE_SYNC, 4)
        assert [(await peer.receive()).parts for _ in range(2)] == [
            ("vw", "1", "e"),
            ("vw", "2", "b"),
        ]
        statuses = [
            (await peer.ask(Cmd.INTERNAL, 5, "meta", "set", name, "x")).status for name in "abca"
        ]
        assert statuses == [200, 200, Status.QUOTA_LIMIT, 200]
        assert (await peer.ask(Cmd.INTERNAL, 6, "meta", "get", "c")).parts == ("meta", "c", "")
        peer.leave()
    assert [row.getMessage() for row in caplog.records if row.levelname == "WARNING"] == [
        "datastreams of board a: 2 are kept, and no further ones",
        "metafields of board a: 2 are kept, and no further ones",
    ]


async def test_a_command_reaches_the_console_and_its_answer_is_on_record():
    async with Cloud() as cloud:
        peer = await cloud.login()
        assert await cloud.server.send_command("a", "devinfo") == 1
        asked = await peer.receive()
        assert (asked.cmd, asked.parts) == (Cmd.INTERNAL, ("dbg", "devinfo"))
        assert (await peer.ask(Cmd.INTERNAL, 7, "dbg", "{}")) == response(7)
        assert (await cloud.event("console", "a")).data["text"] == "{}"
        peer.leave()
        await until("a to go", lambda: not cloud.server.device("a").online)
        assert await cloud.server.send_command("a", "devinfo") is None


async def test_a_redirection_names_host_and_port():
    async with Cloud() as cloud:
        peer = await cloud.login()
        assert await cloud.server.redirect("a", "other.example", 8080) == 1
        told = await peer.receive()
        assert (told.cmd, told.parts) == (Cmd.REDIRECT, ("other.example", "8080"))
        peer.leave()


async def test_more_messages_than_the_limit_end_that_session_and_no_other():
    limits = Limits(flood_per_s=3, flood_window_s=1)
    async with Cloud(speed=0.01, limits=limits) as cloud:
        good, bad = await cloud.login(), await cloud.login(OTHER_TOKEN)
        for number in range(2, 5):
            bad.send(Cmd.PING, number)
        closed = await cloud.event("closed", "b")
        assert closed.data["why"] == "flood: more than 3 messages within 1 s"
        assert await good.alive()
        for peer in (good, bad):
            peer.leave()


async def test_as_many_messages_as_the_limit_are_fine_window_after_window():
    flood = Flood(Limits(flood_per_s=8, flood_window_s=2))
    assert [flood.one_more(n / 8) for n in range(1000)] == [None] * 1000
    assert [flood.one_more(200.0) for _ in range(16)] == [None] * 16
    assert flood.one_more(200.0) == "flood: more than 16 messages within 2 s"
    assert Flood(Limits(flood_per_s=None)).one_more(0.0) is None


async def test_a_silent_device_is_pinged_once_and_an_answer_keeps_it():
    async with Cloud(speed=20, limits=Limits(ping_s=5)) as cloud:
        peer = await cloud.login()
        peer.send(Cmd.INTERNAL, 2, "mcu", "1", "h-beat", "10")
        assert await peer.receive() == response(2)
        ping = await peer.receive()
        assert (ping.cmd, ping.body) == (Cmd.PING, b"")
        peer.writer.write(b"\0" + ping.id.to_bytes(2, "big") + b"\0\xc8")
        assert (await peer.receive()).cmd == Cmd.PING
        closed = await cloud.event("closed", "a")
        assert closed.data["why"] == "silent for 23 s, 2.3 heartbeats of 10 s"
        assert await peer.closed() == b""


@pytest.mark.parametrize("wrong", [{"flood_per_s": 0}, {"login_s": -1}, {"waiting_per_peer": 0}])
async def test_a_limit_that_is_none_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Limits(**wrong)


async def test_the_oldest_waiting_connection_of_an_address_goes_for_a_newer_one():
    async with Cloud(limits=Limits(waiting_per_peer=2)) as cloud:
        inside = await cloud.login()
        peers = [await cloud.connect() for _ in range(3)]
        closed = await cloud.event("closed")
        assert closed.data["why"] == ("more than 2 connections of 127.0.0.1 wait for their login")
        assert await peers[0].closed() == b""
        assert (await peers[2].ask(Cmd.LOGIN, 1, TOKEN)).status == 200
        for peer in (inside, *peers[1:]):
            peer.leave()


async def test_an_info_with_two_hundred_keys_is_taken_whole():
    async with Cloud() as cloud:
        peer = await cloud.login()
        many = [word for number in range(200) for word in (f"key-{number}", "x" * 20)]
        assert await peer.ask(Cmd.INTERNAL, 2, "mcu", "1.2.3", *many) == response(2)
        assert len(cloud.seen("info", "a")[0].data["pairs"]) == 201
        assert cloud.server.device("a").reports[0].version == "1.2.3"
        peer.leave()


async def test_a_body_of_32_kb_is_taken_and_one_byte_more_ends_that_session_alone():
    async with Cloud() as cloud:
        beside, peer = await cloud.login(OTHER_TOKEN), await cloud.login()
        most = "x" * (MAX_BODY_BYTES - len("vw 1 "))
        peer.send(Cmd.HARDWARE, 2, "vw", "1", most)
        assert (await peer.ask(Cmd.HARDWARE_SYNC, 3, "vr", "1")).parts == ("vw", "1", most)
        peer.send(Cmd.HARDWARE, 4, "vw", "1", most + "x")
        assert "announces a body of 32769 bytes" in (await cloud.event("closed", "a")).data["why"]
        assert await beside.alive()
        beside.leave()


async def test_a_value_that_would_not_fit_a_message_again_is_not_kept():
    """Bytes that are no UTF-8 become three each."""
    async with Cloud() as cloud:
        peer = await cloud.login()
        for body in (b"vw\x001\0" + b"\xff" * 32000, b"vw\x002\x00ok"):
            peer.writer.write(encode(Frame(Cmd.HARDWARE, 2, body)))
        peer.writer.write(encode(Frame(Cmd.INTERNAL, 3, b"meta\0set\0x\0" + b"\xff" * 32000)))
        assert (await peer.receive()).status == 11
        assert (await peer.ask(Cmd.INTERNAL, 4, "meta", "get", "x")).parts == ("meta", "x", "")
        assert (await peer.ask(Cmd.HARDWARE_SYNC, 5, "vr")).parts == ("vw", "2", "ok")
        assert await peer.alive()
        peer.leave()


async def test_a_device_that_is_logged_in_has_no_seat_among_those_who_wait():
    async with Cloud(limits=Limits(waiting_per_peer=2)) as cloud:
        peer = await cloud.login()
        waiting = [await cloud.connect() for _ in range(3)]
        closed = await cloud.event("closed")
        assert closed.data["session"] == 2
        assert await peer.alive()
        for one in (peer, *waiting):
            one.leave()


async def test_silence_ends_a_session_after_2_3_heartbeats_and_not_much_later():
    async with Cloud(speed=20) as cloud:
        peer = await cloud.login()
        await peer.ask(Cmd.INTERNAL, 2, "mcu", "1", "h-beat", "10")
        begun = time.monotonic()
        await peer.closed()
        assert 23 <= (time.monotonic() - begun) * 20 + 0.5 < 46
