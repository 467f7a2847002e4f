"""Clients that mean no good, or cannot do better: each is written down, the others are served."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
import time

import pytest

from pytest_blynk_ota.delivery import connection, doors, faults, server
from pytest_blynk_ota.delivery.exchange import PROGRESS_WALL_S

GARBAGE = {
    "noise": random.Random(6).randbytes(3000) + b"\r\n\r\n",
    "no request": b"hello there\r\n\r\n",
    "a TLS hello": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a header that is none": b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    "a space in the target": b"GET /f/new bin HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
}


@pytest.fixture
def peer(bench, firmware_bytes):
    """A connection that has said nothing yet."""
    url = bench.offer(firmware_bytes).offer("o1")
    return bench.device(url)


def everything(sock):
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        return data, "rst"
    return data, "fin"


def others_go_on(bench, firmware_bytes):
    return bench.get(bench.offer(firmware_bytes).offer("other")).body == firmware_bytes


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_answered_with_400_and_written_down(bench, firmware_bytes, peer, what):
    peer.socket.sendall(GARBAGE[what])
    answer, ended = everything(peer.socket)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert ended == "fin"
    refused = bench.wait("refused").data
    assert (refused["conn"], refused["status"]) == (1, 400)
    assert len(refused["why"]) > 5
    assert not bench.seen("request")
    assert others_go_on(bench, firmware_bytes)


@pytest.mark.parametrize("version", [b"0.9", b"2.0"])
def test_a_version_that_is_not_spoken_is_answered_with_505(bench, firmware_bytes, peer, version):
    peer.socket.sendall(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
    answer, ended = everything(peer.socket)
    assert answer.startswith(b"HTTP/1.1 505 ")
    assert ended == "fin"
    assert version.decode() in bench.wait("refused").data["why"]


def test_ten_thousand_header_lines_are_too_many(bench, firmware_bytes, peer):
    lines = b"".join(b"X-Header-%d: %d\r\n" % (n, n) for n in range(10_000))
    peer.socket.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
    answer, _ = everything(peer.socket)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert bench.wait("refused").data["status"] == 431
    assert others_go_on(bench, firmware_bytes)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_who_does_not_ask_in_time_is_let_go(bench_at, firmware_bytes, said):
    bench = bench_at(20.0, patience_wall_s=0.2)
    device = bench.device(bench.offer(firmware_bytes).offer("o1"))
    device.socket.sendall(said)
    assert everything(device.socket) == (b"", "fin")
    assert "within 0.2 s" in bench.wait("refused").data["why"]
    assert others_go_on(bench, firmware_bytes)


def test_byte_by_byte_is_too_slow_as_well(bench_at, firmware_bytes):
    bench = bench_at(20.0, patience_wall_s=0.3)
    device = bench.device(bench.offer(firmware_bytes).offer("o1"))

    def drips():
        for _ in range(200):
            device.socket.sendall(b"G")
            bench.timeline.wait(lambda _: None, 0.01)

    with pytest.raises(ConnectionError):
        drips()
    bench.wait("refused")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00"])
def test_who_does_not_shake_hands_in_time_is_let_go(bench_at, firmware_bytes, said):
    bench = bench_at(20.0, patience_wall_s=0.2)
    url = bench.offer(firmware_bytes, https=True).offer("o1")
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0]))) as device:
        device.sendall(said)
        everything(device)
    assert bench.seen("handshake") or bench.seen("refused")


def test_noise_at_the_https_port_is_written_down(bench, firmware_bytes):
    url = bench.offer(firmware_bytes, https=True).offer("o1")
    with socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0]))) as device:
        device.sendall(GARBAGE["noise"])
        everything(device)
    assert bench.wait("handshake").data["why"]
    assert bench.get(url).body == firmware_bytes


def test_a_device_that_was_served_may_keep_silent(bench_at, firmware_bytes):
    bench = bench_at(20.0, patience_wall_s=0.1)
    device = bench.device(bench.offer(firmware_bytes).offer("o1"))
    assert device.request().read().body == firmware_bytes
    bench.timeline.wait(lambda _: None, 0.3)
    assert device.request().read().body == firmware_bytes
    assert not bench.seen("refused")


def test_half_a_request_and_gone_is_no_request(bench, firmware_bytes, peer):
    peer.socket.sendall(b"GET / HTTP/1.1\r\nHo")
    peer.reset()
    assert others_go_on(bench, firmware_bytes)
    assert len(bench.seen("request")) == 1


def test_a_body_that_nobody_asked_for_ends_the_connection(bench, firmware_bytes, peer):
    peer.socket.sendall(
        f"POST {peer.target} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n".encode()
    )
    answer, ended = everything(peer.socket)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert ended == "fin"


def test_requests_on_top_of_requests_are_answered_in_turn(bench, firmware_bytes, peer):
    peer.request().request().request()
    first = peer.read(body=False)
    rest = b""
    while len(rest) < 3 * len(firmware_bytes) + 2 * len(first.head) - len(first.body):
        rest += peer.socket.recv(65536)
    assert rest.count(b"HTTP/1.1 200 OK") == 2


def test_a_flood_behind_a_request_fills_no_memory(bench, firmware_bytes):
    device = bench.device(bench.offer(bytes(4_000_000)).offer("o1"), window=4096).request()
    bench.wait("progress")
    device.socket.setblocking(False)
    sent = 0
    for _ in range(2000):
        try:
            sent += device.socket.send(bytes(65536))
        except BlockingIOError:
            bench.timeline.wait(lambda _: None, 0.001)
    assert sent < 64_000_000
    assert others_go_on(bench, firmware_bytes)


def test_who_leaves_behind_a_flood_is_noticed(bench, firmware_bytes):
    device = bench.device(bench.offer(firmware_bytes, faults.stall("50%")).offer("o1")).request()
    bench.wait("fault", phase="fired")
    device.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            device.socket.send(bytes(65536))
    device.reset()
    assert bench.wait("ended").data["by"] == "device"


def test_what_was_thrown_away_of_a_flood_is_no_request(bench, firmware_bytes):
    stall = faults.stall("50%").until_event("go")
    campaign = bench.offer(firmware_bytes, stall)
    device = bench.device(campaign.offer("o1")).request()
    bench.wait("fault", phase="fired")
    device.socket.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + bytes(200_000))
    bench.on_loop(asyncio.sleep(3 * PROGRESS_WALL_S))
    campaign.saw("go")
    assert device.read().body == firmware_bytes
    assert everything(device.socket)[0] == b""
    assert len(bench.seen("request")) == 1


def test_the_oldest_that_has_not_asked_makes_room_for_a_newer_one(
    bench, firmware_bytes, monkeypatch
):
    monkeypatch.setattr(server, "WAITING", 5)
    url = bench.offer(firmware_bytes).offer("o1")
    served = bench.device(url)
    assert served.request().read().body == firmware_bytes
    idle = [bench.device(url) for _ in range(8)]
    for _ in range(3):
        bench.wait("refused", conn=2)
    assert bench.wait("refused", conn=4).data["why"].startswith("too many connections")
    assert idle[0].socket.recv(1) == b""
    assert served.request().read().body == firmware_bytes
    assert idle[-1].request().read().body == firmware_bytes


def test_the_oldest_that_asks_no_more_makes_room_for_a_newer_one(
    bench, firmware_bytes, monkeypatch
):
    monkeypatch.setattr(server, "WAITING", 3)
    url = bench.offer(firmware_bytes, faults.stall("50%").on_attempt(1)).offer("o1")
    busy = bench.device(url).request()
    bench.wait("fault", phase="fired")
    kept = []
    for conn in range(2, 7):
        kept.append(bench.device(url).request(target="/nothing-here"))
        assert kept[-1].read().status == 404
        bench.wait("ended", conn=conn)
    assert bench.device(url).request(target="/nothing-here").read().status == 404
    assert [event.data["conn"] for event in bench.seen("refused")] == [2, 3, 4]
    assert "ask for nothing more" in bench.seen("refused")[0].data["why"]
    assert kept[0].socket.recv(1) == b""
    assert kept[-1].request(target="/nothing-here").read().status == 404
    assert not bench.seen("ended", conn=1)
    busy.close()


def test_a_kept_connection_that_asks_no_more_is_closed_without_a_word(
    bench, firmware_bytes, monkeypatch
):
    monkeypatch.setattr(connection, "IDLE_WALL_S", 0.1)
    device = bench.device(bench.offer(firmware_bytes).offer("o1"))
    assert device.request().read().body == firmware_bytes
    assert device.socket.recv(1) == b""
    assert not bench.seen("refused")


def test_no_file_descriptor_left_is_waited_out_without_asking_all_the_time(
    bench, firmware_bytes, monkeypatch
):
    url = bench.offer(firmware_bytes).offer("o1")
    accept, asked = socket.socket.accept, []

    def scarce(listener):
        asked.append(listener)
        if len(asked) < 3:
            raise OSError((errno.EMFILE, errno.ENFILE)[len(asked) % 2], "Too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    begun = time.monotonic()
    assert bench.get(url).body == firmware_bytes
    assert time.monotonic() - begun >= 2 * doors.BREATH_WALL_S
