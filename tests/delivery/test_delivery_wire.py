"""Faults on the wire: what a bare socket, and curl, receive."""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time

import pytest

from pytest_blynk_ota.delivery import faults

SIZE = 100_003
EDGES = [0, 1, 23, 24, 287, 288, 4095, 4096, 65535, 65536, SIZE - 4096, SIZE - 1]
OFFSETS = EDGES + sorted(random.Random(174).sample(range(SIZE), 20))
"""Edges of the image header, of pages, of our own writes; and a seeded sample."""

PROMPT_S = 1.0

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def test_a_stall_comes_at_exactly_the_byte_asked_for(bench, firmware_bytes):
    for offset in [*OFFSETS, SIZE]:
        campaign = bench.offer(firmware_bytes, faults.stall(offset))
        cursor = bench.timeline.cursor
        device = bench.device(campaign.offer("o1")).request()
        fired = bench.wait("fault", after=cursor, phase="fired")
        if offset:
            bench.wait("progress", after=cursor, acked=offset)
        campaign.close()
        got = device.read()
        assert fired.data["at"] == offset
        assert got.headers["Content-Length"] == str(SIZE)
        assert got.body == firmware_bytes[:offset]
        over = bench.wait("fault", after=cursor, phase="over")
        ended = bench.wait("ended", after=cursor)
        assert ended.seq < over.seq
        assert (ended.data["acked"], ended.data["by"]) == (offset, "shutdown")


def test_a_truncated_answer_ends_by_fin_at_exactly_the_byte_asked_for(bench, firmware_bytes):
    for offset in OFFSETS:
        cursor = bench.timeline.cursor
        got = bench.get(bench.offer(firmware_bytes, faults.truncate(offset)).offer("o1"))
        assert (got.headers["Content-Length"], got.ended) == (str(SIZE), "fin")
        assert got.body == firmware_bytes[:offset]
        assert bench.wait("fault", after=cursor, phase="fired").data["at"] == offset
        ended = bench.wait("ended", after=cursor).data
        assert (ended["by"], ended["how"], ended["acked"]) == ("server", "fin", offset)


def test_a_reset_loses_none_of_the_bytes_before_it(bench, firmware_bytes):
    for offset in OFFSETS:
        cursor = bench.timeline.cursor
        got = bench.get(bench.offer(firmware_bytes, faults.reset(offset)).offer("o1"))
        assert got.ended == "rst"
        assert got.body == firmware_bytes[:offset]
        assert bench.wait("fault", after=cursor, phase="fired").data["at"] == offset
        ended = bench.wait("ended", after=cursor).data
        assert (ended["by"], ended["how"], ended["acked"]) == ("server", "rst", offset)


def test_a_reset_waits_for_a_slow_reader(bench):
    data = bytes(8_000_000)
    device = bench.device(bench.offer(data, faults.reset("last 1")).offer("o1")).request()
    stuck = bench.wait("progress")
    assert not bench.seen("fault")
    got = device.read()
    assert stuck.data["acked"] < len(data) - 1
    assert (len(got.body), got.ended) == (len(data) - 1, "rst")


def test_a_stall_of_some_seconds_goes_on_afterwards(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.stall("50%", seconds=6))
    got = bench.get(campaign.offer("o1"))
    assert got.body == firmware_bytes
    fired, over = bench.wait("fault", phase="fired"), bench.wait("fault", phase="over")
    assert 0.29 <= over.t - fired.t < 0.29 + PROMPT_S
    assert got.seconds >= 0.29
    assert bench.wait("ended").data["how"] == "complete"


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_device_that_leaves_a_stall_is_noticed_at_once(bench, firmware_bytes, leave):
    campaign = bench.offer(firmware_bytes, faults.stall(0))
    device = bench.device(campaign.offer("o1")).request()
    assert device.socket.recv(4096).endswith(b"\r\n\r\n")
    bench.wait("fault", phase="fired")
    begun = time.monotonic()
    getattr(device, leave)()
    ended = bench.wait("ended").data
    assert time.monotonic() - begun < PROMPT_S
    assert (ended["by"], ended["how"]) == ("device", "fin" if leave == "close" else "rst")
    assert len(bench.seen("ended")) == 1


def test_a_corrupt_body_arrives_with_the_headers_of_the_right_one(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.corrupt(flips=3))
    got, again = bench.get(campaign.offer("o1")), bench.get(campaign.offer("o2"))
    fired = bench.wait("fault", phase="fired").data
    changed = [at for at in range(SIZE) if got.body[at] != firmware_bytes[at]]
    assert changed == fired["offsets"]
    assert changed[0] == fired["at"] == SIZE // 2
    assert again.body == got.body
    assert again.headers["X-SHA256"] == bench.get(
        bench.offer(firmware_bytes).offer("o1")).headers["X-SHA256"]  # fmt: skip


