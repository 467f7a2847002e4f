"""One run's hand at an interface: against a kernel in memory, which knows what was told to it."""

import json

import pytest

from pytest_blynk_ota.errors import NetworkFailed, Unavailable
from pytest_blynk_ota.rig.network.commands import Ports
from pytest_blynk_ota.rig.network.link import Link
from pytest_blynk_ota.rig.network.shape import Shape

PORTS = Ports("127.0.0.1", tcp=(8080,))


class Kernel:
    """Roots and leaves by device, and every command that was run."""

    def __init__(self) -> None:
        self.rows = {"lo": [{"kind": "noqueue", "handle": "0:", "root": True}]}
        self.lines: list[str] = []
        self.broken: dict[str, str] = {}

    def __call__(self, line):
        text = " ".join(line)
        self.lines.append(text)
        for word, complaint in self.broken.items():
            if word in text:
                return 2, "", complaint
        device = next((line[at + 1] for at, word in enumerate(line) if word == "dev"), "lo")
        rows = self.rows.setdefault(device, [])
        if "show" in line:
            return 0, json.dumps(rows), ""
        if "root" in line:
            rows[:] = [{"kind": "noqueue", "handle": "0:", "root": True}]
            if "add" in line:
                rows[:] = [{"kind": "htb", "handle": "b1e:", "root": True}]
        elif "replace" in line:
            parent = line[line.index("parent") + 1]
            rows[:] = [*(one for one in rows if one.get("parent") != parent), {"parent": parent}]
        elif "class" in line and "del" in line:
            flow = line[line.index("classid") + 1]
            rows[:] = [one for one in rows if one.get("parent") != flow]
        return 0, "", ""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))


@pytest.fixture
def kernel():
    return Kernel()


def link(kernel, **more):
    return Link("lo", 1, run=kernel, **more)


def test_what_is_shaped_and_left_again_is_as_it_was(kernel):
    before = json.dumps(kernel.rows)
    one = link(kernel)
    one.shape({"down": Shape.of(rate=1), "up": Shape.of(loss=1)}, PORTS)
    assert json.dumps(kernel.rows) != before
    one.shape({}, PORTS)
    assert json.dumps(kernel.rows) == before


def test_an_untouched_link_runs_no_command(kernel):
    link(kernel).shape({}, PORTS)
    assert kernel.lines == []


def test_two_runs_have_classes_of_their_own_and_the_last_takes_the_root_away(kernel):
    first, second = link(kernel), link(kernel)
    for one in (first, second):
        one.shape({"down": Shape.of(rate=1)}, PORTS)
    parents = [one["parent"] for one in kernel.rows["lo"] if "parent" in one]
    assert parents == ["b1e:10", "b1e:12"]
    first.shape({}, PORTS)
    assert kernel.rows["lo"][0]["handle"] == "b1e:"
    assert [one["parent"] for one in kernel.rows["lo"][1:]] == ["b1e:12"]
    second.shape({}, PORTS)
    assert kernel.rows["lo"][0]["handle"] == "0:"


def test_somebody_elses_root_is_left_alone(kernel):
    kernel.rows["lo"] = [{"kind": "cake", "handle": "8001:", "root": True}]
    with pytest.raises(Unavailable, match=r"lo has a queueing discipline of somebody's, 8001:"):
        link(kernel).shape({"down": Shape.of(rate=1)}, PORTS)
    assert kernel.rows["lo"] == [{"kind": "cake", "handle": "8001:", "root": True}]


def test_what_went_wrong_half_way_is_undone(kernel):
    kernel.broken["filter add"] = "Error: out of luck."
    with pytest.raises(NetworkFailed, match=r"filter add .* ended with 2: Error: out of luck"):
        link(kernel).shape({"down": Shape.of(rate=1)}, PORTS)
    assert kernel.rows["lo"] == [{"kind": "noqueue", "handle": "0:", "root": True}]


def test_a_kernel_without_netem_says_so_and_a_rate_is_had_all_the_same(kernel):
    kernel.broken["netem"] = "Error: Specified qdisc kind is unknown."
    one = link(kernel)
    assert "the kernel has no sch_netem" in one.lack(netem=True)
    assert one.lack(netem=False) is None
    assert kernel.rows["lo"] == [{"kind": "noqueue", "handle": "0:", "root": True}]


def test_whether_a_link_can_be_shaped_is_tried_once(kernel):
    one = link(kernel)
    one.lack(netem=True)
    ran = len(kernel.lines)
    one.lack(netem=True)
    assert len(kernel.lines) == ran > 0


def test_trying_sends_no_packet_anywhere(kernel):
    link(kernel).lack(netem=True)
    assert not any("filter add" in one for one in kernel.lines)


def test_what_a_killed_run_left_and_nobody_here_may_undo_is_said_each_time(kernel):
    killed = link(kernel)
    killed.shape({"down": Shape.of(rate=1)}, PORTS)
    killed._seat[1].close(done=False)
    kernel.broken = {" del ": "RTNETLINK answers: Operation not permitted"}
    for _ in range(2):
        with pytest.raises(NetworkFailed, match=r"pid \d+ .* tc qdisc del dev lo root handle b1e:"):
            link(kernel).leftovers()
    kernel.broken = {}
    assert len(link(kernel).leftovers()) == 1
    assert link(kernel).leftovers() == []


def test_an_interface_that_is_not_there_leaves_no_seat_behind(kernel, tmp_path):
    kernel.broken = {"nosuch": 'Device "nosuch" does not exist.'}
    assert Link("nosuch", 1, run=kernel).lack(netem=False)
    assert not list(tmp_path.glob("*.json"))


def test_the_prefix_stands_before_every_command(kernel):
    link(kernel, prefix=["sudo", "-n"]).shape({"down": Shape.of(rate=1)}, PORTS)
    assert all(one.startswith("sudo -n ") for one in kernel.lines)


def test_a_port_opened_meanwhile_is_held_back_too(kernel):
    one = link(kernel)
    one.cover(Ports("127.0.0.1", tcp=(1,)))
    assert kernel.lines == []
    one.shape({"down": Shape.of(rate=1)}, PORTS)
    one.cover(Ports("127.0.0.1", tcp=(9090,)))
    assert "sport 9090" in kernel.lines[-1]


def test_no_tc_is_a_reason(monkeypatch):
    monkeypatch.setattr("pytest_blynk_ota.rig.network.link.SBIN", "")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert Link("lo", 1).lack(netem=False) == "there is no tc here (Debian: package iproute2)"
