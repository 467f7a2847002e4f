"""What holds for any faults, any request and any file."""

from __future__ import annotations

import http.client
import io
import random

import pytest
from fault_strategies import PLAIN, clauses
from hypothesis import event, given, settings
from hypothesis import strategies as st
from plan_wire import ask, play, wire

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.plan import Offered, answer, check
from pytest_blynk_ota.delivery.plan.check import before_request
from pytest_blynk_ota.delivery.steps import Cut, Fire, Send
from pytest_blynk_ota.delivery.when import Asked
from pytest_blynk_ota.errors import FaultError

NOISE = random.Random(11).randbytes(4000)
SIZES = st.sampled_from([0, 1, 2, 24, 299, 300, 1024])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "range": st.from_regex(r"bytes=(\d{1,4}-\d{0,4}|-\d{1,4})", fullmatch=True)
        | st.text(max_size=9),
        "if-range": st.sampled_from(['"x"', "*"]),
        "if-none-match": st.sampled_from(['"x"', "*"]),
        "connection": st.sampled_from(["close", "keep-alive"]),
    },
)
RANGES = ({}, {"range": "bytes=150-"}, {"range": "bytes=1-"}, {"range": "bytes=0-"})


class Open(io.BytesIO):
    """Does not close, so that what was not read can be."""

    def close(self) -> None:
        pass


class Wire:
    """As much of a socket as http.client reads from."""

    def __init__(self, data: bytes) -> None:
        self._file = Open(data)

    def makefile(self, mode: str) -> io.BytesIO:
        return self._file


def parsed(data: bytes, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes, bytes]:
    """What http.client makes of an answer: its head, its body, and what is left over."""
    sock = Wire(data)
    reply = http.client.HTTPResponse(sock, method=method)  # type: ignore[arg-type]
    reply.begin()
    body = reply.read()
    return reply, body, sock.makefile("rb").read()


@given(st.lists(clauses(), max_size=6), SIZES, HEADERS, st.sampled_from(["GET", "HEAD"]), st.data())
def test_any_faults_give_an_answer_whose_steps_go_forward_and_fire_each_fault_once(
    listed, size, headers, method, data
):
    attempt = data.draw(st.integers(1, 9))
    events = data.draw(st.frozensets(st.sampled_from(["offline", "login", "reset", "go"])))
    asked = Asked(attempt, "c3-a", headers, events)
    due = [fault.due(asked, 1) for fault in listed]
    body = NOISE[:size]
    reply = answer(
        Offered.of("new.bin", body), body, listed, asked, method=method,
        fired=dict.fromkeys(range(len(listed)), 1), hop=data.draw(st.integers(0, 3)),
    )  # fmt: skip
    ends = {fault.when.until for fault, one in zip(listed, due, strict=True) if one}
    seen = play(reply)
    assert set(reply.due) == reply.fires()
    assert all(due[index] for index in reply.due)
    timed = {step.due.index for one in reply.later for step in one.steps if hasattr(step, "due")}
    assert {index for index, late in reply.due.items() if late is None} == timed
    assert set(seen.fired) == set(reply.due) - timed
    for index, late in reply.due.items():
        assert late is None or seen.sent[index] == late <= len(reply.body)
    if method == "HEAD":
        assert (reply.announced, seen.body) == (0, 0) or reply.announced is None
    if seen.end == "complete" and method == "GET":
        assert seen.body == len(reply.body)
    for step in reply.steps:
        if isinstance(step, Fire | Cut):
            assert step.due.fault is listed[step.due.index]
            assert 0 <= step.at <= len(reply.body)
        pace = step.pace if isinstance(step, Send) else None
        while pace is not None:
            assert pace.until in ends
            pace = pace.then


@settings(max_examples=300)
@given(st.lists(PLAIN, min_size=1, max_size=4), st.sampled_from([300, 1024]))
def test_what_check_accepts_fires_and_what_it_refuses_does_not_all_fire(listed, size):
    body = NOISE[:size]
    fired: set[int] = set()
    hops = {one.values.get("hops", 0) for one in listed}  # behind a redirect comes the next one
    for headers in RANGES:
        for hop in hops | {0, 100}:
            fired |= ask(body, *listed, headers=headers, hop=hop).fires()
    fired |= {place for place, one in enumerate(listed) if before_request(one)}
    try:
        check(listed, body, "new.bin", https=True)
    except FaultError as error:
        event("refused")
        told = str(error)
    else:
        event("accepted")
        assert fired == set(range(len(listed)))
        return
    assert any(told.startswith(str(one)) for one in listed)
    if len(listed) == 1:
        assert fired == set()


