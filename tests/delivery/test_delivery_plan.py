"""What is answered, decided without a socket: the right answer, and where the file is cut."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from plan_wire import ask, play, wire

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.plan import Offered, answer, parse_range, plain
from pytest_blynk_ota.delivery.when import Asked

DATA = random.Random(5).randbytes(1000)
FILE = Offered.of("new.bin", DATA)
ETAG = f'"{hashlib.sha256(DATA).hexdigest()[:32]}"'
SHA256 = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
MD5 = hashlib.md5(DATA).hexdigest()
RIGHT = (
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: application/octet-stream\r\n"
    "Content-Length: 1000\r\n"
    f"ETag: {ETAG}\r\n"
    "Accept-Ranges: bytes\r\n"
    f"x-MD5: {MD5}\r\n"
    f"X-SHA256: {SHA256}\r\n"
    "\r\n"
).encode()


def test_with_no_fault_due_the_head_is_one_piece_and_the_file_follows():
    reply = ask(DATA, faults.status(503).on_attempt(2))
    assert wire(reply) == RIGHT + DATA
    assert play(reply).story == ["Say", "Send"]
    assert (reply.status, reply.announced, reply.keep, reply.page) == (200, 1000, True, False)
    assert (reply.due, reply.later, reply.part) == ({}, (), None)


def test_the_digest_headers_are_what_both_edgents_read():
    headers = dict(FILE.headers())
    assert headers["x-MD5"] == hashlib.md5(DATA).hexdigest()
    assert base64.b64decode(headers["X-SHA256"]) == hashlib.sha256(DATA).digest()
    assert len(headers["X-SHA256"]) == 44


@pytest.mark.parametrize(("text", "part"), [
    ("bytes=0-0", (0, 1)), ("bytes=5-", (5, 10)), ("bytes=-3", (7, 10)), ("bytes=-99", (0, 10)),
    ("bytes=2-99", (2, 10)), ("bytes = 1 - 2", (1, 3)), ("Bytes=9-", (9, 10)),
    ("bytes=10-", "unsatisfiable"), ("bytes=-0", "unsatisfiable"),
    ("bytes=5-4", None), ("bytes=-", None), ("bytes=0-1,3-4", None), ("lines=0-1", None),
    ("bytes=\u0661-2", None),
])  # fmt: skip
def test_a_range_is_read_as_rfc_9110_says(text, part):
    assert parse_range(text, 10) == part


def test_a_page_of_the_server_itself_says_what_it_is():
    reply = plain(405, "405 Method Not Allowed\n", ("Allow", "GET, HEAD"), keep=False)
    assert wire(reply) == (
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 23\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
        b"405 Method Not Allowed\n"
    )
    assert (reply.page, reply.keep) == (True, False)


def test_the_date_comes_first_where_it_is_known():
    reply = answer(FILE, DATA, (), Asked(1), date="Mon, 23 Nov 2026 10:00:00 GMT")
    assert wire(reply).startswith(b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n")


@pytest.mark.parametrize(("asked", "says", "part"), [
    ("bytes=0-9", "0-9/1000", (0, 10)), ("bytes=990-", "990-999/1000", (990, 1000)),
    ("bytes=-1", "999-999/1000", (999, 1000)), ("bytes=0-", "0-999/1000", (0, 1000)),
])  # fmt: skip
def test_a_part_is_sent_as_it_is_asked_for_with_the_digests_of_the_file(asked, says, part):
    reply = ask(DATA, headers={"range": asked})
    head, body = wire(reply).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert f"\r\nContent-Range: bytes {says}\r\n".encode() in head
    assert f"\r\nContent-Length: {part[1] - part[0]}\r\n".encode() in head
    assert f"\r\nX-SHA256: {SHA256}".encode() in head
    assert body == DATA[slice(*part)]
    assert (reply.part, reply.announced, reply.page) == ((*part, 1000), len(body), False)


def test_a_range_outside_of_the_file_is_told_its_size():
    reply = ask(DATA, headers={"range": "bytes=1000-"})
    assert (reply.status, reply.page, reply.part) == (416, True, None)
    assert b"\r\nContent-Range: bytes */1000\r\n" in wire(reply)


@pytest.mark.parametrize("headers", [
    {"range": "bytes=5-4"}, {"range": "bytes=0-1,3-4"},
    {"range": "bytes=5-", "if-range": '"other"'}, {"range": "bytes=5-", "if-range": f"W/{ETAG}"},
    {"range": "bytes=5-", "if-range": "Mon, 23 Nov 2026 10:00:00 GMT"},
    {"if-none-match": '"other", "more"'}, {"if-match": "*"}, {"if-match": f'"a", {ETAG}'},
    {"if-modified-since": "Mon, 23 Nov 2099 10:00:00 GMT"},
], ids=str)  # fmt: skip
def test_what_asks_for_nothing_else_gets_the_whole_file(headers):
    assert wire(ask(DATA, headers=headers)) == RIGHT + DATA


@pytest.mark.parametrize(("headers", "status"), [
    ({"range": "bytes=5-", "if-range": ETAG}, 206),
    ({"if-none-match": ETAG}, 304), ({"if-none-match": f'"a",W/{ETAG}'}, 304),
    ({"if-none-match": "*"}, 304), ({"if-none-match": ETAG, "range": "bytes=5-"}, 304),
    ({"if-match": '"other"'}, 412), ({"if-match": f"W/{ETAG}"}, 412),
    ({"if-match": '"other"', "if-none-match": ETAG}, 412),
], ids=str)  # fmt: skip
def test_preconditions_are_weighed_as_rfc_9110_says(headers, status):
    assert ask(DATA, headers=headers).status == status


def test_a_304_has_an_etag_no_length_and_no_body_and_keeps_the_connection():
    reply = ask(DATA, faults.stall("50%"), headers={"if-none-match": ETAG})
    assert wire(reply) == f"HTTP/1.1 304 Not Modified\r\nETag: {ETAG}\r\n\r\n".encode()
    assert (reply.announced, reply.keep, reply.page, reply.due) == (0, True, True, {})


def test_a_head_request_gets_the_head_of_the_file_and_nothing_more():
    listed = [faults.corrupt(), faults.stall(0), faults.reset("3s"), faults.pad(), faults.drip(1)]
    reply = ask(DATA, *listed, method="HEAD", headers={"range": "bytes=5-"})
    assert wire(reply) == RIGHT
    assert (reply.announced, reply.keep, reply.due, reply.later) == (0, True, {}, ())


def test_a_fault_of_the_head_fires_for_head_too():
    reply = ask(DATA, faults.status(503), faults.drop_header("content-length"), method="HEAD")
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    assert wire(reply) == head
    assert reply.fires() == {0, 1}


@pytest.mark.parametrize(("version", "says", "keep", "told"), [
    ("1.1", None, True, b""), ("1.1", "close", False, b"Connection: close\r\n"),
    ("1.1", "TE, Close", False, b"Connection: close\r\n"), ("1.1", "keep-alive", True, b""),
    ("1.0", None, False, b"Connection: close\r\n"),
    ("1.0", "Keep-Alive", True, b"Connection: keep-alive\r\n"),
])  # fmt: skip
def test_the_connection_is_kept_if_the_device_wants_it(version, says, keep, told):
    headers = {} if says is None else {"connection": says}
    reply = ask(DATA, version=version, headers=headers)
    assert reply.keep is keep
    assert wire(reply) == RIGHT[:-2] + told + b"\r\n" + DATA


def test_a_line_end_in_what_is_known_about_a_file_makes_no_header_of_its_own():
    file = Offered.of("new.bin", DATA, [("x-fw-ver", "1.0\r\nX-Evil: 1")])
    assert b"\r\nx-fw-ver: 1.0  X-Evil: 1\r\n" in wire(answer(file, DATA, (), Asked(1)))


def test_an_answer_sends_the_bytes_of_the_file_and_no_copy_of_them():
    assert ask(DATA, faults.stall(5)).body is DATA
    assert ask(DATA, headers={"range": "bytes=5-"}).body.obj is DATA
