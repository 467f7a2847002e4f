"""The rules of the local Blynk cloud, each tried over a raw socket."""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from socket import SO_LINGER, SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

import pytest
from cloud_peer import INFO, OTHER_TOKEN, PATIENCE_S, TOKEN, Cloud, until

from pytest_blynk_ota.cloud.protocol import Cmd, Frame, encode, frame, response
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.cloud.site import Limits
from pytest_blynk_ota.errors import RigError, UsageError

pytestmark = pytest.mark.asyncio
URL = "http://127.0.0.1:1/f/new?token=0&s=0"
STRANGER = "ffffffffffffffffffffffffffffffff"


async def test_a_token_that_the_rig_gave_out_is_answered_200():
    async with Cloud() as cloud:
        peer = await cloud.connect()
        assert await peer.ask(Cmd.LOGIN, 1, TOKEN) == response(1, 200)
        connected, login = cloud.seen("connected")[0], cloud.seen("login")[0]
        assert (connected.board, login.board) == (None, "a")
        assert login.data["session"] == connected.data["session"]
        state = cloud.server.device("a")
        assert (state.online, state.session) == (True, login.data["session"])
        assert state.session_started == connected.t
        assert not cloud.server.device("b").online
        peer.leave()


@pytest.mark.parametrize("token", [STRANGER, "", "short", TOKEN + "0", TOKEN.upper()])
async def test_an_unknown_token_gets_no_answer_and_is_never_written_down(token, caplog):
    async with Cloud() as cloud:
        peer = await cloud.connect()
        peer.send(Cmd.LOGIN, 1, token)
        assert await peer.closed() == b""
        refused = await cloud.event("refused")
        closed = await cloud.event("closed")
        assert refused.data["why"].startswith("a token ")
        assert (closed.data["by"], closed.data["session"]) == ("server", refused.data["session"])
        written = [event.to_json() for event in cloud.timeline.events()] + [caplog.text]
        assert "login refused" in caplog.text
        assert not token or not any(token in text for text in written)


async def test_with_any_token_each_new_token_becomes_a_device():
    async with Cloud(any_token=True) as cloud:
        first, second = await cloud.login(STRANGER), await cloud.login(STRANGER[:-1] + "0")
        assert [event.board for event in cloud.seen("login")] == ["device-1", "device-2"]
        first.leave()
        await until("device-1 to go", lambda: not cloud.server.device("device-1").online)
        again = await cloud.login(STRANGER)
        assert cloud.seen("login")[-1].board == "device-1"
        for peer in (second, again):
            peer.leave()


async def test_with_any_token_so_many_are_let_in_and_the_first_too_many_is_in_the_log(
    monkeypatch, caplog
):
    monkeypatch.setattr("pytest_blynk_ota.cloud.device.MAX_STRANGERS", 2)
    async with Cloud(any_token=True) as cloud:
        for last in "01":
            (await cloud.login(STRANGER[:-1] + last)).leave()
        for last in "23":
            peer = await cloud.connect()
            peer.send(Cmd.LOGIN, 1, STRANGER[:-1] + last)
            assert await peer.closed() == b""
        (await cloud.login(STRANGER[:-1] + "1")).leave()
        (await cloud.login(TOKEN)).leave()
        why = "one unknown token more than the 2 that are let in"
        assert [event.data["why"] for event in cloud.seen("refused")] == [why, why]
    warned = [row.getMessage() for row in caplog.records if row.levelname == "WARNING"]
    assert warned.count("2 unknown tokens were let in, and no further ones are") == 1


async def test_even_with_any_token_a_token_of_another_form_is_refused():
    async with Cloud(any_token=True) as cloud:
        peer = await cloud.connect()
        peer.send(Cmd.LOGIN, 1, "short")
        assert await peer.closed() == b""


