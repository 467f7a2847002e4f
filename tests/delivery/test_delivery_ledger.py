"""The pure parts below the server: what carries which byte, when a piece is due, what a head is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.delivery.heads import Heads, Refused
from pytest_blynk_ota.delivery.pacing import Pacer
from pytest_blynk_ota.delivery.steps import Pace
from pytest_blynk_ota.delivery.witness import Ledger


def test_bytes_between_two_parts_of_a_body_carry_none():
    ledger = Ledger()
    ledger.book(10, 5, 5)
    ledger.book(20, 5, 5)
    told = [ledger.within(wire) for wire in (0, 10, 12, 15, 20, 21, 25, 99)]
    assert told == [0, 0, 2, 5, 5, 6, 10, 10]


def test_a_record_counts_when_all_of_it_has_come():
    ledger = Ledger()
    ledger.book(100, 122, 100)
    ledger.book(222, 72, 50)
    assert [ledger.within(wire) for wire in (221, 222, 293, 294)] == [0, 100, 100, 150]


SPANS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 9), st.booleans()), min_size=1, max_size=12
)


@given(SPANS, st.integers(0, 200))
def test_a_ledger_agrees_with_a_list_of_every_single_byte(spans, passed):
    ledger, every = Ledger(), []  # how many bytes of the body each byte of the wire completes
    for gap, size, bare in spans:
        every += [0] * gap
        wire = size if bare else size + 2
        ledger.book(len(every), wire, size)
        every += [1] * size if bare else [0] * (wire - 1) + [size]
    ledger.forget(passed)
    passed = min(passed, len(every))
    told = [ledger.within(wire) for wire in range(passed, len(every) + 1)]
    assert told == [sum(every[:wire]) for wire in range(passed, len(every) + 1)]


def test_what_is_taken_back_was_never_booked():
    ledger = Ledger()
    ledger.book(0, 10, 10)
    ledger.book(12, 10, 10)
    ledger.recall(13)
    assert (ledger.body, ledger.within(99)) == (7, 7)
    ledger.book(7, 3, 3)
    assert (ledger.body, ledger.within(9)) == (10, 9)


def pieces(pacer, count, left=10**9):
    return [pacer.next(left) for _ in range(count)]


def test_a_rate_has_no_rounding_that_adds_up():
    pacer = Pacer(Pace(rate=3000), 1.0, 100.0)
    last = pieces(pacer, 1000)[-1]
    assert last[0] == 30
    assert last[1] == pytest.approx(100.0 + 30_000 / 3000)


def test_single_bytes_come_at_the_rate_in_device_seconds():
    pacer = Pacer(Pace(rate=10, piece=1), 20.0, 0.0)
    assert pieces(pacer, 3) == [(1, pytest.approx(n / 200)) for n in (1, 2, 3)]


def test_a_late_host_catches_up_and_a_late_device_does_not():
    pacer = Pacer(Pace(rate=100, piece=1), 1.0, 0.0)
    pacer.next(10)
    assert pacer.next(10)[1] == pytest.approx(0.02)  # however late it went
    pacer.held_up(5.02)
    assert pacer.next(10)[1] == pytest.approx(5.03)


def test_a_device_that_is_late_by_less_than_a_moment_is_given_it_back():
    pacer = Pacer(Pace(rate=100, piece=1), 1.0, 0.0)
    pacer.next(10)
    pacer.held_up(0.2)
    assert pacer.next(10)[1] == pytest.approx(0.02)


def test_jitter_moves_pieces_and_keeps_the_rate():
    pacer = Pacer(Pace(rate=1000, piece=10, jitter=0.5, seed=1), 1.0, 0.0)
    moments = [due for _, due in pieces(pacer, 400)]
    even = [0.01 * n for n in range(1, 401)]
    off = [due - at for due, at in zip(moments, even, strict=True)]
    assert 0.004 < max(off) <= 0.005
    assert -0.005 <= min(off) < -0.004
    again = Pacer(Pace(rate=1000, piece=10, jitter=0.5, seed=1), 1.0, 0.0)
    assert moments == [due for _, due in pieces(again, 400)]


def test_gaps_and_pieces_vary_by_the_seed_without_a_rate():
    rows = pieces(Pacer(Pace(piece=100, gap=0.1, jitter=0.2, seed=3), 1.0, 0.0), 200)
    sizes = {count for count, _ in rows}
    gaps = [later[1] - first[1] for first, later in pairwise(rows)]
    assert 80 <= min(sizes) < 85 < 115 < max(sizes) <= 120
    assert 0.08 <= min(gaps) < 0.085
    assert 0.115 < max(gaps) <= 0.12


def whole(data):
    heads = Heads()
    heads.feed(data)
    return heads, heads.next()


def test_a_head_is_read_in_any_pieces():
    data = b"GET /f/a%20b?token=1&hop=2 HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
    heads, found = Heads(), []
    for n in range(len(data)):
        heads.feed(data[n : n + 1])
        found.append(heads.next())
    assert found[:-1] == [None] * (len(data) - 1)
    request = found[-1]
    assert (request.path, dict(request.query)) == ("/f/a b", {"token": "1", "hop": "2"})
    assert request.headers["x-a"] == "1, 2"
    assert heads.is_idle


def test_requests_on_top_of_each_other_come_one_by_one():
    heads, first = whole(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nHEAD /2 HTTP/1.0\r\n\r\nGE")
    second = heads.next()
    assert (first.path, second.path, second.version) == ("/1", "/2", "1.0")
    assert heads.next() is None
    assert not heads.is_idle


def test_what_follows_a_body_is_not_read():
    _, request = whole(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP")
    assert request.last


def test_secrets_are_noted_as_being_there():
    _, request = whole(
        b"GET / HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer abc\r\nCookie: def\r\nRange: bytes=1-\r\n\r\n"
    )
    assert request.noted() == {
        "range": "bytes=1-", "authorization": "(present)", "cookie": "(present)"
    }  # fmt: skip


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_any_bytes_are_a_request_or_refused_or_not_yet_whole(data, cuts):
    heads, at = Heads(), 0
    for cut in [*sorted(cuts), len(data)]:
        heads.feed(data[at:cut])
        at = max(at, cut)
        try:
            heads.next()
        except Refused as error:
            refused = error
            break
    else:
        return
    assert 400 <= refused.status < 600
