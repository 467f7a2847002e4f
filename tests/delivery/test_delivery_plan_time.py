"""Waits, rates and ends: where they stand in the steps, by the byte, by the place, by the clock."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_wire import ask, paces, play, wire

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.plan.offsets import resolve
from pytest_blynk_ota.delivery.steps import Cut, Due, Fire, Hold, Later, Over, Pace, Send

DATA = random.Random(9).randbytes(10_000)
HEAD = play(ask(DATA)).head
ENDS = [
    (faults.truncate, "fin", False),
    (faults.reset, "rst", True),
    (faults.half_close, "half", True),
    (faults.vanish, "vanish", True),
    (lambda after: faults.tls("record-cut", after), "record", False),
    (lambda after: faults.tls("bad-record", after), "bad-record", False),
    (lambda after: faults.tls("no-close-notify", after), "no-close-notify", True),
]
OFFSETS = [
    (0, 0), (1, 1), ("0%", 0), ("50%", 5000), ("99.99%", 9999), ("100%", 10000),
    (-1, 9999), ("last 4096", 5904), (10000, 10000), (-10000, 0),
]  # fmt: skip


@pytest.mark.parametrize(("after", "where"), OFFSETS)
def test_an_offset_counts_from_either_end_or_in_per_cent(after, where):
    reply = ask(DATA, faults.stall(after))
    assert wire(reply) == HEAD + DATA[:where]
    assert play(reply).end == "hold"
    assert reply.due == {0: where}


@pytest.mark.parametrize(("make", "how", "reaches_end"), ENDS)
@pytest.mark.parametrize(("after", "where"), OFFSETS)
def test_an_end_comes_after_exactly_so_many_bytes(make, how, reaches_end, after, where):
    reply = ask(DATA, make(after))
    if where == 10_000 and not reaches_end:
        assert (reply.due, wire(reply)) == ({}, HEAD + DATA)
        return
    assert wire(reply) == HEAD + DATA[:where]
    assert reply.steps[-1] == Cut(Due(0, make(after)), how, where)
    assert reply.due == {0: where}
    assert reply.announced == 10_000


@given(st.integers(1, 3000), st.data())
def test_at_any_size_each_offset_is_exact(size, data):
    at = data.draw(st.integers(-size, size))
    percent = data.draw(st.decimals(0, 100, places=3))
    where = at if at >= 0 else size + at
    assert play(ask(DATA[:size], faults.stall(at))).body == where
    assert play(ask(DATA[:size], faults.stall(f"{percent}%"))).body == int(percent * size / 100)


@pytest.mark.parametrize(
    ("after", "said"), [("request", 0), ("status", 17), ("headers", len(HEAD))]
)
def test_a_stall_or_an_end_may_come_before_the_body(after, said):
    for fault, end in [(faults.stall(after), "hold"), (faults.reset(after), "rst"),
                       (faults.vanish(after), "vanish"),
                       (faults.truncate(after), "fin")]:  # fmt: skip
        reply = ask(DATA, fault)
        seen = play(reply)
        assert (seen.wire, seen.end, reply.due) == (HEAD[:said], end, {0: 0})
    reply = ask(DATA, faults.stall(after, seconds=2))
    assert wire(reply) == HEAD + DATA
    assert Hold(2) in reply.steps


def test_a_stall_before_the_body_works_on_a_page_too_and_one_in_the_body_does_not():
    reply = ask(DATA, faults.status(503), faults.stall("status", 1), faults.stall(0, 1))
    assert reply.due == {0: 0, 1: 0}
    assert play(reply).fired[1] == len(b"HTTP/1.1 503 Service Unavailable\r\n")


def test_a_stall_is_over_after_its_time_or_at_its_event():
    for fault, hold in [(faults.stall(9, 5), Hold(5)),
                        (faults.stall(9).until_event("login"), Hold(None, "login")),
                        (faults.stall(9, 5).until_event("login"), Hold(5, "login"))]:  # fmt: skip
        due = Due(0, fault)
        steps = (Send(9), Fire(due, 9), hold, Over(due), Send(10_000))
        assert ask(DATA, fault).steps[1:] == steps


def test_latency_comes_before_any_byte_and_its_jitter_is_another_in_each_attempt():
    fault = faults.latency(2, jitter=1, seed=3)
    waits = [ask(DATA, fault, attempt=n).steps[1].seconds for n in range(1, 50)]
    assert play(ask(DATA, fault)).story == ["Fire", "Hold", "Over", "Say", "Send"]
    assert waits[0] == ask(DATA, fault).steps[1].seconds
    assert 1 <= min(waits) < 1.3
    assert 2.7 < max(waits) <= 3
    assert ask(DATA, faults.latency(2)).steps[1] == Hold(2)
    assert ask(DATA, faults.latency(0.001, jitter=5, seed=1)).steps[1].seconds >= 0


def test_a_lognormal_latency_has_its_median_in_the_seconds_and_its_sigma_in_the_jitter():
    fault = faults.latency(2, jitter=0.5, spread="lognormal", seed=3)
    waits = [ask(DATA, fault, attempt=n).steps[1].seconds for n in range(1, 401)]
    logs = [math.log(wait / 2) for wait in waits]
    assert abs(statistics.median(logs)) < 0.1
    assert 0.45 < statistics.stdev(logs) < 0.55


@pytest.mark.parametrize(("fault", "pace"), [
    (faults.drip(5), Pace(5, 1)),
    (faults.bandwidth(2048, jitter=0.5, seed=3), Pace(2048, None, jitter=0.5, seed=3)),
    (faults.segments(100, 0.5, jitter=0.1, seed=2), Pace(None, 100, 0.5, 0.1, 2)),
    (faults.drip(5).until_event("go"), Pace(5, 1, until="go")),
])  # fmt: skip
def test_a_rate_holds_from_its_offset_to_the_end(fault, pace):
    reply = ask(DATA, fault)
    assert reply.steps[1:] == (Fire(Due(0, fault), 0), Send(10_000, pace))
    later = faults.Fault(fault.kind, {**fault.values, "after": "10%"}, fault.when)
    reply = ask(DATA, later)
    assert reply.steps[1:] == (Send(1000), Fire(Due(0, later), 1000), Send(10_000, pace))
    assert reply.due == {0: 1000}


def test_of_several_rates_the_slowest_holds_in_the_smallest_pieces():
    drip, slow = faults.drip(2, after=10), faults.bandwidth(500)
    assert paces(ask(DATA, drip, slow)) == [Pace(500), Pace(2, 1)]
    assert paces(ask(DATA, slow, faults.drip(900, after=10))) == [Pace(500), Pace(500, 1)]
    assert paces(ask(DATA, faults.segments(100, 1), slow)) == [Pace(None, 100, 1)]
    assert paces(ask(DATA, faults.segments(100, 0.1), slow)) == [Pace(500, 100)]
    assert paces(ask(DATA, faults.segments(100, 0), faults.segments(7, 0))) == [Pace(None, 7)]


def test_a_rate_that_an_event_ends_knows_what_holds_then():
    listed = [faults.bandwidth(500), faults.drip(2).until_event("login")]
    assert paces(ask(DATA, *listed)) == [Pace(2, 1, until="login", then=Pace(500))]


def test_the_frames_of_chunks_go_at_the_rate_of_the_body():
    reply = ask(DATA, faults.chunked(5000), faults.drip(2, after=5000))
    frames = [step.pace for step in reply.steps[1:] if type(step).__name__ == "Say"]
    assert frames == [None, None, Pace(2, 1), Pace(2, 1), Pace(2, 1)]


def test_faults_are_carried_out_in_the_order_of_their_offsets():
    listed = [faults.reset("90%"), faults.bandwidth(500), faults.stall(100, seconds=2),
              faults.corrupt(at=50)]  # fmt: skip
    reply = ask(DATA, *listed)
    assert play(reply).story == [
        "Say", "Fire", "Send", "Fire", "Over", "Send", "Fire", "Hold", "Over", "Send", "Cut",
    ]  # fmt: skip
    assert [step.stop for step in reply.steps if isinstance(step, Send)] == [51, 100, 9000]
    assert reply.due == {0: 9000, 1: 0, 2: 100, 3: 51}


def test_at_one_offset_changes_come_first_then_rates_then_waits_then_the_end():
    listed = [faults.reset(50), faults.stall(50, 1), faults.stall(50, 2), faults.drip(1, 50),
              faults.corrupt(49)]  # fmt: skip
    reply = ask(DATA, *listed)
    fired = [step.due.index for step in reply.steps if isinstance(step, Fire | Cut)]
    assert fired == [4, 3, 1, 2, 0]


def test_what_lies_behind_an_end_is_not_due():
    reply = ask(DATA, faults.stall("10%"), faults.reset("20%"), faults.corrupt("50%"))
    assert reply.due == {0: 1000}
    assert ask(DATA, faults.reset("request"), faults.status(503), faults.early()).due == {0: 0}
    bounded = ask(DATA, faults.stall("10%").until_event("go"), faults.reset("20%"))
    assert bounded.due == {0: 1000, 1: 2000}


def test_in_a_part_an_end_lies_where_it_lies_in_the_file():
    def part(fault, asked="bytes=1000-1999"):
        reply = ask(DATA, fault, headers={"range": asked})
        return reply.due, play(reply).body

    assert part(faults.stall(1500)) == ({0: 500}, 500)
    assert part(faults.reset(1000)) == ({0: 0}, 0)
    assert part(faults.stall(2000)) == ({0: 1000}, 1000)
    for fault in (
        faults.stall(999),
        faults.stall(2001),
        faults.truncate(2000),
        faults.drip(1, 2000),
    ):
        assert part(fault) == ({}, 1000)
    assert part(faults.drip(1, 500)) == ({0: 0}, 1000)
    assert part(faults.drip(1, 1500)) == ({0: 500}, 1000)
    assert part(faults.stall("100%"), "bytes=-10") == ({0: 10}, 10)


@pytest.mark.parametrize(("fault", "steps"), [
    (faults.stall("3s", 5), lambda due: (Fire(due, -1), Hold(5), Over(due))),
    (faults.stall("3s"), lambda due: (Fire(due, -1), Hold(None))),
    (faults.truncate("3s"), lambda due: (Cut(due, "fin", -1),)),
    (faults.reset("3s"), lambda due: (Cut(due, "rst", -1),)),
    (faults.half_close("3s"), lambda due: (Cut(due, "half", -1),)),
    (faults.vanish("3s"), lambda due: (Cut(due, "vanish", -1),)),
])  # fmt: skip
def test_what_comes_by_the_clock_is_never_late(fault, steps):
    reply = ask(DATA, fault)
    assert reply.later == (Later(3, steps(Due(0, fault))),)
    assert wire(reply) == HEAD + DATA
    assert (reply.due, reply.fires()) == ({0: None}, {0})


def test_a_rate_by_the_clock_joins_those_that_hold():
    listed = [faults.drip(1, "5s"), faults.bandwidth(700, "2s"), faults.bandwidth(900)]
    reply = ask(DATA, *listed)
    assert [(one.seconds, one.pace) for one in reply.later] == [(2, Pace(700)), (5, Pace(1, 1))]
    assert paces(reply) == [Pace(900)]


@pytest.mark.parametrize(("place", "size", "where"), [
    ("33.3%", 10, 3), ("99.999999%", 10**12, 999_999_990_000), (-11, 10, -1), (11, 10, 11),
])  # fmt: skip
def test_per_cent_round_down_without_loss_and_an_offset_may_lie_outside(place, size, where):
    assert resolve(place, size) == where