async def test_info_is_answered_and_reported_with_version_build_and_type():
    async with Cloud() as cloud:
        peer = await cloud.login()
        assert await peer.ask(Cmd.INTERNAL, 2, *INFO) == response(2, 200)
        assert cloud.seen("info")[0].data["pairs"]["dev"] == "ESP32"
        report = cloud.seen("report")[0]
        assert (report.board, dict(report.data)) == ("a", {
            "session": 1, "version": "1.2.3", "build": "Nov 23 2026 17:29:49",
            "fw_type": "TMPLtest",
        })  # fmt: skip
        (kept,) = cloud.server.device("a").reports
        assert (kept.t, kept.session, kept.version) == (report.t, 1, "1.2.3")
        peer.leave()


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (b"ver\x001.4.0\0fw\x002.0\0tmpl\0TMPLx\0", "2.0"),  # Linux C++: trailing NUL
        (b"tmpl\0TMPLx\0fw\x002.0\0mcu\x003.0\0ver\x009", "3.0"),  # mcu wins in any order
        (b"fw\x002.0\0surprise\0\xff\0mcu\0", "2.0"),  # an empty mcu names nothing
    ],
)
async def test_the_version_is_mcu_else_fw_in_any_order(body, version):
    async with Cloud() as cloud:
        peer = await cloud.login()
        peer.writer.write(encode(Frame(Cmd.INTERNAL, 2, body)))
        assert await peer.receive() == response(2, 200)
        assert cloud.seen("report")[0].data["version"] == version
        assert cloud.seen("report")[0].data["build"] == ""
        peer.leave()


async def test_the_library_version_alone_is_info_but_no_report():
    async with Cloud() as cloud:
        peer = await cloud.login()
        assert (await peer.ask(Cmd.INTERNAL, 2, "ver", "1.4.0", "build", "x")).status == 200
        assert len(cloud.seen("info")) == 1
        assert cloud.seen("report") == []
        assert cloud.server.device("a").reports == ()
        peer.leave()


@pytest.mark.parametrize(
    ("cmd", "parts", "status"),
    [
        (Cmd.PING, (), 200),
        (Cmd.INTERNAL, ("meta", "set", "Device UID", "1"), 200),
        (Cmd.INTERNAL, ("meta", "set"), 11),
        (Cmd.INTERNAL, ("utc", "tz"), 200),
        (Cmd.INTERNAL, ("dbg", "done"), 200),
        (Cmd.INTERNAL, (), 2),
        (Cmd.EVENT_LOG, ("sys_ota", "OTA started"), 200),
        (Cmd.EVENT_LOG, (), 11),
        (Cmd.EVENT_CLEAR, ("sys_ota",), 200),
        (Cmd.PROPERTY, ("1", "label", "x"), 200),
        (Cmd.PROPERTY, ("1", "label"), 11),
        (Cmd.LOGIN, (TOKEN,), 4),
        (Cmd.HARDWARE, ("vw", "1", "2"), None),
        (Cmd.HARDWARE_SYNC, ("vr", "1"), None),
        (Cmd.BRIDGE, ("1", "i", STRANGER), None),
        (Cmd.GROUP, ("x",), None),
        (Cmd.DEBUG_PRINT, ("x",), None),
    ],
)
async def test_each_command_of_a_device_is_answered_as_the_cloud_would(cmd, parts, status):
    async with Cloud() as cloud:
        peer = await cloud.login()
        peer.send(cmd, 9, *parts)
        if status is not None:
            assert await peer.receive() == response(9, status)
        assert await peer.alive()
        assert cloud.seen("info") == []
        peer.leave()


async def test_an_event_of_a_device_is_on_record():
    async with Cloud() as cloud:
        peer = await cloud.login()
        await peer.ask(Cmd.EVENT_LOG, 2, "sys_ota", "OTA started")
        event = cloud.seen("log_event", "a")[0]
        assert (event.data["code"], event.data["text"]) == ("sys_ota", "OTA started")
        peer.leave()


async def test_an_ota_command_arrives_whole_with_ids_that_are_never_zero():
    async with Cloud() as cloud:
        peer = await cloud.login()
        ids = []
        for number in range(3):
            assert await cloud.server.send_ota("a", URL, offer=f"o{number}") == 1
            message = await peer.receive()
            assert (message.cmd, message.body) == (Cmd.INTERNAL, b"ota\0" + URL.encode())
            ids.append(message.id)
        assert 0 not in ids
        assert len(set(ids)) == 3
        assert [event.data["offer"] for event in cloud.seen("ota_sent")] == ["o0", "o1", "o2"]
        peer.leave()


