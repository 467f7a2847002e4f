"""Packets held back by a real kernel, in a network namespace of their own.

Run by ``test_rig_network_kernel.py`` through ``unshare``; by hand on a kernel with ``sch_netem``:
``unshare -rn sh -c "ip link set lo up; pytest tests/rig/network_in_a_kernel.py"``.
"""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from pytest_blynk_ota.errors import Unavailable
from pytest_blynk_ota.rig.network.commands import Ports
from pytest_blynk_ota.rig.network.link import Link
from pytest_blynk_ota.rig.network.shape import Shape

HOST = "127.0.0.1"
SOON_S = 0.7
"""Less than TCP's first retransmission of a SYN, after 1 s."""
SPEED = 20
SEGMENT_BYTES = 1436
WINDOW_BYTES = 4 * SEGMENT_BYTES
"""As lwIP has them: loopback's own segments of 64 KB would make a rate hop."""
HEADERS_BYTES = 66
"""Ethernet, IP and TCP with a time stamp: a rate is that of the whole packets."""

LEFT_BEHIND = f"""
import time
from pytest_blynk_ota.rig.network.link import Link, Ports
from pytest_blynk_ota.rig.network.shape import Shape
link = Link("lo", 1)  # a link that nobody holds gives its seat back
link.shape({{"down": Shape.of(loss=1), "up": Shape.of(rate=1)}}, Ports("{HOST}", (9,)))
print("shaped", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))


def shell(text):
    return subprocess.run(text, shell=True, check=True, capture_output=True, text=True).stdout


def qdiscs(device="lo"):
    """What holds packets back there now."""
    said = shell(f"tc qdisc show dev {device}; tc filter show dev {device} ingress")
    return re.sub(r"direct_packets_stat \d+", "", said)


@contextlib.contextmanager
def shaped(speed=1, interface="lo", address=HOST, **wanted):
    """A link that is shaped in the block, and afterwards as it was before."""
    ports = Ports(address, tcp=wanted.pop("tcp", ()), udp=wanted.pop("udp", ()))
    before = qdiscs(interface)
    link = Link(interface, speed)
    link.shape(wanted, ports)
    try:
        yield link
    finally:
        link.shape({}, ports)
        assert qdiscs(interface) == before


@contextlib.contextmanager
def sink(address=HOST):
    """A server that takes connections; its port."""
    with socket.create_server((address, 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        yield server


def port(server):
    return server.getsockname()[1]


def reaches(server, address=HOST, timeout=SOON_S):
    try:
        socket.create_connection((address, port(server)), timeout).close()
    except TimeoutError:
        return False
    return True


def transfer_s(server, size, *, up=False):
    """Seconds that so many bytes take, from the server or to it, in segments as a board's."""
    with socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        client.connect((HOST, port(server)))
        peer, _ = server.accept()
        sender, receiver = (client, peer) if up else (peer, client)
        thread = threading.Thread(target=sender.sendall, args=(bytes(size),))
        thread.start()
        left, began = size, time.monotonic()
        while left:
            left -= len(receiver.recv(left))
        took = time.monotonic() - began
        thread.join()
        peer.close()
        return took


@pytest.mark.parametrize("way", ["down", "up"])
def test_a_rate_holds_in_its_direction_and_for_its_port_alone(way):
    with sink() as ours, sink() as others:
        shape = {way: Shape.of(rate=5_000)}
        packets_s = 1 + HEADERS_BYTES / SEGMENT_BYTES  # 100 kB at 100 kB/s of this host
        with shaped(SPEED, tcp=(port(ours),), **shape):
            took = transfer_s(ours, 100_000, up=way == "up")
            assert took == pytest.approx(packets_s, rel=0.1)
            assert transfer_s(ours, 100_000, up=way != "up") < 0.5
            assert transfer_s(others, 1_000_000) < 0.5


