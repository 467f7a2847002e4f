"""ArduinoHttpClient reads headers without waiting: what a pause does at each place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vfw_peer import run

from pytest_blynk_ota.virtual.app.arduino_http import AT_ONCE_S, ArduinoHttp
from pytest_blynk_ota.virtual.chip.clock import DeviceClock

SHA = "A" * 43 + "="
ANSWER = f"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 4096\r\nX-SHA256: {SHA}\r\n\r\n"
BODY = b"body"


class Board:
    clock = DeviceClock(500.0)


class Pieces:
    """A connection on which each piece comes a moment after the one before was taken."""

    def __init__(self, *pieces: bytes, closes: bool = False) -> None:
        self.pieces = list(pieces)
        self.closes = closes
        self.first = True

    async def read(self) -> bytes:
        if not self.pieces:
            if self.closes:
                return b""
            await asyncio.Event().wait()
        if not self.first:
            await Board.clock.pause(5 * AT_ONCE_S)
        self.first = False
        return self.pieces.pop(0)

    def close(self) -> None:
        pass


async def ask(*pieces: bytes, closes: bool = False) -> tuple[int, int, dict[str, str], bytes]:
    http = ArduinoHttp(Board(), Pieces(*pieces, closes=closes))  # type: ignore[arg-type]
    try:
        status = await http.status()
        found = await http.headers()
        return status, http.content_length, found, await http.read(len(BODY))
    finally:
        http.halt()


def split(text: str, *places: str) -> list[bytes]:
    """Cut before each of these texts."""
    for place in places:
        assert text.count(place) == 1
        text = text.replace(place, f"|{place}")
    return [part.encode() for part in text.split("|")]


def test_headers_in_one_piece_are_read():
    status, length, found, body = run(ask(ANSWER.encode() + BODY))
    assert (status, length, found["x-sha256"], body) == (200, 4096, SHA, BODY)


def test_a_pause_in_the_status_line_does_no_harm():
    _, length, found, _ = run(ask(*split(ANSWER + "body", "1 200")))
    assert (length, found["x-sha256"]) == (4096, SHA)


def test_a_pause_in_a_header_of_no_interest_does_no_harm():
    _, length, found, _ = run(ask(*split(ANSWER + "body", "erver")))
    assert (length, found["x-sha256"]) == (4096, SHA)


def test_a_pause_before_the_body_does_no_harm():
    assert run(ask(*split(ANSWER + "body", "body")))[3] == BODY


@pytest.mark.parametrize("place", ["Content-Length", "gth: 4096"])
def test_a_pause_before_or_in_the_name_of_the_length_loses_it(place):
    assert run(ask(*split(ANSWER + "body", place)))[1] == -1


def test_a_pause_in_the_digits_cuts_the_length():
    assert run(ask(*split(ANSWER + "body", "96\r\n")))[1] == 40


def test_a_pause_before_the_digest_loses_it():
    assert "x-sha256" not in run(ask(*split(ANSWER + "body", "X-SHA256")))[2]


def test_a_pause_within_the_digest_spoils_it():
    value = run(ask(*split(ANSWER + "body", "=\r\n")))[2]["x-sha256"]
    assert value != SHA
    assert len(value) == len(SHA) + 1


async def gives_up(*pieces: bytes, closes: bool = False) -> bool:
    """Whether it is still reading after a time in which any answer would have come."""
    try:
        async with asyncio.timeout(0.3):
            await ask(*pieces, closes=closes)
    except TimeoutError:
        return False
    return True


def test_a_pause_before_the_empty_line_never_ends():
    assert not run(gives_up(ANSWER[:-2].encode(), b"\r\n" + bytes(5000)))


def test_a_pause_within_the_empty_line_does_no_harm():
    assert run(ask(ANSWER[:-1].encode(), b"\nbody"))[3] == BODY


def test_a_server_that_closes_within_the_headers_is_never_noticed():
    assert not run(gives_up(ANSWER[:40].encode(), closes=True))


@pytest.mark.parametrize("name", ["content-length: 5", "Content-length: 5", "Content-Length:5"])
def test_the_length_has_one_spelling(name):
    assert run(ask(f"HTTP/1.1 200 OK\r\n{name}\r\n\r\nbody".encode()))[1] == -1


def test_of_two_lengths_the_last_counts():
    answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nbody"
    assert run(ask(answer.encode()))[1] == 7


STATUS_LINES = [
    ("HTTP/1.1 404 Not Found\r\n", 404),
    ("HTTP/2.0 200\r\n", 200),
    ("HTTP/1.1 100 Continue\r\nHTTP/1.1 200 OK\r\n", 200),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", -4),
    ("http/1.1 200 OK\r\n", -4),
    ("\r\n", -4),
    ("HTTP/1.1 20", -3),
]


@pytest.mark.parametrize(("line", "status"), STATUS_LINES)
def test_a_status_line_is_read_by_its_pattern(line, status):
    async def read() -> int:
        http = ArduinoHttp(Board(), Pieces(line.encode()))  # type: ignore[arg-type]
        try:
            return await http.status()
        finally:
            http.halt()

    assert run(read()) == status


@given(st.binary(max_size=400))
@settings(max_examples=50, deadline=None)
def test_no_answer_can_make_it_fail(junk):
    async def read() -> Any:
        return await gives_up(b"HTTP/1.1 200 OK\r\n" + junk + b"\r\n\r\n\r\n\r\nbody")

    run(read())


CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n"
PARTS = [
    pytest.param(["4\r\nthe \r\n8\r\nfirmware\r\n0\r\n\r\n"], id="at once"),
    pytest.param(["4\r\nth", "e \r\n", "8\r\nfirmware\r\n0\r\n\r\n"], id="cut in the data"),
    pytest.param(["4;q=zz\r\nthe \r\n0", "8", "\r\nfirmware\r\n"], id="cut in a length"),
    pytest.param(["\r\nno\r\n4\r\nthe \r\n8\r\nfirmware\r\n"], id="lines without digits"),
]


async def body_of(head: str, *parts: str) -> bytes:
    http = ArduinoHttp(Board(), Pieces((head + parts[0]).encode(), *map(str.encode, parts[1:])))  # type: ignore[arg-type]
    try:
        await http.status()
        await http.headers()
        return await http.read(12)
    finally:
        http.halt()


@pytest.mark.parametrize("parts", PARTS)
def test_a_length_beside_chunks_counts_what_is_in_them(parts):
    assert run(body_of(CHUNKED, *parts)) == b"the firmware"


def test_letters_behind_the_length_of_a_chunk_count_as_digits():
    assert run(body_of(CHUNKED, "4;a\r\nthe firmware")) == b"the firmware"


def test_another_spelling_of_chunked_is_not_understood():
    head = CHUNKED.replace("chunked", "Chunked")
    assert run(body_of(head, "4\r\nthe \r\n8\r\nfirmware\r\n")) == b"4\r\nthe \r\n8\r\n"


@pytest.mark.parametrize(
    ("text", "length"),
    [("5368709120", 1 << 30), ("2147483648", 214748364), ("4294971392", 429497139), ("-5", 0)],
)
def test_a_length_is_added_up_in_32_bits(text, length):
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {text}\r\n\r\nbody"
    assert run(ask(answer.encode()))[1] == length
