"""Steps on the wire: what a bare socket receives of an answer that was made by hand."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import sys
import time

import pytest

from pytest_blynk_ota.delivery import exchange, faults, filters, server
from pytest_blynk_ota.delivery.steps import (
    Answer,
    Cut,
    Due,
    Fire,
    Hold,
    Later,
    Over,
    Pace,
    Say,
    Send,
)

PROMPT_S = 1.0
DATA_SEGMENTS_IN = 152
"""``tcpi_data_segs_in`` in struct tcp_info (linux/tcp.h, 4.6)."""

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads TCP_INFO")
DUE = Due(0, faults.stall(0))
SIZE = 100_000
BODY = bytes(range(250)) * (SIZE // 250)


def head(length=SIZE):
    return Say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)


@pytest.fixture
def answered(bench, monkeypatch):
    """Makes the server answer each request by these steps; gives the device that asked."""

    def ask(
        *steps, body=BODY, announced=SIZE, https=False, later=(), keep=True, window=None, whole=True
    ):
        more = {"later": later, "keep": keep, "whole": whole}
        made = Answer(200, announced, steps, body, due={0: None}, **more)
        monkeypatch.setattr(server, "answer", lambda *_, **__: made)
        campaign = bench.server.campaign("c3-a", BODY, name="new.bin", https=https)
        device = bench.device(campaign.offer("o1"), window).request()
        device.campaign = campaign
        return device

    return ask


def pieces(device):
    """What each recv() of a device that is always waiting gives, after the head."""
    found = []
    while data := device.socket.recv(65536):
        found.append(data)
    return found


@pytest.mark.parametrize("https", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 777, 16_384, 16_385, 50_000, SIZE])
def test_a_fin_stands_behind_exactly_the_bytes_before_it(bench, answered, stop, https):
    device = answered(head(), Send(stop), Cut(DUE, "fin", stop), https=https)
    got = device.read()
    assert (got.body, got.ended) == (BODY[:stop], "fin" if stop < SIZE else "length")
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"]) == ("server", "fin")
    assert (ended["written"], ended["acked"]) == (stop, stop)


@pytest.mark.parametrize("https", [False, True])
def test_a_reset_comes_once_all_before_it_was_acknowledged(bench, answered, https):
    device = answered(head(), Send(70_000), Cut(DUE, "rst", 70_000), https=https)
    got = device.read()
    assert (got.body, got.ended) == (BODY[:70_000], "rst")
    assert bench.wait("ended").data["acked"] == 70_000


@pytest.mark.parametrize("step", [Cut(DUE, "rst", SIZE), Cut(DUE, "vanish", SIZE), Hold()])
def test_a_fault_behind_the_last_byte_fires_though_the_device_leaves_with_it(
    bench, answered, monkeypatch, step
):
    monkeypatch.setattr(exchange, "ACK_POLL_WALL_S", (60.0,))  # the device is the quicker
    fire = (Fire(DUE, SIZE),) if isinstance(step, Hold) else ()
    device = answered(head(), Send(SIZE), *fire, step, window=4096)
    assert device.read().body == BODY
    device.close()
    assert bench.wait("ended").data["acked"] == SIZE
    assert bench.seen("fault")


def test_a_device_that_leaves_before_a_stall_has_not_met_it(bench, answered):
    device = answered(head(), Send(12_000), Fire(DUE, 12_000), Hold(), window=2048)
    device.socket.recv(100)
    bench.wait("progress", written=12_000)
    device.close()
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"]) == ("device", "rst")
    assert ended["acked"] < 12_000
    assert not bench.seen("fault")


def test_a_half_closed_connection_is_listened_at_until_the_device_goes(bench, answered):
    device = answered(head(), Send(10), Cut(DUE, "half", 10))
    assert device.read().ended == "fin"
    device.socket.sendall(b"still here")
    device.socket.sendall(b"and here")
    assert not bench.seen("ended")
    device.close()
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"], ended["acked"]) == ("server", "half", 10)


def test_a_healthy_answer_keeps_the_connection_and_counts_anew(bench, answered):
    device = answered(head(), Send(SIZE))
    for _ in range(3):
        assert device.read().body == BODY
        device.request()
    device.read()
    assert [event.data["how"] for event in bench.seen("ended")][:3] == ["complete"] * 3
    assert len(bench.seen("connection")) == 1


def test_an_answer_without_keep_ends_by_fin_at_once(bench, answered):
    device = answered(head(), Send(SIZE), keep=False)
    assert device.read().body == BODY
    assert device.socket.recv(1) == b""
    assert bench.wait("ended").data["how"] == "complete"


def test_a_body_without_its_last_chunk_is_not_complete_whoever_closes(bench, answered):
    device = answered(head(), Send(SIZE), announced=None, keep=False, whole=False)
    assert device.read().body == BODY
    assert device.socket.recv(1) == b""
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"]) == ("server", "fin")


@pytest.mark.parametrize("https", [False, True])
@pytest.mark.parametrize("device_first", [False, True])
def test_less_than_was_announced_is_an_end_of_ours_whoever_is_seen_first(
    bench, answered, monkeypatch, device_first, https
):
    if device_first:  # it is gone before the acknowledgement is looked for
        monkeypatch.setattr(exchange, "ACK_POLL_WALL_S", (60.0,))
    more = {"announced": SIZE + 100, "keep": False, "https": https}
    device = answered(head(SIZE + 100), Send(SIZE), **more, window=4096)
    assert (device.read().ended, device.close()) == ("fin", None)
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"], ended["acked"]) == ("server", "short", SIZE)


def test_less_than_was_announced_on_a_connection_that_stays_is_waited_for(bench, answered):
    device = answered(head(SIZE + 100), Send(SIZE), announced=SIZE + 100)
    bench.wait("progress", acked=SIZE)
    bench.on_loop(asyncio.sleep(3 * exchange.PROGRESS_WALL_S))
    assert not bench.seen("ended")
    device.close()
    assert bench.wait("ended").data["by"] == "device"


def test_more_than_was_announced_is_complete_whoever_closes(bench, answered):
    device = answered(head(500), Send(SIZE), announced=500, window=2048)
    assert device.read().body[:500] == BODY[:500]
    device.reset()
    ended = bench.wait("ended").data
    assert (ended["how"], ended["acked"] >= 500) == ("complete", True)


def test_a_record_cut_in_two_is_an_end_that_tls_notices(bench, answered):
    device = answered(head(), Send(20_000), Cut(DUE, "record", 20_000), https=True)
    got = device.read()
    assert got.body == BODY[:20_000]
    assert got.ended == "UNEXPECTED_EOF_WHILE_READING"
    assert bench.wait("ended").data["acked"] == 20_000


def test_a_spoiled_record_is_refused_by_the_devices_tls(bench, answered):
    device = answered(head(), Send(20_000), Cut(DUE, "bad-record", 20_000), https=True)
    got = device.read()
    assert got.body == BODY[:20_000]
    assert got.ended == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"], ended["acked"]) == ("server", "bad-record", 20_000)


def test_an_end_without_close_notify_is_told_from_one_with_it(bench, answered):
    steps = head(), Send(SIZE), Cut(DUE, "no-close-notify", SIZE)
    device = answered(*steps, https=True, keep=False)
    assert device.read().body == BODY
    with pytest.raises(ssl.SSLEOFError):
        device.socket.recv(1)
    device = answered(head(), Send(SIZE), https=True, keep=False)
    assert device.read().body == BODY
    assert device.socket.recv(1) == b""


@pytest.mark.parametrize("https", [False, True])
def test_a_hold_without_end_sends_exactly_what_is_before_it(bench, answered, https):
    device = answered(head(), Send(54_321), Fire(DUE, 54_321), Hold(), https=https)
    bench.wait("progress", acked=54_321, written=54_321)
    device.campaign.close()
    got = device.read()
    assert (got.body, got.ended) == (BODY[:54_321], "fin" if not https else got.ended)
    assert bench.wait("ended").data["by"] == "shutdown"


def test_a_hold_ends_when_its_event_is_seen(bench, answered):
    device = answered(head(), Send(100), Fire(DUE, 100), Hold(until="login"), Over(DUE), Send(SIZE))
    bench.wait("progress", acked=100)
    assert not bench.seen("fault", phase="over")
    device.campaign.saw("offline")
    device.campaign.saw("login")
    assert device.read().body == BODY
    assert bench.wait("fault", phase="over").data["at"] == 100


@linux_only
def test_pieces_are_tcp_segments_of_their_own_whenever_the_device_reads(bench, answered):
    pace = Pace(piece=100, gap=0.02)  # 1 ms at speed 20
    device = answered(head(1000), Send(1000, pace), body=BODY[:1000], announced=1000)
    bench.wait("ended")
    info = device.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    assert struct.unpack_from("=I", info, DATA_SEGMENTS_IN)[0] == 11  # the head, and ten pieces
    assert device.read().body == BODY[:1000]


@linux_only
def test_pieces_that_wait_for_the_devices_window_are_not_joined(bench, answered):
    pace = Pace(piece=100, gap=0.002)
    body = BODY[:40_000]
    device = answered(head(40_000), Send(40_000, pace), body=body, announced=40_000, window=2048)
    bench.wait("progress")
    bench.timeline.wait(lambda _: None, 0.2)  # the window is shut, and pieces wait
    got = device.read()
    info = device.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    assert got.body == body
    assert struct.unpack_from("=I", info, DATA_SEGMENTS_IN)[0] >= 401


def test_a_rate_makes_nothing_up_after_a_hold(bench, answered):
    pace = Pace(rate=10_000)  # 100 kB at 200 kB/s
    steps = Send(50_000, pace), Fire(DUE, 50_000), Hold(4.0), Over(DUE), Send(SIZE, pace)
    answered(head(), *steps)
    ended, over = bench.wait("ended"), bench.wait("fault", phase="over")
    assert ended.t - over.t >= 0.24


def test_a_gap_passes_before_each_further_piece(bench, answered):
    pace = Pace(piece=100, gap=1.0)  # 50 ms at speed 20
    begun = time.monotonic()
    device = answered(head(1000), Send(1000, pace), body=BODY[:1000], announced=1000)
    assert device.read().body == BODY[:1000]
    assert 0.44 <= time.monotonic() - begun < 0.44 + PROMPT_S


def test_a_rate_ends_when_its_event_is_seen_and_says_so(bench, answered):
    due = Due(0, faults.drip(10).until_event("go"))
    pace = Pace(rate=10, piece=1, until="go")
    device = answered(head(), Fire(due, 0), Send(SIZE, pace), Over(due))
    bench.wait("progress")
    device.campaign.saw("go")
    assert device.read().body == BODY
    assert len(bench.seen("fault", phase="over")) == 1
    assert bench.wait("fault", phase="over").data["at"] < 100


def test_a_rate_that_a_slower_one_stands_in_for_is_over_when_its_event_is_seen(bench):
    slow = faults.bandwidth(2000).until_event("login")
    campaign = bench.offer(BODY, slow, faults.bandwidth(4000).until_event("reset"))
    device = bench.device(campaign.offer("o1")).request()
    bench.wait("progress")
    campaign.saw("reset")
    assert bench.wait("fault", phase="over").data["index"] == 1
    campaign.saw("login")
    assert device.read().body == BODY
    assert [event.data["index"] for event in bench.seen("fault", phase="over")] == [1, 0]


def test_a_device_that_leaves_a_hold_has_left_though_another_came_in_its_midst(bench, answered):
    later = Later(6.0, (Fire(Due(1, DUE.fault), -1), Hold(0.2), Over(Due(1, DUE.fault))))
    device = answered(head(), Send(SIZE), Fire(DUE, SIZE), Hold(), later=(later,))
    bench.wait("fault", index=1, phase="over")
    device.reset()
    ended = bench.wait("ended").data
    assert (ended["by"], ended["acked"]) == ("device", SIZE)


def test_a_head_can_drip(bench, answered):
    said = Say(head(0).data, Pace(rate=40, piece=1))
    begun = time.monotonic()
    got = answered(said, body=b"", announced=0).read()
    assert len(got.first_read) < len(said.data)
    assert time.monotonic() - begun >= 0.9 * len(said.data) / (40 * 20)


def test_what_comes_by_the_clock_cuts_the_answer_wherever_it_is(bench, answered):
    later = Later(2.0, (Cut(DUE, "fin", -1),))  # 0.1 s
    pace = Pace(rate=10_000)
    device = answered(head(), Send(SIZE, pace), later=(later,))
    got = device.read()
    at = bench.wait("fault", phase="fired").data["at"]
    assert got.ended == "fin"
    assert got.body == BODY[:at]
    assert 10_000 < at < SIZE


@pytest.mark.parametrize("https", [False, True])
def test_a_stall_by_the_clock_comes_where_the_device_is(bench, answered, https):
    data = bytes(8_000_000)
    later = Later(4.0, (Fire(DUE, -1), Hold()))
    device = answered(head(len(data)), Send(len(data)), body=data, announced=len(data),
                      later=(later,), window=4096, https=https)  # fmt: skip
    at = bench.wait("fault", phase="fired").data["at"]
    told = bench.seen("progress")[-1].data
    assert 0 < at <= told["acked"] + 2 * 16_384
    if not https:  # a record that has begun goes on to its end
        bench.wait("progress", written=at)
    got = -len(head(len(data)).data)
    while got < at:
        got += len(device.socket.recv(65536))
    assert got == at
    bench.wait("progress", acked=at, written=at)


@pytest.mark.skipif(filters.unavailable() is not None, reason="no silence on this host")
@pytest.mark.parametrize("https", [False, True])
def test_little_is_on_its_way_where_something_comes_by_the_clock(bench, answered, https):
    data = bytes(1_000_000)
    later = Later(8.0, (Fire(DUE, -1), Hold()))
    device = answered(head(len(data)), Hold(2.0), Send(len(data)), body=data,
                      announced=len(data), later=(later,), https=https)  # fmt: skip
    filters.silence(device.socket)  # it acknowledges nothing any more
    assert bench.wait("fault", phase="fired").data["at"] <= 2 * 16_384


def test_a_reset_by_the_clock_waits_for_no_reader(bench, answered):
    data = bytes(8_000_000)
    device = answered(head(len(data)), Send(len(data)), body=data, announced=len(data),
                      later=(Later(2.0, (Cut(DUE, "rst", -1),)),), window=4096)  # fmt: skip
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"]) == ("server", "rst")
    assert bench.wait("fault", phase="fired").data["at"] == ended["acked"]
    assert device.is_reset()


def test_a_fin_by_the_clock_stands_behind_what_is_on_its_way(bench, answered):
    data = bytes(range(250)) * 32_000
    device = answered(head(len(data)), Send(len(data)), body=data, announced=len(data),
                      later=(Later(2.0, (Cut(DUE, "fin", -1),)),), window=4096)  # fmt: skip
    at = bench.wait("fault", phase="fired").data["at"]
    got = device.read()
    assert (got.ended, got.body) == ("fin", data[:at])
    assert bench.wait("ended").data["acked"] == at


def test_what_comes_by_the_clock_comes_while_the_end_waits_for_the_device(bench, answered):
    device = answered(head(), Send(SIZE), later=(Later(2.0, (Cut(DUE, "rst", -1),)),), window=4096)
    assert bench.wait("ended").data["how"] == "rst"
    assert device.is_reset()


def test_a_pace_that_comes_by_the_clock_holds_for_what_is_left(bench, answered):
    later = Later(2.0, (Fire(DUE, -1),), Pace(rate=100_000))
    steps = head(), Send(50_000), Hold(3.0), Send(SIZE)
    begun = time.monotonic()
    got = answered(*steps, later=(later,)).read()
    assert got.body == BODY
    assert time.monotonic() - begun >= 0.15 + 50_000 / 2_000_000
    assert bench.wait("fault", phase="fired").data["at"] == 50_000


def test_a_later_hold_for_a_time_lets_the_answer_go_on(bench, answered):
    later = Later(1.0, (Fire(DUE, -1), Hold(4.0), Over(DUE)))
    device = answered(head(), Send(SIZE, Pace(rate=50_000)), later=(later,))
    assert device.read().body == BODY
    fired, over = bench.wait("fault", phase="fired"), bench.wait("fault", phase="over")
    assert over.t - fired.t >= 0.2
    assert fired.data["at"] == over.data["at"]


def test_acknowledged_bytes_inside_tls_are_those_of_whole_records(bench, answered):
    device = answered(head(), Send(SIZE), https=True)
    assert device.read().body == BODY
    ended = bench.wait("ended").data
    assert (ended["acked"], ended["written"], ended["how"]) == (SIZE, SIZE, "complete")


@linux_only
def test_a_device_that_stops_within_a_record_has_not_got_that_one(bench, answered):
    data = bytes(4_000_000)
    answered(head(len(data)), Send(len(data)), body=data, announced=len(data), https=True,
             window=20_000)  # fmt: skip
    bench.wait("progress")
    bench.timeline.wait(lambda _: None, 0.3)
    told = {event.data["acked"] for event in bench.seen("progress")}
    assert max(told) > 0
    assert [acked for acked in told if acked % 16_384] == []


def test_bytes_that_nobody_reads_make_no_rst_of_a_fin(bench, answered):
    device = answered(head(), Send(100), Hold(4.0), Cut(DUE, "fin", 100))
    device.socket.setblocking(False)
    sent = 0
    for _ in range(30):
        try:
            sent += device.socket.send(bytes(10_000))
        except BlockingIOError:
            break
    assert sent > 2 * 65_536  # more than the server takes from the kernel
    device.socket.settimeout(10)
    got = device.read()
    assert (got.body, got.ended) == (BODY[:100], "fin")
    bench.wait("ended")
    assert not device.is_reset()


def test_the_response_says_what_is_due(bench, answered):
    answered(head(), Send(SIZE)).read()
    assert bench.wait("response").data["due"] == [[0, None]]
