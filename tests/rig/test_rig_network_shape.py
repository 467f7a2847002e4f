"""What may be wrong with a link, and the command lines that make it so."""

import pytest

from pytest_blynk_ota.errors import FaultError
from pytest_blynk_ota.rig.network import commands as tc
from pytest_blynk_ota.rig.network.commands import Lane, Ports
from pytest_blynk_ota.rig.network.reasons import reason
from pytest_blynk_ota.rig.network.shape import PLAIN, Shape, merged

DOWN = Lane("lo", "down", 0)
UP = Lane("wlan1", "up", 1, "b1e-ifb4")
PORTS = Ports("192.0.2.7", tcp=(8080,))


def line(command):
    return " ".join(command)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"loss": "10%", "delay": 0.2}, "loss=10% delay=0.2"),
        ({"loss": 0.1}, "loss=10%"),
        ({"rate": 2048}, "rate=2048"),
        ({"delay": 1, "jitter": 0.5, "reorder": "25%"}, "delay=1 jitter=0.5 reorder=25%"),
        ({"loss": 1}, "partition"),
        ({"corrupt": "0.05%", "duplicate": 0.5}, "duplicate=50% corrupt=0.05%"),
    ],
)
def test_a_shape_reads_as_it_was_written(given, text):
    assert str(Shape.of(**given)) == text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"loss": 10}, "loss: 10: expected a part of the packets, as '10%', or 0 to 1"),
        ({"loss": "120%"}, "expected a part of the packets"),
        ({"loss": True}, "expected a part of the packets"),
        ({"loss": "nan"}, "expected a part of the packets"),
        ({"loss": "nan%"}, "expected a part of the packets"),
        ({"rate": 0}, "rate: 0: expected a number above 0"),
        ({"delay": -1}, "delay: -1: expected a number, 0 or more"),
        ({"lost": 1}, "has no parameter 'lost'; did you mean 'loss'?"),
        ({}, "is changed by one of loss, delay"),
        ({"loss": 0, "delay": 0}, "all are 0"),
        ({"jitter": 1}, "jitter varies a delay"),
        ({"delay": 1, "jitter": 2}, "jitter is more than the delay"),
        ({"reorder": "25%"}, "reorder lets packets skip a delay"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_with_what_was_expected(given, words):
    with pytest.raises(FaultError) as caught:
        Shape.of(**given)
    assert words in str(caught.value)


def test_of_two_shapes_the_later_says_what_both_say():
    outer, inner = Shape.of(rate=1000, delay=1), Shape.of(delay=2, loss="5%")
    assert merged([outer, inner]) == Shape.of(rate=1000, delay=2, loss="5%")
    assert merged([]) is None


@pytest.mark.parametrize(
    ("given", "needs"),
    [({"rate": 1}, False), ({"loss": 1}, False), ({"loss": 1, "delay": 1}, False)]
    + [({name: 0.5}, True) for name in ("loss", "delay", "duplicate", "corrupt")],
)
def test_a_rate_and_a_partition_need_no_netem_and_all_else_does(given, needs):
    assert Shape.of(**given).needs_netem is needs


def test_times_are_device_seconds():
    assert tc.netem(Shape.of(delay=0.2, jitter=0.1), 20) == ("delay", "10000us", "5000us")


def test_all_of_netem_in_its_own_words():
    shape = Shape.of(
        loss="10%", delay=1, jitter=0.5, reorder="25%", duplicate="1%", corrupt="0.05%"
    )
    assert line(tc.netem(shape, 1)) == (
        "delay 1000000us 500000us loss 10% reorder 25% duplicate 1% corrupt 0.05%"
    )


def test_a_lane_is_filled_before_packets_are_sent_there():
    assert [line(one) for one in tc.begin(DOWN, Shape.of(rate=1000), PORTS, 20)] == [
        "tc class add dev lo parent b1e: classid b1e:10 htb rate 160000bit burst 1600 cburst 1600 "
        "quantum 65536",
        "tc qdisc replace dev lo parent b1e:10 handle 1e20: pfifo limit 1000",
        "tc filter add dev lo parent b1e: protocol ip pref 16 u32 match ip protocol 6 0xff "
        "match ip src 192.0.2.7/32 match ip sport 8080 0xffff flowid b1e:10",
    ]


def test_what_boards_send_is_redirected_to_where_it_can_wait():
    *_, flow, redirect = tc.begin(UP, Shape.of(loss=1), PORTS, 1)
    assert line(flow) == (
        "tc filter add dev b1e-ifb4 parent b1e: protocol ip pref 19 u32 match ip protocol 6 0xff "
        "match ip dst 192.0.2.7/32 match ip dport 8080 0xffff flowid b1e:13"
    )
    assert line(redirect) == (
        "tc filter add dev wlan1 parent ffff: protocol ip pref 19 u32 match ip protocol 6 0xff "
        "match ip dst 192.0.2.7/32 match ip dport 8080 0xffff "
        "action mirred egress redirect dev b1e-ifb4"
    )


def test_packets_are_sent_nowhere_before_their_class_is_taken_away():
    assert [line(one) for one in tc.end(UP)] == [
        "tc filter del dev wlan1 parent ffff: pref 19",
        "tc filter del dev b1e-ifb4 parent b1e: pref 19",
        "tc class del dev b1e-ifb4 classid b1e:13",
    ]


def test_a_partition_is_a_queue_with_no_room():
    assert line(tc.leaf(DOWN, Shape.of(loss=1), 1, 0)).endswith("pfifo limit 0")


def test_a_leaf_is_changed_with_nothing_coming_through_meanwhile():
    assert [line(one) for one in tc.change(DOWN, Shape.of(delay=1, rate=1), 1, 3)] == [
        "tc qdisc replace dev lo parent b1e:10 handle 1e21: pfifo limit 0",
        "tc class change dev lo parent b1e: classid b1e:10 htb rate 8bit burst 1600 cburst 1600 "
        "quantum 65536",
        "tc qdisc replace dev lo parent b1e:10 handle 1e20: netem limit 1000 delay 1000000us",
    ]


def test_no_two_lanes_share_a_class_a_priority_or_a_leaf():
    every = [
        lane for seat in range(tc.SEATS) for lane in tc.lanes("wlan1", seat, "b1e-ifb4").values()
    ]
    assert len({lane.minor for lane in every}) == len(every)
    handles = {tc.leaf(lane, Shape.of(delay=1), 1, turn)[8] for lane in every for turn in (0, 1)}
    assert len(handles) == 2 * len(every)
    assert all(int(handle.rstrip(":"), 16) < 0x8000 for handle in handles)


def test_an_address_of_ipv6_is_matched_as_such():
    (flow,) = tc.cover(DOWN, Ports("fd00::7", udp=(53,)))
    assert line(flow) == (
        "tc filter add dev lo parent b1e: protocol ipv6 pref 16 u32 match ip6 protocol 17 0xff "
        "match ip6 src fd00::7/128 match ip6 sport 53 0xffff flowid b1e:10"
    )


def test_at_a_port_that_others_use_too_only_what_is_of_our_boards_is_matched():
    ports = Ports("10.0.0.1", tcp=(90,), calls=((80, "10.0.0.7"),))
    own, down = tc.cover(DOWN, ports)
    assert "sport 90 0xffff flowid" in line(own)
    assert line(down) == (
        "tc filter add dev lo parent b1e: protocol ip pref 16 u32 match ip protocol 6 0xff "
        "match ip src 10.0.0.1/32 match ip sport 80 0xffff match ip dst 10.0.0.7/32 flowid b1e:10"
    )
    up = tc.cover(UP, ports.beyond(Ports("10.0.0.1", tcp=(90,))))
    assert ["match ip src 10.0.0.7/32" in line(one) for one in up] == [True, True]
    assert not ports.beyond(ports).each


NETEM = tc.leaf(DOWN, Shape.of(delay=1), 1, 0)


@pytest.mark.parametrize(
    ("command", "said", "words"),
    [
        (NETEM, "Error: Specified qdisc kind is unknown.", "the kernel has no sch_netem"),
        (tc.add_root("lo"), "Error: Specified qdisc kind is unknown.", "has no sch_htb"),
        (tc.add_root("lo"), "RTNETLINK answers: Operation not permitted", "CAP_NET_ADMIN"),
        (tc.add_root("wlan9"), 'Cannot find device "wlan9"', "there is no interface wlan9"),
        (tc.add_root("lo"), "tc: No such file or directory", "there is no tc here"),
        (tc.add_ifb("w", "b1e-ifb4")[0], "Error: Unknown device type.", "the kernel has no ifb"),
    ],
)
def test_what_tc_complains_of_is_told_in_words_that_help(command, said, words):
    assert words in reason(command, said)


def test_another_complaint_has_no_reason_of_ours():
    assert reason(NETEM, "Error: Exclusivity flag on, cannot modify.") is None


def test_nothing_is_wrong_with_a_plain_link():
    assert not PLAIN.needs_netem
    assert not PLAIN.is_partition
