"""http_parser: what it takes of an answer, and how it keeps silent about the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.virtual.app.http_parser import MOST_HEADER_BYTES, Parser

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"\xe9 the body"
LENGTH = b"Content-Length: 10\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"4;x=y\r\n\xe9 th\r\n06\r\ne body\r\n0\r\nTrailer: x\r\n\r\n"


def parsed(data: bytes, pieces: int = 10**6) -> tuple[Parser, bytes]:
    parser, body = Parser(), b""
    for at in range(0, len(data), pieces):
        body += parser.feed(data[at : at + pieces])
    return parser, body


WHOLE = [
    pytest.param(OK + LENGTH + b"\r\n" + BODY, id="length"),
    pytest.param(OK + CHUNKED + b"\r\n" + IN_CHUNKS, id="chunks"),
    pytest.param(OK + b"TRANSFER-ENCODING:CHUNKED\n\n" + IN_CHUNKS, id="chunks in capitals"),
    pytest.param(b"HTTP/1.0 200\n" + LENGTH + b"\n" + BODY, id="bare line feeds"),
    pytest.param(b"\r\n" + OK + LENGTH + b"\r\n" + BODY + b"more", id="more behind it"),
    pytest.param(b"HTTP/2.0  200 OK\r\ncontent-length:\t1 0\r\n\r\n" + BODY, id="odd blanks"),
    pytest.param(OK + b"X: y\r\n z\r\n" + LENGTH + b"\r\n" + BODY, id="a folded line"),
]


@pytest.mark.parametrize("pieces", [1, 3, 10**6])
@pytest.mark.parametrize("answer", WHOLE)
def test_an_answer_is_the_same_in_pieces_of_any_size(answer, pieces):
    parser, body = parsed(answer, pieces)
    assert (parser.heads, parser.status, parser.complete, body) == (1, 200, True, BODY)


def test_without_a_length_the_body_ends_with_the_connection():
    parser, body = parsed(OK + b"\r\n" + BODY)
    assert (body, parser.complete, parser.length) == (BODY, False, None)
    parser.end()
    assert parser.complete


@pytest.mark.parametrize("code", [100, 103, 199, 204, 304])
def test_some_answers_have_no_body(code):
    parser, _ = parsed(b"HTTP/1.1 %d Fine\r\n\r\n" % code)
    assert (parser.status, parser.complete) == (code, True)


def test_what_follows_a_1xx_is_the_answer():
    parser, body = parsed(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\n" + BODY)
    assert (parser.heads, parser.status, body) == (2, 200, BODY)


BAD_HEADS = [
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200OK\r\n\r\n",
    b"HTTP/1 200 OK\r\n\r\n",
    b"http/1.1 200 OK\r\n\r\n",
    OK + b"no colon\r\n\r\n",
    OK + b"Content-Length : 10\r\n\r\n",
    OK + b"X: \x01\r\n\r\n",
    OK + b"Content-Length: -1\r\n\r\n",
    OK + b"Content-Length: ten\r\n\r\n",
    OK + b"Content-Length: 18446744073709551616\r\n\r\n",
    OK + LENGTH + LENGTH + b"\r\n",
    OK + LENGTH + CHUNKED + b"\r\n",
    OK + b"X: y\r\n" * (MOST_HEADER_BYTES // 6) + b"\r\n",
]


@pytest.mark.parametrize("pieces", [7, 10**6])
@pytest.mark.parametrize("head", BAD_HEADS, ids=[repr(head[:60]) for head in BAD_HEADS])
def test_a_head_that_is_wrong_is_never_complete(head, pieces):
    parser, body = parsed(head + BODY + OK + LENGTH + b"\r\n" + BODY, pieces)
    parser.end()
    assert (parser.heads, parser.complete, body) == (0, False, b"")


def test_sixteen_kilobytes_of_headers_are_taken():
    parser, body = parsed(
        OK + b"X: " + b"y" * 8192 + b"\r\n" + b"Z: z\r\n" * 1400 + LENGTH + b"\r\n"
    )
    assert (parser.heads, parser.length, body) == (1, 10, b"")


@pytest.mark.parametrize(
    "bad",
    [
        b"zz\r\n",
        b"-4\r\n",
        b"\r\n",
        b"4\n\xe9 th\r\n",
        b"4\r\n\xe9 the\r\n",
        b"1" + b"0" * 16 + b"\r\n",
    ],
)
def test_behind_a_chunk_that_is_wrong_nothing_is_taken(bad):
    parser, body = parsed(OK + CHUNKED + b"\r\n" + IN_CHUNKS[:13] + bad + IN_CHUNKS)
    parser.end()
    assert body.startswith(b"\xe9 th")
    assert b"body" not in body
    assert not parser.complete


def test_behind_the_last_answer_of_a_connection_only_line_ends_are_taken():
    closing = OK + b"Connection: close\r\n" + LENGTH + b"\r\n" + BODY
    parser, body = parsed(closing + b"\r\n" + closing)
    assert (parser.heads, parser.complete, body) == (1, True, BODY)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_answer_can_make_it_fail(junk, pieces):
    for head in (b"", OK, OK + CHUNKED + b"\r\n"):
        whole, all_at_once = parsed(head + junk), parsed(head + junk, pieces)
        assert whole[1] == all_at_once[1]
        assert whole[0].heads == all_at_once[0].heads
