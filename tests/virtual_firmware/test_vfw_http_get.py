"""The device's HTTP client."""

from __future__ import annotations

import asyncio
import fcntl
import ssl
import struct
import sys
import termios
import time

import pytest
import trustme
from vfw_peer import FakeMachine, WebPeer, listening, run

from pytest_blynk_ota.virtual.app import http_get
from pytest_blynk_ota.virtual.network.tcp import WINDOW_BYTES

STALL_S = 30.0
FLOOD_BYTES = 200_000
SETTLE_S = 0.2
"""For the kernel to fill the window; on loopback it needs far less."""


async def fetch(peer, *, speed=60.0):
    machine = FakeMachine(speed=speed)
    async with listening(peer.serve) as (host, port):
        answer = await http_get.get(machine, f"http://{host}:{port}/f/x?token=1&s=0", STALL_S)
        data = b""
        if answer.body is not None:
            while len(data) < answer.length and (piece := await answer.body.read(4096)):
                data += piece
            answer.body.close()
    machine.close()
    return answer, data


def test_a_whole_file_arrives_with_its_length_and_digest():
    peer = WebPeer(
        b"image" * 5000, head="HTTP/1.1 200 OK\r\ncontent-length: {size}\r\nX-Md5: AB\r\n\r\n"
    )
    answer, data = run(fetch(peer))
    assert (answer.status, answer.length, answer.md5) == (200, 25000, "AB")
    assert data == peer.data
    assert peer.requests[0].startswith("GET /f/x?token=1&s=0 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("closes", [True, False], ids=["closed early", "stalled"])
def test_an_early_end_and_a_stall_both_end_after_the_stall_limit(closes):
    peer = WebPeer(b"x" * 9000, stop_after=5000, closes=closes)
    begun = time.monotonic()
    answer, data = run(fetch(peer))
    assert answer.status == 200
    assert len(data) == 5000
    assert time.monotonic() - begun >= STALL_S / 60.0


@pytest.mark.parametrize(
    ("head", "length"),
    [
        ("HTTP/1.1 200 OK\r\n\r\n", -1),
        ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", 0),
        ("HTTP/1.1 200 OK\r\nContent-Length: 7 and more\r\n\r\n", 7),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 7\r\n\r\n", 7),
        ("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", -1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", -1),
        (f"HTTP/1.1 200 OK\r\nX: {'x' * 60_000}\r\nContent-Length: 7\r\n\r\n", 7),
        ("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 10_000 + "Content-Length: 7\r\n\r\n", 7),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", -1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5368709120\r\n\r\n", 2**31 - 1),
    ],
)
def test_a_length_is_read_as_the_library_reads_it(head, length):
    async def head_only():
        machine = FakeMachine()
        async with listening(WebPeer(b"", head=head).serve) as (host, port):
            answer = await http_get.get(machine, f"http://{host}:{port}/", STALL_S)
            answer.body.close()
        machine.close()
        return answer

    answer = run(head_only())
    assert (answer.status, answer.length) == (200, length)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("HTTP/1.1 404 Not Found\r\n\r\n", 404),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 100),
        ("HTTP/1.0 200 OK\r\n\r\n", 200),
        ("HTTP/2.0 200\r\n\r\n", 200),
        ("ICY 200 OK\n\n", 200),
        ("SSH-2.0-OpenSSH\r\n\r\n", http_get.NO_HTTP_SERVER),
        ("HTTP/1.1  200 OK\r\n\r\n", http_get.NO_HTTP_SERVER),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", http_get.NO_HTTP_SERVER),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", http_get.UNKNOWN_ENCODING),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", 200),
        ("HTTP/1.1 200 OK\r\nContent-Le", http_get.CONNECTION_LOST),
        ("", http_get.CONNECTION_LOST),
    ],
)
def test_an_answer_that_is_none_has_a_status_of_the_client(head, status):
    assert run(fetch(WebPeer(b"", head=head)))[0].status == status


def test_headers_that_never_come_time_out():
    assert run(fetch(WebPeer(b"", head="", closes=False)))[0].status == http_get.READ_TIMEOUT


class Pieces:
    """A connection on which each piece comes so many device seconds after the one before."""

    def __init__(self, clock, *pieces) -> None:
        self.clock, self.pieces = clock, list(pieces)
        self.due = clock.now()

    async def read(self, _limit=0):
        if not self.pieces:
            await asyncio.Event().wait()
        after_s, piece = self.pieces[0]
        await self.clock.sleep(self.due + after_s - self.clock.now())
        del self.pieces[0]  # only now: a wait that is given up has taken nothing
        self.due += after_s
        return piece.encode()


async def head_of(*pieces):
    machine = FakeMachine(speed=20.0)
    lines = http_get._Lines(machine, Pieces(machine.clock, *pieces))
    try:
        return await http_get._head(lines)
    finally:
        machine.close()


def test_headers_that_drip_are_waited_for_however_long_that_takes():
    drops = ["HTT", "P/1.1 200 OK\r", "\nContent-Leng", "th: 7\r\n", "\r\n"]
    assert run(head_of(*((3, drop) for drop in drops))) == (200, {"content-length": "7"})


def test_of_a_line_that_pauses_in_its_midst_the_pieces_count_as_lines():
    cut = [(0, "HTTP/1.1 200 OK\r\nContent-Length: 70"), (8, "000\r\n\r\n")]
    assert run(head_of(*cut)) == (200, {"content-length": "70"})


def test_a_line_that_is_never_finished_is_read_and_then_missed():
    with pytest.raises(TimeoutError):
        run(head_of((0, "HTTP/1.1 200 OK\r\nContent-Le")))


@pytest.mark.parametrize("url", ["", "https://h/x", "http://", "http://h:port/", "ftp://h/"])
def test_a_url_that_cannot_be_dialled_is_refused(url):
    async def dial():
        machine = FakeMachine()
        answer = await http_get.get(machine, url, STALL_S)
        machine.close()
        return answer.status

    assert run(dial()) == http_get.CONNECTION_REFUSED


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel what is acknowledged")
def test_what_is_acknowledged_is_what_the_device_has_read_and_one_window():
    async def fill():
        acknowledged = []
        measured = asyncio.Event()

        async def flood(reader, writer):
            sock = writer.get_extra_info("socket")
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
            writer.write(b"x" * FLOOD_BYTES)
            await asyncio.sleep(SETTLE_S)
            queued = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]
            acknowledged.append(FLOOD_BYTES - queued - writer.transport.get_write_buffer_size())
            measured.set()

        machine = FakeMachine()
        async with listening(flood) as (host, port):
            answer = await http_get.get(machine, f"http://{host}:{port}/", STALL_S)
            await measured.wait()
            answer.body.close()
        machine.close()
        return acknowledged[-1]

    assert run(fill()) <= 3 * WINDOW_BYTES


def test_over_tls_any_certificate_will_do():
    """HTTPClient without a CA: nobody is asked who it is."""

    async def story() -> http_get.Response:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("somebody.else").configure_cert(context)
        machine = FakeMachine()
        server = await asyncio.start_server(WebPeer(b"image").serve, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            answer = await http_get.get(machine, f"https://127.0.0.1:{port}/f", STALL_S)
            machine.close()
            return answer

    assert run(story()).status == 200