@pytest.mark.parametrize("way", ["down", "up"])
def test_a_partition_lets_nothing_to_its_port_and_all_to_others(way):
    with sink() as ours, sink() as others:
        with shaped(tcp=(port(ours),), **{way: Shape.of(loss=1)}):
            assert not reaches(ours)
            assert reaches(others)
        assert reaches(ours)


def test_a_port_opened_meanwhile_is_cut_off_too():
    with sink() as ours, shaped(down=Shape.of(loss=1)) as link:
        assert reaches(ours)
        link.cover(Ports(HOST, tcp=(port(ours),)))
        assert not reaches(ours)


def test_a_shape_that_is_changed_holds_at_once_and_both_ways():
    with sink() as ours, shaped(tcp=(port(ours),), down=Shape.of(rate=1e6)) as link:
        assert reaches(ours)
        link.shape({"down": Shape.of(loss=1)}, Ports(HOST))
        assert not reaches(ours)
        link.shape({"up": Shape.of(rate=1e6)}, Ports(HOST))
        assert reaches(ours)


def test_two_runs_hold_back_their_own_ports():
    with sink() as first, sink() as second, shaped(tcp=(port(first),), down=Shape.of(loss=1)):
        with shaped(tcp=(port(second),), down=Shape.of(loss=1)):
            assert not reaches(first)
            assert not reaches(second)
        assert not reaches(first)
        assert reaches(second)


def test_what_a_killed_run_left_is_undone_by_the_next_which_knows_whose_it_was():
    before = qdiscs()
    run = subprocess.Popen([sys.executable, "-c", LEFT_BEHIND], stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"shaped\n"
    assert Link("lo", 1).leftovers() == []  # it lives
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    assert qdiscs() != before
    (who,) = Link("lo", 1).leftovers()
    assert f"pid {run.pid} of" in who
    assert qdiscs() == before
    assert Link("lo", 1).leftovers() == []


def test_the_seat_of_a_killed_run_can_be_taken_at_once():
    run = subprocess.Popen([sys.executable, "-c", LEFT_BEHIND], stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"shaped\n"
    run.kill()
    run.communicate()
    with sink() as ours:
        link = Link("lo", 1)
        link.shape({"down": Shape.of(loss=1)}, Ports(HOST, tcp=(port(ours),)))
        assert not reaches(ours)
        link.shape({}, Ports(HOST))
        assert reaches(ours)
    assert "htb" not in qdiscs()


def test_a_root_of_somebody_else_is_left_as_it_is():
    shell("tc qdisc add dev lo root handle 1: htb default 0")
    try:
        before = qdiscs()
        with pytest.raises(Unavailable, match="lo has a queueing discipline of somebody's, 1:"):
            Link("lo", 1).shape({"down": Shape.of(loss=1)}, Ports(HOST))
        assert qdiscs() == before
    finally:
        shell("tc qdisc del dev lo root")


@pytest.fixture
def cable():
    """A cable to another host: its own namespace, in which a command can be run."""
    with subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE) as other:
        inside = f"nsenter -n -t {other.pid}"
        deadline = time.monotonic() + 5
        here = shell("readlink /proc/self/ns/net")
        while shell(f"readlink /proc/{other.pid}/ns/net") == here and time.monotonic() < deadline:
            pass
        shell(f"ip link add here0 type veth peer name there0 netns {other.pid}")
        shell("ip addr add 192.0.2.1/24 dev here0; ip link set here0 up")
        shell(f"{inside} sh -c 'ip addr add 192.0.2.2/24 dev there0; ip link set there0 up'")
        yield inside
        shell("ip link del here0")
        other.stdin.close()


CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.7)"


def is_reached_from(inside, server):
    line = [*inside.split(), sys.executable, "-c", CONNECT, "192.0.2.1", str(port(server))]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "timed out" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("way", ["down", "up"])
def test_a_real_interface_is_cut_off_both_ways(cable, way):
    """What comes in goes through an ifb device, which is there no longer than it has to be."""
    with sink("192.0.2.1") as ours, sink("192.0.2.1") as others:
        where = {"interface": "here0", "address": "192.0.2.1", "tcp": (port(ours),)}
        with shaped(**where, **{way: Shape.of(loss=1)}):
            assert not is_reached_from(cable, ours)
            assert is_reached_from(cable, others)
        assert is_reached_from(cable, ours)
    assert "b1e-ifb" not in shell("ip link show")


