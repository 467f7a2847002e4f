"""Who gets a file, and for how long: tokens, lifetimes, URLs for one use."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pytest_blynk_ota.delivery import doors, faults, filters
from pytest_blynk_ota.errors import FaultError, RigError, UsageError


def test_a_url_is_answered_with_403_once_its_time_is_over(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, lifetime_s=4)  # 0.2 s at speed 20
    url = campaign.offer("o1")
    assert bench.get(url).body == firmware_bytes
    bench.timeline.wait(lambda _: None, 0.25)
    late = bench.get(url)
    assert late.status == 403
    assert b"expired" in late.body
    assert bench.get(campaign.offer("o2")).status == 200
    assert [event.data["status"] for event in bench.seen("response")] == [200, 403, 200]


def test_a_get_that_comes_when_the_time_is_over_counts_as_a_download_once(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, lifetime_s=0.001)
    url = campaign.offer("o1")
    bench.timeline.wait(lambda _: None, 0.05)
    assert bench.get(url, "HEAD").status == 403
    assert campaign.attempts == 0
    assert [bench.get(url).status for _ in range(2)] == [403, 403]
    assert campaign.attempts == 1
    assert [event.data["attempt"] for event in bench.seen("request")] == [None, 1, 1]


@pytest.mark.parametrize("lifetime", [0, -1])
def test_a_lifetime_that_is_none_is_refused(bench, firmware_bytes, lifetime):
    with pytest.raises(UsageError, match="lifetime_s"):
        bench.offer(firmware_bytes, lifetime_s=lifetime)


def test_a_url_for_one_use_serves_one_get_and_any_number_of_heads(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, single_use=True)
    url = campaign.offer("o1")
    assert bench.get(url, "HEAD").status == 200
    assert bench.get(url).body == firmware_bytes
    assert bench.get(url, "HEAD").status == 200
    used = bench.get(url, Range="bytes=0-9")
    assert (used.status, b"used" in used.body) == (403, True)
    assert bench.get(campaign.offer("o2")).status == 200
    assert campaign.attempts == 2


def test_the_target_of_a_redirect_is_another_use(bench, firmware_bytes):
    url = bench.offer(firmware_bytes, single_use=True).offer("o1")
    behind = url.replace("&s=0", "&hop=1&s=0")
    assert [bench.get(one).status for one in (url, behind, url, behind)] == [200, 200, 403, 403]


def test_a_token_opens_the_file_that_it_was_made_for_and_no_other(bench, firmware_bytes):
    other = bytes(reversed(firmware_bytes))
    first = bench.offer(firmware_bytes, name="a.bin").offer("o1")
    second = bench.offer(other, name="b.bin").offer("o2")
    crossed = first.split("/f/")[0] + "/f/b.bin?" + urlsplit(first).query
    assert bench.get(crossed).status == 404
    assert bench.get(first).body == firmware_bytes
    assert bench.get(second).body == other


@pytest.mark.parametrize("target", [
    "/", "/f/", "/f/new.bin", "/f/new.bin?token=", "/f/new.bin?token=0&token={token}",
    "//f/new.bin?token={token}", "/f/../f/new.bin?token={token}", "/f/%2e%2e/new.bin?token={token}",
    "/f/new.bin/?token={token}", "/F/new.bin?token={token}", "/f/new.bin%00?token={token}",
    "/etc/passwd?token={token}", "/f/%2fetc%2fpasswd?token={token}", "http://[/?token={token}",
])  # fmt: skip
def test_there_is_no_way_out_of_the_offers(bench, firmware_bytes, target):
    url = bench.offer(firmware_bytes).offer("o1")
    token = url.split("token=")[1].split("&")[0]
    device = bench.device(url).request(target=target.format(token=token))
    got = device.read()
    assert got.status in (400, 404)
    assert firmware_bytes[:16] not in got.body


def test_a_whole_url_as_target_is_understood(bench, firmware_bytes):
    url = bench.offer(firmware_bytes).offer("o1")
    assert bench.device(url).request(target=url).read().body == firmware_bytes


def test_the_bytes_of_a_file_are_those_at_the_time_of_the_campaign(bench, tmp_path):
    other = tmp_path / "other.bin"
    other.write_bytes(b"x" * 500)
    campaign = bench.offer(bytes(500), faults.other(str(other)).on_attempt(2))
    other.unlink()
    got = [bench.get(campaign.offer(name)).body for name in ("o1", "o2")]
    assert got == [bytes(500), b"x" * 500]


def test_another_file_that_is_not_there_is_refused_by_name(bench, tmp_path):
    with pytest.raises(FaultError, match=r"nowhere\.bin cannot be read: No such file"):
        bench.offer(bytes(500), faults.other(str(tmp_path / "nowhere.bin")))


def test_https_and_http_campaigns_are_served_side_by_side(bench, firmware_bytes):
    urls = [bench.offer(firmware_bytes, https=https).offer("o") for https in (True, False, True)]
    assert [bench.get(url).body for url in urls] == [firmware_bytes] * 3


def test_a_fault_that_this_host_cannot_do_is_refused_with_the_reason(
    bench, firmware_bytes, monkeypatch
):
    def refuses(_):
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(doors.filters, "silence", refuses)
    with pytest.raises(RigError, match=r"unreachable how=silent cannot be done here.*filter"):
        bench.offer(firmware_bytes, faults.unreachable("silent"))


def test_a_url_before_the_start_is_refused(bench, firmware_bytes):
    server = type(bench.server)(bench.timeline.add)
    with pytest.raises(RigError, match="not been started"):
        server.campaign(None, firmware_bytes, name="new.bin").offer("o1")


def test_a_url_that_is_made_too_late_leads_nowhere_and_opens_nothing(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.unreachable("silent"))
    bench.on_loop(bench.server.stop())
    assert campaign.offer("late").startswith("http://127.0.0.1:")
    assert bench.server.ports == []


@pytest.mark.skipif(filters.unavailable() is not None, reason="no silence on this host")
def test_a_campaign_that_is_over_leaves_no_port_and_no_connection_open(bench, firmware_bytes):
    def files():
        return len(list(Path("/proc/self/fd").iterdir()))

    before, held = files(), []
    campaign = bench.offer(
        firmware_bytes, faults.vanish(10), faults.unreachable("silent").on_attempt(4)
    )
    for number in range(1, 4):
        held.append(bench.device(campaign.offer(f"o{number}")).request())
        bench.wait("fault", phase="fired", attempt=number)
    held[0].socket.sendall(b"are you there?")
    bench.wait("ended", attempt=1)
    campaign.offer("o4")
    assert files() == before + 3 * 2 + 2  # both ends of each, and a port that is kept
    wires = list(campaign.vanished)  # nothing is closed because it is forgotten
    campaign.close()
    for device in held:
        device.close()
    bench.on_loop(asyncio.sleep(0.05))
    assert files() == before
    assert len(wires) == 1


def test_urls_of_an_ipv6_address_have_it_in_brackets(bench_at, firmware_bytes):
    try:
        bench = bench_at(20.0, host="::1")
    except RigError as error:
        pytest.skip(f"no IPv6 here: {error}")
    url = bench.offer(firmware_bytes).offer("o1")
    assert url.startswith("http://[::1]:")
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 10) as device:
        device.sendall(f"GET {parts.path}?{parts.query} HTTP/1.0\r\n\r\n".encode())
        data = b""
        while chunk := device.recv(65536):
            data += chunk
    assert data.endswith(firmware_bytes)
    assert bench.wait("connection").data["peer"].startswith("[::1]:")
