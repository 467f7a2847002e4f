"""Faults of the status line and the headers: the exact bytes, and when they fire."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from plan_wire import ask, play, wire

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.steps import Hold, Pace, Say

DATA = random.Random(6).randbytes(1000)
RIGHT = play(ask(DATA)).head
ETAG = f'"{hashlib.sha256(DATA).hexdigest()[:32]}"'
RAW = hashlib.sha256(DATA).digest()
SHA256 = base64.b64encode(RAW).decode()
MD5 = hashlib.md5(DATA).hexdigest()
LENGTH = b"Content-Length: 1000\r\n"


def with_line(old: bytes, new: bytes) -> bytes:
    assert old in RIGHT
    return RIGHT.replace(old, new)


def with_last(line: bytes) -> bytes:
    return RIGHT[:-2] + line + b"\r\n"


def sha(value: str) -> bytes:
    return with_line(SHA256.encode(), value.encode())


def md5(value: str) -> bytes:
    return with_line(MD5.encode(), value.encode())


def inverted(raw: bytes, first: int, last: int) -> bytes:
    return raw[:first] + bytes(255 - byte for byte in raw[first:last]) + raw[last:]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


HEADS = [
    (faults.header("X-Odd", "a b"), with_last(b"X-Odd: a b\r\n")),
    (faults.header("content-length", "7"), with_line(LENGTH, b"content-length: 7\r\n")),
    (faults.drop_header("x-sha256"), with_line(f"X-SHA256: {SHA256}\r\n".encode(), b"")),
    (faults.double_header("Content-Length"), with_line(LENGTH, LENGTH * 2)),
    (faults.double_header("Content-Length", "7"),
     with_line(LENGTH, LENGTH + b"Content-Length: 7\r\n")),
    (faults.pad_headers(5, 2), with_last(b"X-Pad-1: ppppp\r\nX-Pad-2: ppppp\r\n")),
    (faults.pad_headers(8192), with_last(b"X-Pad-1: " + b"p" * 8192 + b"\r\n")),
    (faults.length(0), with_line(LENGTH, b"Content-Length: 0\r\n")),
    (faults.length("-1"), with_line(LENGTH, b"Content-Length: -1\r\n")),
    (faults.length("ten"), with_line(LENGTH, b"Content-Length: ten\r\n")),
    (faults.length("huge"), with_line(LENGTH, b"Content-Length: 5000000000\r\n")),
    (faults.length(off=-100), with_line(LENGTH, b"Content-Length: 900\r\n")),
    (faults.length(off=1), with_line(LENGTH, b"Content-Length: 1001\r\n")),
    (faults.length("missing"),
     with_line(LENGTH, b"")[:-2] + b"Connection: close\r\n\r\n"),
    (faults.digest("wrong"), sha(b64(inverted(RAW, 0, 32)))),
    (faults.digest("first-half"), sha(b64(inverted(RAW, 0, 16)))),
    (faults.digest("last-half"), sha(b64(inverted(RAW, 16, 32)))),
    (faults.digest("missing"), with_line(f"X-SHA256: {SHA256}\r\n".encode(), b"")),
    (faults.digest("short"), sha(SHA256[:43])),
    (faults.digest("long"), sha(SHA256 + SHA256[0])),
    (faults.digest("upper"), sha(SHA256.upper())),
    (faults.digest("quoted"), sha(f'"{SHA256}"')),
    (faults.digest("text"), sha("not-a-digest-not-a-digest-not-a-digest-not-a")),
    (faults.digest("wrong", "X-MD5"), md5(inverted(bytes.fromhex(MD5), 0, 16).hex())),
    (faults.digest("last-half", "x-md5"), md5(inverted(bytes.fromhex(MD5), 8, 16).hex())),
    (faults.digest("short", "x-MD5"), md5(MD5[:31])),
    (faults.digest("upper", "x-MD5"), md5(MD5.upper())),
    (faults.http_version("1.0"),
     RIGHT.replace(b"HTTP/1.1", b"HTTP/1.0")[:-2] + b"Connection: close\r\n\r\n"),
    (faults.http_version("2.0"), RIGHT.replace(b"HTTP/1.1", b"HTTP/2.0")),
    (faults.http_version("0.9"), b""),
    (faults.early(), b"HTTP/1.1 100 Continue\r\n\r\n" + RIGHT),
    (faults.early(103, 2), b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2 + RIGHT),
    (faults.early(199), b"HTTP/1.1 199 Status\r\n\r\n" + RIGHT),
    (faults.connection(), with_last(b"Connection: keep-alive\r\n")),
    (faults.connection("close", "stay"), with_last(b"Connection: close\r\n")),
    (faults.connection("nothing"), RIGHT),
    (faults.etag("missing"), with_line(f"ETag: {ETAG}\r\n".encode(), b"")),
    (faults.etag("weak"), with_line(b"ETag: ", b"ETag: W/")),
    (faults.etag("changes"), with_line(ETAG.encode(), f'{ETAG[:-1]}-1"'.encode())),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "head"), HEADS, ids=lambda one: str(one)[:40])
def test_the_head_is_wrong_as_it_was_asked_for_and_the_file_follows(fault, head):
    reply = ask(DATA, fault)
    assert wire(reply) == head + DATA
    assert reply.due == {0: 0}


@pytest.mark.parametrize(
    "fault", [fault for fault, _ in HEADS if fault.kind not in ("http_version", "early")], ids=str
)
def test_a_fault_of_a_header_fires_once_the_head_is_out(fault):
    seen = play(ask(DATA, fault, faults.stall("status", seconds=1)))
    assert (seen.fired[0], seen.sent[0]) == (len(seen.head), 0)
    assert seen.fired[1] == 17


@pytest.mark.parametrize(("fault", "announced"), [
    (faults.length(0), 0), (faults.length("007"), 7), (faults.length("-1"), None),
    (faults.length("+7"), None), (faults.length("ten"), None), (faults.length("0x10"), None),
    (faults.length("missing"), None), (faults.length("huge"), 5_000_000_000),
    (faults.length("7, 7"), None), (faults.length(" 7 "), 7), (faults.length(off=-1), 999),
    (faults.double_header("Content-Length"), 1000),
    (faults.double_header("Content-Length", "7"), None),
    (faults.drop_header("Content-Length"), None), (faults.http_version("0.9"), None),
    (faults.header("CONTENT-LENGTH", "12"), 12), (faults.chunked(), None),
    (faults.header("Transfer-Encoding", "chunked"), None),
    (faults.chunked(how="with-length"), None), (faults.early(), 1000),
], ids=str)  # fmt: skip
def test_announced_is_what_a_device_may_expect_from_the_headers(fault, announced):
    assert ask(DATA, fault).announced == announced


@pytest.mark.parametrize(("listed", "keep"), [
    ([faults.length(0)], False), ([faults.length("missing")], False),
    ([faults.length(off=1)], False), ([faults.http_version("1.0")], False),
    ([faults.http_version("2.0")], True), ([faults.http_version("0.9")], False),
    ([faults.double_header("Content-Length")], True), ([faults.pad()], True),
    ([faults.drop_header("Content-Length")], False), ([faults.drop_header("ETag")], True),
    ([faults.chunked()], True), ([faults.chunked(how="unfinished")], False),
    ([faults.chunked(how="malformed")], False), ([faults.chunked(how="with-length")], False),
    ([faults.connection()], False), ([faults.connection("close", "stay")], True),
    ([faults.length(off=1), faults.connection("nothing", "stay")], True),
], ids=str)  # fmt: skip
def test_a_connection_is_kept_where_the_next_answer_can_be_told_from_this_one(listed, keep):
    assert ask(DATA, *listed).keep is keep


def test_single_headers_are_changed_in_the_order_of_the_list():
    listed = [
        faults.header("X-A", "1"),
        faults.double_header("X-A", "2"),
        faults.drop_header("X-A"),
    ]
    assert play(ask(DATA, *listed[:2])).head == with_last(b"X-A: 1\r\nX-A: 2\r\n")
    assert play(ask(DATA, *listed)).head == RIGHT
    assert ask(DATA, *reversed(listed)).fires() == {2}


def test_an_etag_that_changes_is_another_one_at_each_request_and_no_range_holds_against_it():
    heads = {play(ask(DATA, faults.etag(), serial=n)).head for n in (1, 2, 3)}
    assert len(heads) == 3
    seen = {"range": "bytes=5-", "if-range": f'{ETAG[:-1]}-1"'}
    assert ask(DATA, faults.etag(), headers=seen, serial=1).status == 206
    assert ask(DATA, faults.etag(), headers=seen, serial=2).status == 200
    weak = {"range": "bytes=5-", "if-range": f"W/{ETAG}"}
    assert ask(DATA, faults.etag("weak"), headers=weak).status == 200


@pytest.mark.parametrize(("at", "first"), [
    ("in-status", b"HTTP/1.1 2"), ("before-length", RIGHT[: RIGHT.index(b"Content-Length")]),
    ("in-length", RIGHT[: RIGHT.index(b"00\r\n")]), ("before-end", RIGHT[:-2]),
])  # fmt: skip
def test_the_head_is_split_where_it_was_asked_for(at, first):
    reply = ask(DATA, faults.split_headers(at, gap=0.5))
    assert wire(reply) == RIGHT + DATA
    assert reply.steps[0] == Say(first)
    assert reply.steps[2] == Hold(0.5)
    assert play(reply).story == ["Say", "Fire", "Hold", "Over", "Say", "Send"]


def test_a_length_of_one_digit_is_split_before_it():
    reply = ask(b"1234567", faults.split_headers("in-length"))
    assert reply.steps[0].data.endswith(b"\r\nContent-Length: ")


def test_slow_headers_are_sent_byte_by_byte_and_the_body_at_once():
    reply = ask(DATA, faults.slow_headers(20))
    assert reply.steps[1] == Say(RIGHT, Pace(20, 1))
    assert play(reply).story == ["Fire", "Say", "Over", "Send"]
    assert reply.steps[3].pace is None


def test_slow_headers_until_an_event_know_whose_pace_it_is():
    reply = ask(DATA, faults.stall(0, seconds=1), faults.slow_headers().until_event("login"))
    assert reply.steps[1].pace == Pace(1, 1, until="login")


def test_a_slow_head_may_be_split_and_early_answers_come_before_it_at_once():
    listed = [faults.split_headers("in-status"), faults.slow_headers(), faults.early(100, 2)]
    reply = ask(DATA, *listed)
    says = [step for step in reply.steps if isinstance(step, Say)]
    assert [one.pace for one in says] == [None, Pace(1, 1), Pace(1, 1)]
    assert wire(reply) == b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + RIGHT + DATA


@pytest.mark.parametrize(("kind", "listed"), [
    ("header", [faults.header("Content-Length", "1000")]),
    ("drop_header", [faults.drop_header("Retry-After")]),
    ("double_header", [faults.double_header("X-None", "1")]),
    ("digest", [faults.digest("wrong"), faults.status(404)]),
    ("length", [faults.length(1000)]),
    ("http_version", [faults.http_version("1.1")]),
    ("connection", [faults.connection("nothing", "stay")]),
    ("split_headers", [faults.split_headers("in-length"), faults.length("missing")]),
    ("etag", [faults.etag(), faults.page()]),
    ("slow_headers", [faults.slow_headers(), faults.http_version("0.9")]),
    ("header", [faults.header("X-A", "1"), faults.http_version("0.9")]),
])  # fmt: skip
def test_a_fault_that_changes_nothing_is_not_due_and_does_not_fire(kind, listed):
    reply = ask(DATA, *listed)
    assert 0 not in reply.due
    assert 0 not in reply.fires()
    assert listed[0].kind == kind


def test_a_digest_that_is_none_any_more_has_no_bytes_to_change():
    seen = ask(DATA, faults.digest("short"), faults.digest("wrong"))
    assert set(seen.due) == {0}