def test_503_twice_then_the_file(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.status(503).on_attempt(1, 2))
    answers = [bench.get(campaign.offer(f"o{n}")) for n in (1, 2, 3)]
    assert [got.status for got in answers] == [503, 503, 200]
    assert answers[0].body == b"503 Service Unavailable\n"
    assert answers[2].body == firmware_bytes
    bench.wait("ended", attempt=3)
    fired = [event.data["attempt"] for event in bench.seen("fault", phase="fired")]
    assert fired == [1, 2]


@pytest.mark.parametrize("code", [200, 204, 206, 302, 304, 404, 499, 500])
def test_any_status_is_sent_as_asked_and_the_next_request_is_in_step(bench, firmware_bytes, code):
    campaign = bench.offer(firmware_bytes, faults.status(code).on_attempt(1))
    device = bench.device(campaign.offer("o1"))
    assert device.request().read().status == code
    other = campaign.offer("o2").removeprefix(f"http://127.0.0.1:{bench.server.address[1]}")
    assert device.request(target=other).read().body == firmware_bytes


def test_a_drip_sends_single_bytes_at_its_rate(bench, firmware_bytes):
    # 10 bytes a device second at speed 20: one each 5 ms, 100 of them in half a second.
    device = bench.device(
        bench.offer(firmware_bytes, faults.drip(10, after="last 100")).offer("o1"))  # fmt: skip
    device.request()
    fired = bench.wait("fault", phase="fired")
    got = device.read()
    assert got.body == firmware_bytes
    over = bench.wait("fault", phase="over")
    assert fired.data["at"] == SIZE - 100
    assert 0.48 <= over.t - fired.t < 0.48 + PROMPT_S
    assert over.seq < bench.wait("ended").seq


def test_a_bandwidth_holds_from_the_first_byte(bench_at, firmware_bytes):
    bench = bench_at(2.0)
    got = bench.get(bench.offer(firmware_bytes, faults.bandwidth(100_000)).offer("o1"))
    assert got.body == firmware_bytes
    # Both by the server's clock: a busy machine may start this reader late.
    took = bench.wait("ended").t - bench.wait("fault", phase="fired").t
    assert 0.49 <= took < 0.49 + PROMPT_S


def test_a_device_that_paused_is_not_flooded_to_make_up_for_it(bench):
    data = bytes(3_000_000)
    campaign = bench.offer(data, faults.bandwidth(200_000))
    device = bench.device(campaign.offer("o1")).request()
    pause = bench.timeline.wait(lambda _: None, 0.6)
    before = bench.seen("progress")[-1].data["written"]
    got = device.read()
    assert pause is None
    assert got.body == data
    assert got.seconds >= 0.9 * (len(data) - before) / (200_000 * 20)


@needs_curl
def test_curl_gets_exactly_the_bytes_before_a_stall(bench, firmware_bytes, tmp_path):
    campaign = bench.offer(firmware_bytes, faults.stall(54_321))
    target = tmp_path / "got.bin"
    with subprocess.Popen(["curl", "-s", "-N", "-o", str(target), campaign.offer("o1")]) as curl:
        bench.wait("fault", phase="fired", at=54_321)
        bench.wait("progress", acked=54_321)
        campaign.close()
        code = curl.wait(10)
    assert code == 18  # CURLE_PARTIAL_FILE
    assert target.read_bytes() == firmware_bytes[:54_321]


@needs_curl
def test_curl_resumes_a_plain_offer(bench, firmware_bytes, tmp_path):
    url = bench.offer(firmware_bytes).offer("o1")
    target = tmp_path / "got.bin"
    target.write_bytes(firmware_bytes[:777])
    subprocess.run(["curl", "-sf", "-C", "-", "-o", str(target), url], check=True, timeout=10)
    assert target.read_bytes() == firmware_bytes


def test_closing_from_another_thread_while_devices_come_and_go_leaves_one_end_each(
    bench, firmware_bytes
):
    campaign = bench.offer(firmware_bytes, faults.drip(10, after=0))
    devices = [bench.device(campaign.offer(f"o{n}")).request() for n in range(8)]
    for attempt in range(1, 9):
        bench.wait("response", attempt=attempt)
    leaver = threading.Thread(target=lambda: [device.close() for device in devices[:4]])
    leaver.start()
    campaign.close()
    leaver.join()
    bench.on_loop(bench.server.stop())
    ends = [event.data["attempt"] for event in bench.seen("ended")]
    assert sorted(ends) == list(range(1, 9))


def test_an_early_answer_comes_in_one_segment_with_the_other_or_alone(bench, firmware_bytes):
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    together = bench.get(bench.offer(firmware_bytes, faults.early(103)).offer("o1"))
    assert together.first_read.startswith(early + b"HTTP/1.1 200 OK\r\n")
    alone = bench.get(bench.offer(firmware_bytes, faults.early(103, gap=0.2)).offer("o1"))
    assert alone.first_read == early
