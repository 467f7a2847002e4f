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