@given(st.lists(clauses(), min_size=1, max_size=4))
def test_check_accepts_any_list_or_names_the_fault_that_could_never_fire(listed):
    try:
        check(listed, NOISE[:300], "new.bin", https=True)
    except FaultError as error:
        told = str(error)
        assert any(told.startswith(f"{one} could never fire: ") for one in listed)


@given(SIZES, HEADERS, st.sampled_from(["GET", "HEAD"]), st.sampled_from(["1.0", "1.1"]))
def test_with_no_fault_due_the_answer_is_a_correct_one(size, headers, method, version):
    reply = ask(NOISE[:size], faults.stall().on_attempt(2), headers=headers, method=method,
                version=version, date="Mon, 23 Nov 2026 10:00:00 GMT")  # fmt: skip
    got, body, left = parsed(wire(reply), method)
    event(str(got.status))
    assert (got.status, got.version, left) == (reply.status, 11, b"")
    assert got.will_close is not reply.keep
    assert len(body) == reply.announced
    if reply.part and method == "GET":
        start, stop, total = reply.part
        assert body == NOISE[start:stop]
        assert got.getheader("Content-Range") == f"bytes {start}-{stop - 1}/{total}"
    elif reply.status == 200 and method == "GET":
        assert body == NOISE[:size]


@given(SIZES, st.integers(1, 2000), st.sampled_from(["valid", "with-length"]))
def test_valid_chunks_are_read_as_the_file(size, count, how):
    got, body, left = parsed(wire(ask(NOISE[:size], faults.chunked(count, how))))
    assert (got.status, body, left) == (200, NOISE[:size], b"")


@given(SIZES, st.integers(1, 400), st.lists(st.integers(0, 1024), max_size=3), st.data())
def test_waits_and_flips_in_chunks_leave_the_bytes_of_the_wire_as_they_are(
    size, count, places, data
):
    how = data.draw(st.sampled_from(["valid", "malformed", "unfinished", "with-length"]))
    chunks = faults.chunked(count, how)
    whole = wire(ask(NOISE[:size], chunks))
    waits = [faults.stall(place, seconds=1) for place in places]
    assert wire(ask(NOISE[:size], chunks, *waits)) == whole
    for place in places:
        stalled = play(ask(NOISE[:size], chunks, faults.stall(place)))
        assert whole.startswith(stalled.wire)
        assert stalled.body == (place if place <= size else size)


def test_an_endless_body_is_read_without_end_and_a_malformed_one_not_at_all():
    with pytest.raises(http.client.IncompleteRead) as caught:
        parsed(wire(ask(NOISE, faults.chunked(1000, "endless"))))
    assert caught.value.partial == NOISE + NOISE[:1000] * 3
    with pytest.raises(http.client.IncompleteRead) as caught:
        parsed(wire(ask(NOISE, faults.chunked(1000, "malformed"))))
    assert caught.value.partial == NOISE[:2000]


@given(st.integers(0, 4000), st.integers(0, 3999), st.integers(0, 3999))
def test_a_part_ends_where_the_file_ends_for_the_same_fault(after, one, other):
    start, count = min(one, other), abs(one - other)
    headers = {"range": f"bytes={start}-{start + count}"}
    reply = ask(NOISE, faults.reset(after), headers=headers)
    stop = start + count + 1
    reached = start <= after <= stop
    sent = NOISE[start : min(after, stop)] if reached else NOISE[start:stop]
    head = wire(ask(NOISE, headers=headers)).split(b"\r\n\r\n")[0]
    assert wire(reply) == head + b"\r\n\r\n" + sent
    assert reply.due == ({0: after - start} if reached else {})


@given(st.sampled_from([300, 1024]), st.integers(0, 1023), st.integers(1, 300))
def test_bytes_that_were_cut_out_are_missing_and_nothing_else(size, at, count):
    data = NOISE[:size]
    reply = ask(data, faults.cut(at, count))
    fits = at + count <= size
    assert bytes(reply.body) == (data[:at] + data[at + count :] if fits and at < size else data)
    assert wire(reply)[len(play(reply).head) :] == bytes(reply.body)
