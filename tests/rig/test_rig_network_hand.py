"""The hand at a rig's network: what it tells the link, and what it tells the judge."""

import pytest

from pytest_blynk_ota.errors import FaultError, FaultNotReached, NetworkFailed, Unavailable
from pytest_blynk_ota.rig.network.commands import Ports
from pytest_blynk_ota.rig.network.names import Names
from pytest_blynk_ota.rig.network.network import LeftBehind, Network

PORTS = Ports("127.0.0.1", tcp=(8080,))


class Wire:
    """A link, an access point and the judge's ear in one: all that happens, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.lacks: dict[str, str] = {}
        self.broken = False
        self.left: list[str] = []
        self.stuck = ""
        self.names = Names("rig.test", {"firmware": "127.0.0.1", "cloud": "127.0.0.1"})

    def record(self, source, kind, board=None, /, **data):
        text = f" {data['text']!r}" if "text" in data else ""
        self.log.append(f"event {data['what']}{text}")

    def lack(self, *, netem, direction):
        return self.lacks.get("netem" if netem else "link") or self.lacks.get(direction)

    def shape(self, wanted, ports):
        assert ports is PORTS
        words = ", ".join(f"{key}: {one}" for key, one in wanted.items())
        self.log.append(f"link {{{words}}}")
        if self.broken:
            raise NetworkFailed("stuck")

    def cover(self, ports):
        self.log.append("cover")

    def leftovers(self):
        if self.stuck:
            raise NetworkFailed(self.stuck)
        return self.left

    def switch(self, on):
        self.log.append(f"ap {'on' if on else 'off'}")

    def leftover(self):
        return ""

    def begin(self, rule):
        self.log.append(f"names {rule}")
        self.names.add(rule)

    def end(self, rule):
        self.log.append(f"names not {rule}")
        self.names.remove(rule)

    def name_lack(self, word):
        return self.lacks.get(word)


class Service:
    """The names' side of the wire, whose ``lack`` is another one than the link's."""

    def __init__(self, wire) -> None:
        self.names, self.begin, self.end, self.lack = (
            wire.names,
            wire.begin,
            wire.end,
            wire.name_lack,
        )


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def network(wire):
    return made(wire)


def made(wire, **more):
    parts = {"link": lambda: wire, "access_point": lambda: wire, "names": lambda: Service(wire)}
    parts |= more
    return Network(wire.record, 1000, ports=lambda: PORTS, **parts)


def test_a_shape_is_told_before_it_holds_and_its_end_after(network, wire):
    with network.lossy("10%", delay=0.2):
        pass
    assert wire.log == [
        "event link.shaped 'loss=10% delay=0.2 down'",
        "link {down: loss=10% delay=0.2}",
        "link {}",
        "event link.shaped ''",
    ]


def test_a_partition_is_time_that_does_not_count(network, wire):
    with network.partition():
        pass
    assert wire.log == [
        "event link.shaped 'partition down, partition up'",
        "event network.off",
        "link {down: partition, up: partition}",
        "link {}",
        "event link.shaped ''",
        "event network.on",
    ]


def test_a_partition_in_a_slow_link_leaves_it_slow(network, wire):
    with network.slow(1000):
        with network.partition():
            pass
        assert wire.log[-3:] == [
            "link {down: rate=1000}",
            "event link.shaped 'rate=1000 down'",
            "event network.on",
        ]


def test_what_is_changed_in_two_directions_at_once_holds_in_each(network, wire):
    with network.delayed(1, direction="up"), network.slow(500, direction="both"):
        assert "link {down: rate=500, up: delay=1 rate=500}" in wire.log


def test_shapes_may_end_in_any_order_and_twice(network, wire):
    slow, late = network.slow(1000), network.delayed(1)
    slow.end()
    slow.end()
    assert wire.log[-2:] == ["link {down: delay=1}", "event link.shaped 'delay=1 down'"]
    late.end()
    assert wire.log[-1] == "event link.shaped ''"


def test_each_word_for_a_shape_makes_it(network, wire):
    made = {
        "lossy": network.lossy("1%"),
        "slow": network.slow(9),
        "delayed": network.delayed(2, 1),
        "reordered": network.reordered("30%", 3),
        "duplicated": network.duplicated("4%"),
        "corrupted": network.corrupted("5%"),
    }
    assert [str(one) for one in made.values()] == [
        "loss=1%",
        "rate=9",
        "delay=2 jitter=1",
        "delay=3 reorder=30%",
        "duplicate=4%",
        "corrupt=5%",
    ]


def test_what_cannot_be_had_is_refused_with_the_reason_and_nothing_is_told(network, wire):
    wire.lacks["netem"] = "the kernel has no sch_netem"
    with pytest.raises(Unavailable, match="the kernel has no sch_netem"):
        network.lossy("10%")
    network.slow(1000).end()
    assert wire.log[0] == "event link.shaped 'rate=1000 down'"


def test_a_direction_that_cannot_be_had_is_refused(network, wire):
    wire.lacks["up"] = "the kernel has no ifb"
    with pytest.raises(Unavailable, match="no ifb"):
        network.partition()
    network.partition(direction="down")


@pytest.mark.parametrize(
    ("given", "words"),
    [({"direction": "left"}, "did you mean|known are down, up, both"), ({"losss": 1}, "'loss'")],
)
def test_a_shape_that_cannot_be_is_refused_before_anything_is_told(network, wire, given, words):
    with pytest.raises(FaultError, match=words):
        network.shaped(**{"loss": "1%"} | given)
    assert wire.log == []


def test_a_link_that_failed_is_told_to_hold_nothing_back(network, wire):
    wire.broken = True
    with pytest.raises(NetworkFailed, match="stuck"):
        network.partition()
    assert wire.log[-2:] == ["event link.shaped ''", "event network.on"]


def test_what_a_test_leaves_is_undone(network, wire):
    network.partition()
    network.slow(1)
    network.ap_off()
    wire.log.clear()
    network.mend()
    assert wire.log[-1] == "ap on"
    assert "event network.on" in wire.log
    wire.log.clear()
    network.mend()
    assert wire.log == []


def test_the_access_point_comes_back_when_the_test_fails_meanwhile(network, wire):
    with pytest.raises(ZeroDivisionError), network.without_ap():
        raise ZeroDivisionError
    assert wire.log == ["ap off", "ap on"]


def test_a_link_is_cut_for_a_time(network, wire):
    network.cut(1)
    assert [one for one in wire.log if "link {" in one] == [
        "link {down: partition, up: partition}",
        "link {}",
    ]


def test_an_access_point_is_switched_off_and_on_for_a_time(network, wire):
    network.ap_cycle(1)
    assert wire.log == ["ap off", "ap on"]


def test_an_outage_is_made_by_what_there_is(wire):
    with made(wire).outage():
        pass
    with made(wire, access_point="no ap").outage():
        pass
    assert wire.log[:2] == ["ap off", "ap on"]
    assert "link {down: partition, up: partition}" in wire.log


def test_with_neither_link_nor_access_point_each_reason_is_said(wire):
    network = made(wire, access_point="no ap", link="no link")
    assert network.lack("network") == "no ap; no link"
    assert network.lack("ap") == "no ap"
    assert network.lack("netem") == "no link"
    with pytest.raises(Unavailable, match="no ap; no link"), network.outage():
        pass


def test_a_need_that_nobody_knows_names_the_nearest(network):
    with pytest.raises(FaultError, match="did you mean 'netem'"):
        network.lack("netme")


def test_a_slow_link_lengthens_what_is_healthy_while_it_holds(network):
    assert network.slowness_s(100_000) == 0
    with network.slow(1000), network.delayed(1, direction="up"):
        assert network.slowness_s(57_440) == 57.44 + 10
    with network.partition():
        assert network.slowness_s(100_000) == 0
    with network.lossy("10%"):  # at the speed 1000: 0.4 host seconds for each of 10 segments
        assert network.slowness_s(143_600) == pytest.approx(4000)


def test_a_port_opened_meanwhile_is_held_back_if_any_are(network, wire):
    network.cover()
    assert wire.log == []
    with network.slow(1):
        network.cover()
        assert wire.log[-1] == "cover"


def test_what_killed_runs_left_is_warned_of(network, wire):
    wire.left = ["pid 7 of ann on host since then"]
    with pytest.warns(LeftBehind, match=r"pid 7 of ann .* had left packets held back"):
        network.leftovers()


def test_what_killed_runs_left_and_cannot_be_undone_is_warned_of(network, wire):
    wire.stuck = "pid 7 was killed and has left packets held back"
    with pytest.warns(LeftBehind, match="has left packets held back"):
        network.leftovers()


# ---- names


def asks(wire, name="firmware"):
    """A board asks for a name."""
    octets = b"".join(bytes([len(label)]) + label.encode() for label in [name, "rig", "test"])
    head = bytes.fromhex("000701000001000000000000")
    return wire.names.answer(head + octets + bytes.fromhex("0000010001")).told["answer"]


def test_an_answer_is_told_before_it_holds_and_its_end_after(network, wire):
    with network.dns(["nxdomain", "right"], delay=2):
        assert [asks(wire), asks(wire)] == ["nxdomain", "127.0.0.1"]
    assert wire.log == [
        "event dns.answers 'firmware.rig.test nxdomain, right delay=2'",
        "names firmware.rig.test nxdomain, right delay=2",
        "names not firmware.rig.test nxdomain, right delay=2",
        "event dns.answers ''",
    ]


def test_an_answer_that_nobody_asked_for_proves_nothing(network):
    said = r"nobody asked for firmware.rig.test; .* maybe=True"
    with pytest.raises(FaultNotReached, match=said), network.dns("nxdomain"):
        pass
    with network.dns("nxdomain", maybe=True):
        pass


def test_an_answer_that_nobody_asked_for_is_told_when_a_test_leaves_it(network, wire):
    network.dns("nxdomain")
    network.ap_off()
    with pytest.raises(FaultNotReached):
        network.mend()
    assert wire.log[-1] == "ap on"


def test_what_failed_before_is_not_hidden_by_an_answer_that_nobody_asked_for(network):
    with pytest.raises(ZeroDivisionError), network.dns("nxdomain"):
        raise ZeroDivisionError


def test_a_name_that_boards_do_not_go_by_is_refused(network, wire):
    wire.lacks["cloud"] = "boards are given the address"
    with pytest.raises(Unavailable, match="boards are given the address"):
        network.dns("nxdomain", of="cloud")
    with pytest.raises(FaultError, match="did you mean 'cloud'"):
        network.dns("nxdomain", of="clod")
    assert wire.log == []
