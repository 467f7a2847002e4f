"""Silence below TCP: connections that vanish, ports that refuse or say nothing."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest

from pytest_blynk_ota.delivery import campaign, faults, filters, server
from pytest_blynk_ota.delivery.exchange import AFTERWORD_S
from pytest_blynk_ota.delivery.steps import Answer, Cut, Due, Say, Send
from pytest_blynk_ota.errors import RigError

pytestmark = pytest.mark.skipif(
    filters.unavailable() is not None, reason=f"no silence here: {filters.unavailable()}"
)

DUE = Due(0, faults.vanish(0))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def dialled(url, timeout=10):
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout)


@pytest.fixture
def vanished(vanishing):
    """A device whose server is gone behind the first 100 bytes of the body."""
    return vanishing()


@pytest.fixture
def vanishing(bench, monkeypatch):
    """Makes one."""
    return lambda: _vanished(bench, monkeypatch)


def _vanished(bench, monkeypatch):
    steps = Say(HEAD), Send(100), Cut(DUE, "vanish", 100)
    monkeypatch.setattr(
        server, "answer", lambda *_, **__: Answer(200, 1000, steps, bytes(1000), due={0: 100})
    )
    campaign = bench.server.campaign("c3-a", bytes(1000), name="new.bin")
    device = bench.device(campaign.offer("o1")).request()
    bench.wait("fault", phase="fired", at=100)
    data = b""
    while len(data) < len(HEAD) + 100:
        data += device.socket.recv(65536)
    device.campaign = campaign
    return device


def unacked(sock):
    """Bytes that this end has sent and nobody has acknowledged (SIOCOUTQ)."""
    import array
    import fcntl
    import termios

    left = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, left)
    return left[0]


def test_a_server_that_vanished_sends_and_acknowledges_nothing(bench, vanished):
    vanished.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        vanished.socket.recv(1)
    assert not bench.seen("ended")
    vanished.socket.sendall(b"are you there?")
    ended = bench.wait("ended").data
    assert (ended["by"], ended["how"], ended["acked"]) == ("server", "vanish", 100)
    with pytest.raises(TimeoutError):
        vanished.socket.recv(1)
    assert unacked(vanished.socket) == len(b"are you there?")


def test_a_device_that_gives_up_on_a_vanished_server_is_noticed_by_its_fin(bench, vanished):
    begun = time.monotonic()
    vanished.socket.shutdown(socket.SHUT_WR)
    assert bench.wait("ended").data["how"] == "vanish"
    assert time.monotonic() - begun < 1


def test_what_a_device_says_of_the_bytes_before_the_silence_is_no_giving_up(
    bench, monkeypatch, vanishing
):
    """As its window, when it has read them: the kernel counts that like any other packet."""
    dropped = iter([0])  # when it falls silent
    monkeypatch.setattr(filters, "dropped", lambda sock: next(dropped, 1))
    device = vanishing()
    device.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        device.socket.recv(1)
    assert not bench.seen("ended")
    monkeypatch.setattr(filters, "dropped", lambda sock: 2)
    assert bench.wait("ended").data["how"] == "vanish"


def test_a_vanished_connection_ends_with_its_campaign(bench, vanished):
    vanished.campaign.close()
    assert bench.wait("ended").data["by"] == "shutdown"


def test_a_refused_port_is_refused_once_somebody_has_knocked(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.unreachable("refused").on_attempt(1))
    url = campaign.offer("o1")
    assert not bench.seen("fault")
    with pytest.raises(ConnectionRefusedError):
        dialled(url)
    with pytest.raises(ConnectionRefusedError):
        dialled(url)
    fired = bench.wait("fault", phase="fired")
    assert (fired.board, fired.data["offer"], fired.data["attempt"]) == ("c3-a", "o1", 1)
    assert campaign.attempts == 1
    assert bench.get(campaign.offer("o2")).body == firmware_bytes
    assert bench.wait("request").data["attempt"] == 2
    assert len(bench.seen("fault", phase="fired")) == 1
    campaign.close()
    bench.wait("fault", phase="over")


def test_a_silent_port_never_answers(bench, firmware_bytes):
    url = bench.offer(firmware_bytes, faults.unreachable("silent")).offer("o1")
    with pytest.raises(TimeoutError):
        dialled(url, 0.3)
    bench.wait("fault", phase="fired")


@pytest.mark.parametrize("how", ["silent", "refused"])
def test_a_port_is_back_after_its_time_and_the_attempt_goes_on(bench, firmware_bytes, how):
    campaign = bench.offer(firmware_bytes, faults.unreachable(how, seconds=10))  # 0.5 s
    url = campaign.offer("o1")
    with pytest.raises(OSError):
        dialled(url, 0.1)
    fired, over = bench.wait("fault", phase="fired"), bench.wait("fault", phase="over")
    assert 0.49 <= over.t - fired.t < 1.5
    assert bench.get(url).body == firmware_bytes
    assert bench.wait("request").data["attempt"] == 1


def test_a_port_is_back_when_its_event_is_seen(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.unreachable("silent").until_event("go"))
    url = campaign.offer("o1")
    with pytest.raises(TimeoutError):
        dialled(url, 0.1)
    bench.wait("fault", phase="fired")
    campaign.saw("go")
    bench.wait("fault", phase="over")
    assert bench.get(url).body == firmware_bytes


def test_a_port_is_gone_from_its_event_on(bench, firmware_bytes):
    campaign = bench.offer(firmware_bytes, faults.unreachable("silent").from_event("offline"))
    url = campaign.offer("o1")
    dialled(url).close()
    campaign.saw("offline")
    bench.on_loop(_turn())
    with pytest.raises(TimeoutError):
        dialled(url, 0.1)
    bench.wait("fault", phase="fired")


def test_other_offers_are_served_while_a_port_is_silent(bench, firmware_bytes):
    bench.offer(firmware_bytes, faults.unreachable("silent")).offer("o1")
    assert bench.get(bench.offer(firmware_bytes).offer("o2")).body == firmware_bytes


@pytest.mark.parametrize("https", [False, True])
def test_a_device_that_leaves_by_a_reset_is_noticed_at_once(bench_at, https):
    bench = bench_at(1.0)
    url = bench.offer(bytes(50_000), faults.vanish("50%"), https=https).offer("o1")
    device = bench.device(url).request()
    fired = bench.wait("fault", phase="fired")
    device.reset()
    ended = bench.wait("ended")
    assert (ended.data["by"], ended.data["how"]) == ("server", "vanish")
    assert ended.t - fired.t < AFTERWORD_S


async def _turn():
    pass


@pytest.mark.parametrize("first", ["event", "close"])
def test_a_port_that_is_given_back_is_not_shut_any_more(bench, caplog, first):
    wants = faults.unreachable().from_event("login").maybe()
    campaign = bench.offer(bytes(1000), wants, faults.stall("50%"))
    bench.device(campaign.offer("o1")).request()
    bench.wait("fault", phase="fired")
    if first == "event":
        campaign.saw("login")
        campaign.close()
    else:
        campaign.close()
        campaign.saw("login")
    bench.on_loop(bench.server.stop())
    assert not caplog.records


def test_only_so_many_connections_are_kept_silent(bench, monkeypatch):
    monkeypatch.setattr(campaign, "VANISHED", 2)
    url = bench.offer(bytes(1000), faults.vanish("request"), every_get=True).offer("o1")
    left = []
    for conn in range(1, 4):
        device = bench.device(url).request()
        bench.wait("fault", conn=conn, phase="fired")
        device.socket.shutdown(socket.SHUT_WR)
        bench.wait("ended", conn=conn)
        left.append(device)
    with pytest.raises(ConnectionResetError):
        left[0].socket.recv(1)
    assert not left[1].is_reset()


@pytest.mark.parametrize("fault", [faults.vanish(0), faults.unreachable().maybe()], ids=str)
def test_silence_that_cannot_be_had_is_the_racks_fault_before_anything_is_served(
    bench, monkeypatch, fault
):
    monkeypatch.setattr(filters.sys, "platform", "darwin")
    with pytest.raises(RigError, match=rf"{fault} cannot be done here: .*this is darwin"):
        bench.offer(bytes(1000), fault)
