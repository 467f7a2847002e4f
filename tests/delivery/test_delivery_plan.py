"""What is answered, decided without a socket."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.plan import (
    Cut,
    Fire,
    Hold,
    Offered,
    Over,
    Send,
    answer,
    check,
    parse_range,
    resolve,
)
from pytest_blynk_ota.errors import FaultError

DATA = random.Random(5).randbytes(10_000)
FILE = Offered.of("new.bin", DATA)


def kinds(reply):
    return [type(step).__name__ for step in reply.steps]


@pytest.mark.parametrize(("after", "where"), [
    (0, 0), (1, 1), ("0%", 0), ("50%", 5000), ("99.99%", 9999), ("100%", 10000),
    (-1, 9999), ("last 4096", 5904), (10000, 10000), (-10000, 0),
])  # fmt: skip
def test_an_offset_counts_from_either_end_or_in_per_cent(after, where):
    assert resolve(faults.stall(after), len(DATA)) == where


@pytest.mark.parametrize("fault", [
    faults.stall(10001), faults.stall("last 10001"), faults.truncate("100%"),
    faults.drip(after=10000), faults.corrupt(at="100%"), faults.corrupt(at=-1, flips=2),
], ids=str)  # fmt: skip
def test_a_fault_outside_of_the_file_is_refused_before_anything_is_served(fault):
    with pytest.raises(FaultError, match=r"new\.bin \(10000 bytes\)"):
        check([fault], len(DATA), "new.bin")


@pytest.mark.parametrize(("listed", "refused"), [
    ([faults.status(404), faults.stall()], "stall"),
    ([faults.stall("10%"), faults.reset("20%")], "reset"),
    ([faults.truncate(5).on_attempt(1), faults.corrupt(at=9).on_attempt(1)], "corrupt"),
])  # fmt: skip
def test_a_fault_that_another_always_forestalls_is_refused(listed, refused):
    with pytest.raises(FaultError, match=f"^{refused}.*could never fire"):
        check(listed, len(DATA), "new.bin")


def test_a_fault_that_another_forestalls_only_sometimes_is_fine():
    check([faults.status(503).on_attempt(1, 2), faults.stall("50%")], len(DATA), "new.bin")
    check([faults.stall("10%", seconds=1), faults.reset("20%")], len(DATA), "new.bin")


def test_faults_are_carried_out_in_the_order_of_their_offsets():
    listed = [faults.reset("90%"), faults.bandwidth(500), faults.stall(100, seconds=2),
              faults.corrupt(at=50)]  # fmt: skip
    reply = answer(FILE, listed, 1)
    assert kinds(reply) == [
        "Fire", "Send", "Fire", "Over", "Send", "Fire", "Hold", "Over", "Send", "Cut",
    ]  # fmt: skip
    sends = [step for step in reply.steps if isinstance(step, Send)]
    assert [(step.stop, step.rate) for step in sends] == [(51, 500), (100, 500), (9000, 500)]
    assert reply.fires() == {0, 1, 2, 3}


def test_the_slowest_of_two_rates_holds_and_a_drip_trickles():
    reply = answer(FILE, [faults.drip(2, after=10), faults.bandwidth(500)], 1)
    sends = [step for step in reply.steps if isinstance(step, Send)]
    assert sends == [Send(10, 500, False), Send(10_000, 2, True)]


def test_a_stall_for_ever_ends_the_schedule():
    reply = answer(FILE, [faults.stall("50%")], 1)
    assert kinds(reply) == ["Send", "Fire", "Hold"]
    assert reply.steps[-1] == Hold(None)
    assert reply.announced == reply.length == 10_000


def test_a_fault_of_another_attempt_leaves_this_one_whole():
    listed = [faults.status(503).on_attempt(1, 2)]
    assert [answer(FILE, listed, n).status for n in (1, 2, 3)] == [503, 503, 200]
    assert answer(FILE, listed, 3).body(DATA) == DATA


PARTS = st.one_of(
    st.builds(faults.stall, after=st.integers(0, 10_000), seconds=st.none() | st.just(1)),
    st.builds(faults.drip, after=st.integers(0, 9999)),
    st.builds(faults.bandwidth, bytes_per_s=st.integers(1, 99), after=st.integers(0, 9999)),
    st.builds(faults.truncate, after=st.integers(0, 9999)),
    st.builds(faults.reset, after=st.integers(0, 10_000)),
    st.builds(faults.corrupt, at=st.integers(0, 9000), flips=st.integers(1, 9)),
)


@given(st.lists(PARTS, max_size=5))
def test_any_schedule_sends_forward_only_and_each_fault_where_it_was_asked(listed):
    sent, ended = 0, False
    for step in answer(FILE, listed, 1).steps:
        assert not ended
        if isinstance(step, Send):
            assert step.stop > sent
            sent = step.stop
        elif isinstance(step, Fire | Cut):
            fault = step.due.fault
            assert fault is listed[step.due.index]
            assert step.at == resolve(fault, 10_000)
            assert sent == step.at + (fault.kind == "corrupt")
        ended = isinstance(step, Cut) or step == Hold(None)
    assert ended or sent == 10_000


@given(st.integers(1, 9), st.integers(0, 2**32), st.integers(0, 9000))
def test_a_corrupt_body_differs_in_one_bit_of_each_said_byte_and_the_same_each_time(
    flips, seed, at
):
    fault = faults.corrupt(at=at, flips=flips, seed=seed)
    body = bytes(answer(FILE, [fault], 1).body(DATA))
    changed = [place for place in range(len(DATA)) if body[place] != DATA[place]]
    assert len(changed) == flips
    assert changed[0] == at
    assert all((body[place] ^ DATA[place]).bit_count() == 1 for place in changed)
    assert body == bytes(answer(FILE, [fault], 2).body(DATA))


def test_a_corruption_in_the_middle_leaves_the_image_header_and_breaks_the_digest():
    reply = answer(FILE, [faults.corrupt()], 1)
    body = bytes(reply.body(DATA))
    assert body[:5000] == DATA[:5000]
    assert hashlib.sha256(body).hexdigest() != FILE.sha256
    fire, over = (step for step in reply.steps if isinstance(step, Fire | Over))
    assert (fire.at, fire.flipped, over.due) == (5000, (5000,), fire.due)


def test_the_digest_headers_are_what_both_edgents_read():
    headers = dict(answer(FILE, [], 1).headers)
    assert headers["x-MD5"] == hashlib.md5(DATA).hexdigest()
    assert base64.b64decode(headers["X-SHA256"]) == hashlib.sha256(DATA).digest()
    assert len(headers["X-SHA256"]) == 44


@pytest.mark.parametrize("code", [204, 205, 304])
def test_a_status_without_a_body_announces_none(code):
    reply = answer(FILE, [faults.status(code)], 1)
    assert (reply.length, reply.announced, bytes(reply.body(DATA))) == (None, 0, b"")


@pytest.mark.parametrize(("text", "part"), [
    ("bytes=0-0", (0, 1)), ("bytes=5-", (5, 10)), ("bytes=-3", (7, 10)), ("bytes=-99", (0, 10)),
    ("bytes=2-99", (2, 10)), ("bytes = 1 - 2", (1, 3)),
    ("bytes=10-", "unsatisfiable"), ("bytes=-0", "unsatisfiable"),
    ("bytes=5-4", None), ("bytes=-", None), ("bytes=0-1,3-4", None), ("lines=0-1", None),
])  # fmt: skip
def test_a_range_is_read_as_rfc_9110_says(text, part):
    assert parse_range(text, 10) == part


def test_a_head_carries_the_length_and_lets_no_body_be_expected():
    reply = answer(FILE, [faults.stall("50%")], 1, method="HEAD")
    assert (reply.status, reply.length, reply.announced, reply.steps) == (200, 10_000, 0, ())


def test_a_range_is_ignored_in_a_download_with_a_fault():
    assert answer(FILE, [faults.stall("50%")], 1, range_header="bytes=5-").status == 200
    assert answer(FILE, [faults.stall().on_attempt(2)], 1, range_header="bytes=5-").status == 206