async def test_message_ids_skip_zero_when_they_wrap():
    async with Cloud() as cloud:
        peer = await cloud.login()
        session = cloud.server._registry.get("a").current
        session._last_id = 0xFFFE
        for expected in (0xFFFF, 1):
            await cloud.server.send_ota("a", URL, offer="o")
            assert (await peer.receive()).id == expected
        peer.leave()


async def test_a_device_that_is_not_logged_in_is_sent_nothing():
    async with Cloud() as cloud:
        assert await cloud.server.send_ota("a", URL, offer="o1") is None
        peer = await cloud.connect()
        assert await cloud.server.send_ota("a", URL, offer="o1") is None
        assert cloud.seen("ota_sent") == []
        peer.leave()


@pytest.mark.parametrize("buff_in", [None, 256])
async def test_a_url_that_fills_buff_in_is_sent_and_one_byte_more_is_refused(buff_in):
    async with Cloud() as cloud:
        peer = await cloud.login()
        if buff_in:
            await peer.ask(Cmd.INTERNAL, 2, "buff-in", str(buff_in))
        size = buff_in or 1024
        longest = "h" * (size - 5 - len(b"ota\0"))
        assert await cloud.server.send_ota("a", longest, offer="o1") == 1
        assert (await peer.receive()).parts == ("ota", longest)
        with pytest.raises(UsageError, match=rf"{size + 1} bytes.*at most {size}.*by 1$"):
            await cloud.server.send_ota("a", longest + "h", offer="o2")
        assert await peer.alive()
        peer.leave()


async def test_a_second_login_replaces_the_first_and_says_so():
    async with Cloud() as cloud:
        first = await cloud.login()
        second = await cloud.login()
        assert await first.closed() == b""
        closed = cloud.seen("closed", "a")[0]
        assert dict(closed.data) == {"session": 1, "by": "server", "why": "replaced by session 2"}
        assert await second.alive()
        state = cloud.server.device("a")
        assert (state.online, state.session) == (True, 2)
        assert await cloud.server.send_ota("a", URL, offer="o1") == 2
        second.leave()


async def test_a_device_that_leaves_is_offline_and_keeps_its_reports():
    async with Cloud() as cloud:
        peer = await cloud.login()
        await peer.ask(Cmd.INTERNAL, 2, *INFO)
        peer.leave()
        closed = await cloud.event("closed", "a")
        assert dict(closed.data) == {"session": 1, "by": "device", "why": "closed"}
        state = cloud.server.device("a")
        assert (state.online, state.session, len(state.reports)) == (False, None, 1)


async def test_a_device_that_resets_the_connection_closed_it():
    async with Cloud() as cloud:
        peer = await cloud.login()
        peer.writer.write(encode(frame(Cmd.PING, 2))[:3])
        await peer.writer.drain()
        await until("the piece to arrive", lambda: _session(cloud)._decoder.pending == 3)
        peer.writer.get_extra_info("socket").setsockopt(
            SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0)
        )
        peer.writer.transport.abort()
        closed = await cloud.event("closed", "a")
        assert closed.data["by"] == "device"
        assert closed.data["why"].endswith("inside a message, 3 bytes of it")


def _session(cloud):
    return cloud.server._registry.get("a").current


