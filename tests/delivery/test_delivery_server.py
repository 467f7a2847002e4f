"""The server with nothing wrong: who gets the file, and what is written down about it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.errors import FaultError, RigError
from pytest_blynk_ota.evidence.timeline import Recorder

RECEIVED_OFFSET = 128
"""``tcpi_bytes_received`` in struct tcp_info (linux/tcp.h)."""

PROMPT_S = 1.0
"""Something that must not wait for any time-out; the shortest around is 10 s."""


def test_an_offered_file_arrives_whole_and_is_written_down(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes)
    got = bench.get(campaign.offer("o1"))
    ended = bench.wait("ended")
    assert got.status == 200
    assert got.body == firmware_bytes
    size = len(firmware_bytes)
    assert ended.board == "c3-a"
    assert ended.data == {
        "conn": 1, "offer": "o1", "attempt": 1, "status": 200, "page": False, "part": None,
        "by": "server", "how": "complete", "written": size, "acked": size, "announced": size,
        "acked_by": "tcp_info",
    }  # fmt: skip
    kinds = [event.kind for event in bench.timeline.events() if event.kind != "progress"]
    assert kinds == ["connection", "request", "response", "ended"]


def test_the_headers_come_in_one_segment_spelled_as_edgent_reads_them(bench, firmware_bytes):
    got = bench.get(bench.offer(firmware_bytes).offer("o1"))
    assert got.first_read.startswith(got.head)
    assert len(got.head) < 536
    assert f"\r\nContent-Length: {len(firmware_bytes)}\r\n".encode() in got.head
    assert got.headers["x-MD5"] == hashlib.md5(firmware_bytes).hexdigest()
    digest = hashlib.sha256(firmware_bytes).digest()
    assert base64.b64decode(got.headers["X-SHA256"]) == digest


def test_a_url_is_secret_fresh_and_ends_so_that_edgent_leaves_it_alone(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, name="new image.bin")
    urls = [campaign.offer("o1"), campaign.offer("o2")]
    assert urls[0] != urls[1]
    assert all(url.endswith("&s=0") and "/f/new%20image.bin?token=" in url for url in urls)
    assert bench.get(urls[0]).body == firmware_bytes
    path = bench.wait("request").data["path"]
    assert urls[0].split("token=")[1][:32] not in path


@pytest.mark.parametrize("change", [
    lambda url: url.replace("token=", "token=0"),
    lambda url: url.split("?")[0],
    lambda url: url.replace("/f/new.bin", "/f/old.bin"),
    lambda url: url.replace("/f/new.bin", "/"),
    lambda url: url.replace("/f/new.bin", "/f/../etc/passwd"),
])  # fmt: skip
def test_anything_but_an_offered_url_is_404_and_written_down(bench, firmware_bytes, change):
    campaign = bench.offer(firmware_bytes)
    got = bench.get(change(campaign.offer("o1")))
    assert got.status == 404
    assert firmware_bytes[:16] not in got.body
    assert bench.wait("request").data["offer"] is None
    assert bench.wait("response").data["status"] == 404
    assert bench.wait("ended").board is None
    assert campaign.attempts == 0


def test_other_methods_are_refused(bench, firmware_bytes):
    got = bench.get(bench.offer(firmware_bytes).offer("o1"), "POST")
    assert (got.status, got.headers["Allow"]) == (405, "GET, HEAD")


OURS = {
    404: ("GET", "/nothing-here", {}),
    405: ("PUT", None, {}),
    403: ("GET", None, {"single_use": True}),
}


@pytest.mark.parametrize("status", OURS)
@pytest.mark.parametrize(
    ("version", "more"), [("1.1", b"Connection: close\r\n"), ("1.0", b"")], ids=["close", "1.0"]
)
def test_a_page_of_our_own_is_the_last_where_the_device_wants_no_other(
    bench, firmware_bytes, status, version, more
):
    method, target, options = OURS[status]
    device = bench.device(bench.offer(firmware_bytes, **options).offer("o1"))
    if status == 403:
        assert device.request().read().body == firmware_bytes
    line = f"{method} {target or device.target} HTTP/{version}\r\nHost: a\r\n".encode()
    device.socket.sendall(line + more + b"\r\n")
    got = device.read()
    assert (got.status, got.headers["Connection"]) == (status, "close")
    assert device.socket.recv(1) == b""


def test_a_page_of_our_own_keeps_the_connection_otherwise(bench, firmware_bytes):
    device = bench.device(bench.offer(firmware_bytes).offer("o1"))
    assert device.request(target="/nothing-here").read().status == 404
    assert device.request().read().body == firmware_bytes


def test_a_closed_campaign_is_not_served_any_more(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes)
    url = campaign.offer("o1")
    campaign.close()
    assert bench.get(url).status == 404
    assert bench.get(campaign.offer("late")).status == 404


def test_head_tells_the_length_and_keeps_the_attempt(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes)
    url = campaign.offer("o1")
    head = bench.get(url, "HEAD")
    assert head.headers["Content-Length"] == str(len(firmware_bytes))
    assert campaign.attempts == 0
    assert bench.get(url).body == firmware_bytes
    assert campaign.attempts == 1
    assert [event.data["attempt"] for event in bench.seen("request")] == [1, 1]


def test_a_range_is_honoured_within_the_attempt(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes)
    url = campaign.offer("o1")
    got = bench.get(url, Range="bytes=50000-")
    assert got.status == 206
    assert got.headers["Content-Range"] == f"bytes 50000-100002/{len(firmware_bytes)}"
    assert got.body == firmware_bytes[50000:]
    assert bench.get(url, Range="bytes=100003-").status == 416
    assert bench.get(url, Range="bytes=0-9", If_Range='"x"').body == firmware_bytes
    assert campaign.attempts == 1
    assert bench.wait("request").data["range"] == "bytes=50000-"


def test_each_new_offer_begins_the_next_attempt(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes)
    first, second = campaign.offer("o1"), campaign.offer("o2")
    for url in (first, first, second):
        assert bench.get(url).status == 200
    seen = [(e.data["offer"], e.data["attempt"]) for e in bench.seen("request")]
    assert seen == [("o1", 1), ("o1", 1), ("o2", 2)]
    assert campaign.attempts == 2


def test_each_get_can_be_an_attempt_of_its_own(bench, firmware_bytes):
    listed = [faults.status(503).on_attempt(1, 2)]
    campaign = bench.server.campaign(
        None, firmware_bytes, name="new.bin", faults=listed, every_get=True
    )
    url = campaign.offer("o1")
    assert [bench.get(url).status for _ in range(3)] == [503, 503, 200]
    assert bench.get(url, Range="bytes=0-9").status == 206
    assert campaign.attempts == 3


def test_a_kept_connection_serves_again_and_counts_anew(bench, firmware_bytes):
    device = bench.device(bench.offer(firmware_bytes).offer("o1"))
    for _ in range(3):
        assert device.request().read().body == firmware_bytes
    bench.wait("ended", after=bench.seen("request")[-1].seq)
    assert len(bench.seen("connection")) == 1
    acked = [event.data["acked"] for event in bench.seen("ended")]
    assert acked == [len(firmware_bytes)] * 3


def test_progress_is_what_the_device_acknowledged(bench):
    data = bytes(4_000_000)
    device = bench.device(bench.offer(data).offer("o1")).request()
    stuck = bench.wait("progress")
    device.read()
    bench.wait("ended")
    steps = [(event.data["acked"], event.data["written"]) for event in bench.seen("progress")]
    assert stuck.data["written"] < len(data)
    assert steps == sorted(steps)
    assert all(acked <= written for acked, written in steps)
    assert len(steps) <= 51 + 20 * PROMPT_S


def test_a_device_that_does_not_read_is_not_said_to_have_got_the_file(bench):
    data = bytes(16_000_000)
    campaign = bench.offer(data)
    device = bench.device(campaign.offer("o1")).request()
    bench.wait("progress")
    device.reset()
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"]) == ("device", "rst")
    assert 0 < ended["acked"] < len(data)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO is read on Linux only")
def test_a_head_that_goes_out_slowly_is_progress_too(bench):
    url = bench.offer(bytes(1000), faults.slow_headers(20)).offer("o1")
    got = bench.get(url)
    told = [event.data for event in bench.seen("progress") if event.data["acked"] == 0]
    wire = [data["wire"] for data in told]
    assert len(wire) > 1
    assert wire == sorted(set(wire))
    assert 0 < wire[-1] <= len(got.head)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO is read on Linux only")
def test_acknowledged_bytes_are_the_body_bytes_that_the_devices_tcp_received(bench):
    device = bench.device(bench.offer(bytes(16_000_000)).offer("o1")).request()

    def received():
        info = device.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        head = device.socket.recv(4096, socket.MSG_PEEK).partition(b"\r\n\r\n")[0]
        return struct.unpack_from("=Q", info, RECEIVED_OFFSET)[0] - len(head) - 4

    def agreed(events):
        told = [event.data for event in events if event.kind == "progress"]
        return next((data for data in told if data["acked"] == received()), None)

    last = bench.timeline.wait(agreed, 3)
    assert last is not None, f"{received()} received, {bench.seen('progress')}"
    assert 0 < last["acked"] <= last["written"] < last["acked"] + 1024 * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="TCP_INFO is read on Linux only")
def test_a_device_that_stops_reading_early_has_acknowledged_what_its_window_took(bench):
    url = bench.offer(bytes(200_000), faults.corrupt(at=0)).offer("o1")
    bench.device(url, window=4096).request()

    def took_more(events):
        told = [event.data for event in events if event.kind == "progress"]
        return next((data for data in told if data["acked"] > 1000), None)

    last = bench.timeline.wait(took_more, PROMPT_S)
    assert last is not None, f"{bench.seen('progress')}"
    assert last["acked"] < last["written"] < 200_000


def test_bytes_behind_the_announced_ones_are_written_too(bench, firmware_bytes):
    bench.get(bench.offer(firmware_bytes, faults.pad(4096)).offer("o1"))
    ended = bench.wait("ended").data
    assert ended["written"] == len(firmware_bytes) + 4096
    assert ended["announced"] == len(firmware_bytes)


def test_a_device_that_closes_upon_our_fin_was_not_the_first(bench, firmware_bytes):
    for _ in range(10):
        cursor = bench.timeline.cursor
        bench.get(bench.offer(firmware_bytes, faults.length(off=100)).offer("o1"))
        ended = bench.wait("ended", after=cursor).data
        assert (ended["by"], ended["how"]) == ("server", "short")


def test_two_boards_download_at_once_each_with_its_own_faults(bench, firmware_bytes):
    other = bytes(reversed(firmware_bytes))
    first = bench.offer(firmware_bytes, faults.truncate(1234))
    second = bench.server.campaign("esp32-a", other, name="new.bin", faults=[faults.status(503)])
    third = bench.server.campaign("esp32-b", other, name="new.bin")
    campaigns = {"o1": first, "o2": second, "o3": third}
    urls = [campaign.offer(offer) for offer, campaign in campaigns.items()]
    with ThreadPoolExecutor(3) as pool:
        one, two, three = pool.map(bench.get, urls)
    assert one.body == firmware_bytes[:1234]
    assert two.status == 503
    assert three.body == other
    ends = [bench.wait("ended", offer=offer) for offer in campaigns]
    assert [(end.board, end.data["how"]) for end in ends] == [
        ("c3-a", "fin"), ("esp32-a", "complete"), ("esp32-b", "complete"),
    ]  # fmt: skip


def test_closing_a_campaign_ends_its_open_answers_and_no_others(bench, firmware_bytes):
    stalled = bench.offer(firmware_bytes, faults.stall("50%"))
    held = bench.server.campaign("esp32-a", firmware_bytes, name="x", faults=[faults.stall("5%")])
    devices = [bench.device(campaign.offer("o1")).request() for campaign in (stalled, held)]
    for board in ("c3-a", "esp32-a"):
        bench.wait("fault", phase="fired", at=50_001 if board == "c3-a" else 5000)
    begun = time.monotonic()
    stalled.close()
    assert [(e.board, e.data["by"]) for e in bench.seen("ended")] == [("c3-a", "shutdown")]
    assert devices[0].read().ended == "fin"
    assert time.monotonic() - begun < PROMPT_S


def test_a_campaign_can_be_closed_on_the_servers_own_loop(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.stall("50%"))
    device = bench.device(campaign.offer("o1")).request()
    bench.wait("fault", phase="fired")
    bench.loop.call_soon_threadsafe(campaign.close)
    assert bench.wait("ended").data["by"] == "shutdown"
    assert device.read().ended == "fin"


def test_stopping_the_server_ends_everything_at_once(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.stall("50%"))
    devices = [bench.device(campaign.offer(f"o{n}")).request() for n in range(5)]
    idle = bench.device(campaign.offer("idle"))
    for attempt in range(1, 6):
        bench.wait("fault", phase="fired", attempt=attempt)
    begun = time.monotonic()
    bench.on_loop(bench.server.stop())
    assert time.monotonic() - begun < PROMPT_S
    assert [event.data["by"] for event in bench.seen("ended")] == ["shutdown"] * 5
    assert all(device.read().ended == "fin" for device in devices)
    assert idle.socket.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        bench.device(f"http://127.0.0.1:{bench.server.address[1]}/")


def test_a_url_that_was_wanted_before_the_start_takes_no_port_from_those_after(
    bench, firmware_bytes
):
    server = DeliveryServer(Recorder(bench.timeline))
    campaign = server.campaign("c3-a", firmware_bytes, name="new.bin")
    with pytest.raises(RigError, match="has not been started"):
        campaign.offer("early")
    bench.on_loop(server.start())
    try:
        assert bench.get(campaign.offer("o1")).body == firmware_bytes
    finally:
        bench.on_loop(server.stop())


def test_a_campaign_closed_while_a_url_is_made_leaves_no_port(bench, firmware_bytes, monkeypatch):
    campaign = bench.offer(firmware_bytes, faults.tls("expired"), https=True)
    give, doors = bench.server._give_door, []

    def interrupted(offer):
        give(offer)
        doors.append(offer.door.address)
        bench.on_loop(asyncio.sleep(0))  # it is open
        campaign.close()

    monkeypatch.setattr(bench.server, "_give_door", interrupted)
    campaign.offer("o1")
    bench.on_loop(asyncio.sleep(0))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(doors[0])


def test_a_fault_that_cannot_fire_is_refused_before_a_url_exists(bench, firmware_bytes):
    with pytest.raises(FaultError, match=r"outside of new\.bin"):
        bench.offer(firmware_bytes, faults.stall(len(firmware_bytes) + 1))


def test_a_taken_port_is_the_racks_fault_and_says_which(bench):
    taken = bench.server.address[1]
    with pytest.raises(RigError, match=f"127.0.0.1:{taken}"):
        bench.on_loop(DeliveryServer(bench.timeline.add, port=taken).start())