# ---- with sch_netem


@pytest.fixture
def netem():
    if lack := Link("lo", 1).lack(netem=True):
        pytest.skip(lack)


@contextlib.contextmanager
def datagrams():
    """Two UDP sockets; what the first sends to the second passes the second's port, up."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        two.bind((HOST, 0))
        two.settimeout(1)
        yield one, two


def received(one, two, count):
    """The numbers that arrive of those that are sent, in their order."""
    found = []

    def listen():
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(int.from_bytes(two.recv(4), "big"))

    thread = threading.Thread(target=listen)  # a socket keeps no more than 278 of them
    thread.start()
    for number in range(count):
        one.sendto(number.to_bytes(4, "big"), two.getsockname())
        time.sleep(0.0005)  # the queue holds a thousand
    thread.join()
    return found


@pytest.mark.usefixtures("netem")
def test_a_delay_is_added_to_the_way_and_is_device_seconds():
    with sink() as ours, shaped(SPEED, tcp=(port(ours),), down=Shape.of(delay=2)):
        began = time.monotonic()
        assert reaches(ours)
        assert time.monotonic() - began == pytest.approx(0.1, abs=0.05)


@pytest.mark.usefixtures("netem")
@pytest.mark.parametrize(
    ("given", "least", "most"),
    [({"loss": "30%"}, 600, 800), ({"duplicate": "20%"}, 1120, 1280), ({"delay": 1}, 1000, 1000)],
)
def test_as_many_packets_arrive_as_asked(given, least, most):
    """Of 1000; the bounds are five standard deviations away, or more."""
    with datagrams() as (one, two):
        with shaped(SPEED, udp=(two.getsockname()[1],), up=Shape.of(**given)):
            assert least <= len(received(one, two, 1000)) <= most
        assert received(one, two, 100) == list(range(100))


@pytest.mark.usefixtures("netem")
def test_packets_overtake_others_where_asked():
    with datagrams() as (one, two):
        shape = Shape.of(delay=1, reorder="25%")
        with shaped(SPEED, udp=(two.getsockname()[1],), up=shape):
            found = received(one, two, 400)
    assert sorted(found) == list(range(400))
    assert found != sorted(found)


@pytest.mark.usefixtures("netem")
def test_corrupted_packets_do_not_arrive_as_they_were():
    with datagrams() as (one, two), shaped(udp=(port(two),), up=Shape.of(corrupt="100%")):
        found = received(one, two, 100)
    assert found != list(range(100))


@pytest.mark.usefixtures("netem")
def test_a_corrupted_packet_of_tcp_is_a_lost_one():
    with sink() as ours, shaped(tcp=(port(ours),), down=Shape.of(corrupt="100%")):
        assert not reaches(ours)


@pytest.mark.usefixtures("netem")
def test_nothing_else_can_be_held_back_where_packets_are_duplicated():
    """Kernels refuse it since CVE-2025-38001; those from before let it be."""
    link, said = Link("lo", 1), "duplicated"
    try:
        link.shape({"up": Shape.of(duplicate="1%"), "down": Shape.of(delay=1)}, Ports(HOST))
    except Unavailable as error:
        said = str(error)
    finally:
        link.shape({}, Ports(HOST))
    assert "duplicated" in said
    assert "htb" not in qdiscs()


@pytest.mark.usefixtures("netem")
def test_a_changed_netem_keeps_nothing_of_what_it_was():
    with datagrams() as (one, two):
        door = two.getsockname()[1]
        with shaped(SPEED, udp=(door,), up=Shape.of(duplicate="100%", corrupt="50%")) as link:
            link.shape({"up": Shape.of(delay=0.1)}, Ports(HOST))
            assert received(one, two, 100) == list(range(100))