BREAKS = {
    "oversized body": (b"\x14\x00\x02\xff\xff", "HARDWARE announces a body of 65535 bytes"),
    "unknown command": (encode(Frame(99, 2)), "command 99 is not for a device"),
    "the old login": (encode(Frame(2, 2, TOKEN.encode())), "command 2 is not for a device"),
    "redirect": (encode(frame(Cmd.REDIRECT, 2, "h")), "REDIRECT is not for a device"),
    "id 0": (encode(frame(Cmd.PING, 0)), "PING with message id 0"),
    "another token": (encode(frame(Cmd.LOGIN, 2, OTHER_TOKEN)), "a second login, with another"),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_break_of_the_protocol_cuts_that_device_off_and_no_other(name, caplog):
    data, why = BREAKS[name]
    async with Cloud() as cloud:
        good, bad = await cloud.login(OTHER_TOKEN), await cloud.login()
        before, after = (encode(frame(Cmd.EVENT_LOG, 7, code)) for code in ("before", "after"))
        bad.writer.write(before + data + after)
        await bad.closed()
        assert [event.data["code"] for event in cloud.seen("log_event")] == ["before"]
        closed = await cloud.event("closed", "a")
        assert closed.data["by"] == "server"
        assert closed.data["why"].startswith(why)
        assert why in caplog.text
        assert not cloud.server.device("a").online
        assert await good.alive()
        assert cloud.seen("closed", "b") == []
        again = await cloud.login()
        assert await again.alive()
        for peer in (good, again):
            peer.leave()


@pytest.mark.parametrize("cmd", [Cmd.PING, Cmd.INTERNAL, Cmd.HARDWARE, Cmd.EVENT_LOG])
async def test_a_message_before_the_login_ends_the_connection(cmd):
    async with Cloud() as cloud:
        peer = await cloud.connect()
        peer.send(cmd, 1, "x", "y", "z")
        assert await peer.closed() == b""
        assert (await cloud.event("closed")).data["why"] == f"{cmd.name} before login"


async def test_a_message_in_pieces_is_taken():
    async with Cloud() as cloud:
        peer = await cloud.connect()
        data = encode(frame(Cmd.LOGIN, 1, TOKEN))
        for piece in (data[:1], data[1:4], data[4:20], data[20:]):
            peer.writer.write(piece)
            await peer.writer.drain()
            await asyncio.sleep(0)
        assert await peer.receive() == response(1, 200)
        peer.leave()


async def test_a_device_that_does_not_read_its_answers_is_cut_off():
    async with Cloud(limits=Limits(flood_per_s=None)) as cloud:
        good, bad = await cloud.login(OTHER_TOKEN), await cloud.login()
        for end, option in ((bad.writer, SO_RCVBUF), (_session(cloud)._transport, SO_SNDBUF)):
            end.get_extra_info("socket").setsockopt(SOL_SOCKET, option, 4096)
        bad.writer.transport.pause_reading()
        pings = encode(frame(Cmd.PING, 2)) * 2000
        deadline = time.monotonic() + PATIENCE_S
        while not cloud.seen("closed", "a"):
            assert time.monotonic() < deadline
            bad.writer.write(pings)
            await asyncio.sleep(0.001)
        why = cloud.seen("closed", "a")[0].data["why"]
        assert why == "more than 65536 bytes wait for the device to read them"
        assert await good.alive()
        for peer in (good, bad):
            peer.leave()


async def test_a_connection_without_a_login_is_closed_in_scaled_time_but_not_at_once():
    async with Cloud(speed=1000) as cloud:
        began = time.monotonic()
        peer = await cloud.connect()
        assert await peer.closed() == b""
        assert time.monotonic() - began >= 0.25
        assert (await cloud.event("closed")).data["why"] == "no login within 10 s"


@pytest.mark.parametrize(("beat", "limit"), [(None, 104), ("10", 23), ("1", 23), ("x", 104)])
async def test_silence_of_2_3_heartbeats_ends_a_session(beat, limit):
    async with Cloud(speed=400) as cloud:
        peer = await cloud.login()
        if beat:
            await peer.ask(Cmd.INTERNAL, 2, "h-beat", beat)
        began = time.monotonic()
        await peer.closed()
        assert time.monotonic() - began >= max(limit / 400, 0.25) * 0.95
        closed = cloud.seen("closed", "a")[0]
        assert closed.data["by"] == "server"
        assert closed.data["why"].startswith(f"silent for {limit} s, 2.3 heartbeats")


async def test_a_device_that_pings_stays_longer_than_the_silence_limit():
    async with Cloud(speed=100) as cloud:
        peer = await cloud.login()
        end = time.monotonic() + 1.5  # 150 device seconds; the limit is 104
        while time.monotonic() < end:
            assert await peer.alive()
            await asyncio.sleep(0.1)
        assert cloud.seen("closed") == []
        peer.leave()


async def test_a_device_that_still_speaks_is_on_record_but_not_with_each_message():
    async with Cloud(speed=100) as cloud:
        peer = await cloud.login()
        assert await peer.alive()
        assert cloud.seen("heard") == []  # the login has just said so
        await asyncio.sleep(0.11)  # 11 device seconds
        for _ in range(5):
            assert await peer.alive()
        (heard,) = cloud.seen("heard", "a")
        assert heard.data == {"session": cloud.seen("login")[0].data["session"], "what": "PING"}
        peer.leave()


async def test_bytes_that_never_become_a_message_are_silence():
    async with Cloud(speed=1000) as cloud:
        peer = await cloud.login()
        peer.writer.write(b"\x14\x00\x02\x7f\xff")
        while not cloud.seen("closed"):
            peer.writer.write(b"x")
            await asyncio.sleep(0.02)
        assert cloud.seen("closed", "a")[0].data["why"].startswith("silent")
        await peer.closed()


async def test_two_devices_are_served_at_once_each_with_its_own_url():
    async with Cloud() as cloud:
        peers = {"a": await cloud.login(), "b": await cloud.login(OTHER_TOKEN)}
        for board, peer in peers.items():
            await peer.ask(Cmd.INTERNAL, 2, "mcu", f"1.0.{board}")
        sent = await asyncio.gather(
            *(cloud.server.send_ota(board, f"http://h/{board}", offer=board) for board in peers)
        )
        assert sent == [1, 2]
        for board, peer in peers.items():
            assert (await peer.receive()).parts == ("ota", f"http://h/{board}")
            assert cloud.server.device(board).reports[0].version == f"1.0.{board}"
            peer.leave()


async def test_devices_may_be_added_and_removed_from_another_thread():
    async with Cloud() as cloud:
        add = threading.Thread(target=cloud.server.add_device, args=("c", STRANGER))
        add.start()
        add.join()
        peer = await cloud.login(STRANGER)
        remove = threading.Thread(target=cloud.server.remove_device, args=("c",))
        remove.start()
        remove.join()
        assert await peer.closed() == b""
        assert cloud.seen("closed", "c")[0].data["why"] == "the device was removed from the rig"
        with pytest.raises(UsageError, match=r"no device 'c'; it knows: a, b"):
            cloud.server.device("c")


@pytest.mark.parametrize(
    ("board", "token", "why"),
    [
        ("a", STRANGER, "board a has a token already"),
        ("c", TOKEN, "board c has the token of a"),
        ("c", "short", "this one has 5 characters"),
        ("c", "x" * 31 + " ", "32 printable ASCII"),
    ],
)
async def test_a_device_that_would_be_ambiguous_is_refused(board, token, why):
    async with Cloud() as cloud:
        with pytest.raises(UsageError, match=why) as caught:
            cloud.server.add_device(board, token)
        assert token not in str(caught.value)
        cloud.server.add_device("a", TOKEN)  # the same again is fine


async def test_stop_closes_every_connection_and_the_port():
    cloud = Cloud()
    async with cloud:
        address = cloud.server.address
        peers = [await cloud.login(), await cloud.connect()]
    for peer in peers:
        assert await peer.closed() == b""
    assert [event.data["why"] for event in cloud.seen("closed")] == ["the cloud was stopped"] * 2
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(*address)
    with pytest.raises(RigError, match="not started, or stopped"):
        cloud.server.address  # noqa: B018
    await cloud.server.stop()


async def test_a_port_in_use_is_a_fault_of_the_rig_with_its_number():
    async with Cloud() as cloud:
        host, port = cloud.server.address
        with pytest.raises(RigError, match=f"cannot listen on {host}:{port}: "):
            await CloudServer(lambda *_, **__: None, host=host, port=port).start()


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
async def test_a_speed_that_is_no_speed_is_refused(speed):
    with pytest.raises(UsageError, match="device seconds in a wall second"):
        CloudServer(lambda *_, **__: None, speed=speed)
