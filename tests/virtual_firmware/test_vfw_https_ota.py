"""esp_https_ota(): which servers it takes, and what it says of the others."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from vfw_bench import APP1, Bench, entry, story
from vfw_peer import WebPeer, listening

from pytest_blynk_ota.firmware.derive import wrong_chip
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.virtual.app.context import Context
from pytest_blynk_ota.virtual.app.esp_https_ota import esp_https_ota
from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
from pytest_blynk_ota.virtual.app.trouble import CrashPlan
from pytest_blynk_ota.virtual.boot.rom import POWER_ON
from pytest_blynk_ota.virtual.boot.run import start
from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.network.sockets import silence

CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"
TO = "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 3\r\n\r\nbye"


async def context_of(bench: Bench) -> Context:
    log, started = await start(bench.machine, POWER_ON)
    log.verbose = True
    behaviour = started.image.behaviour
    assert behaviour is not None
    ota = OtaOps(bench.machine, log, started)
    crash = CrashPlan(bench.machine, behaviour, "")
    return Context(bench.machine, log, started, behaviour, crash, ota)


def fetch(web: Any, *, path: str = "/f", **behaviour: Any) -> tuple[int, Bench]:
    """Fetch New from ``web``; the code, and the board after it."""
    bench = Bench(**behaviour)
    if web.data == b"":
        web.data = bench.app("2.0.0")

    async def run() -> int:
        context = await context_of(bench)
        async with listening(web.serve) as (host, port):
            web.port = port
            return await esp_https_ota(context, f"http://{host}:{port}{path}")

    return story(run()), bench


def chunks(data: bytes, size: int = 1000) -> bytes:
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    body = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts)
    return body + b"0\r\nTrailer: x\r\n\r\n"


def new() -> bytes:
    with Bench() as bench:
        return bench.app("2.0.0")


BODIES = [
    pytest.param(OK, lambda data: data, id="length"),
    pytest.param(CHUNKED, chunks, id="chunks"),
    pytest.param("HTTP/1.1 200 OK\r\n\r\n", lambda data: data, id="until the end"),
    pytest.param(OK.replace("Content-L", "cOnTeNt-l"), lambda data: data, id="any case"),
    pytest.param(OK.replace("200 OK", "206 Partial"), lambda data: data, id="206"),
]


@pytest.mark.parametrize(("head", "body"), BODIES)
def test_a_body_may_have_a_length_come_in_chunks_or_end_with_the_connection(head, body):
    image = new()
    code, bench = fetch(WebPeer(body(image), head=head))
    with bench:
        assert code == 0
        assert bench.read(APP1, len(image)) == image
        assert bench.entries() == (entry(1), entry(2, State.NEW))


@pytest.mark.parametrize("head", [OK, CHUNKED, "HTTP/1.1 200 OK\r\n\r\n"])
def test_a_body_that_is_cut_is_never_selected(head):
    image = new()
    data = chunks(image) if head == CHUNKED else image
    code, bench = fetch(WebPeer(data, head=head, stop_after=20_000))
    with bench:
        assert code in (-1, 0x1503)
        assert bench.entries()[1] is None


def test_an_image_for_another_chip_is_refused_after_its_first_kilobyte():
    with Bench() as old:
        other = wrong_chip(old.app("2.0.0"))
    code, bench = fetch(WebPeer(other, head=OK))
    with bench:
        assert code == 0x10A
        assert "boot_comm: mismatch chip ID, expected 5, found " in bench.text
        assert bench.read(APP1, 16) == b"\xff" * 16


def test_what_is_no_image_is_refused_by_its_first_byte():
    code, bench = fetch(WebPeer(bytes(4096), head=OK))
    with bench:
        assert code in (0x10A, 0x1503)


def test_without_memory_for_its_buffer_it_fails_behind_the_head_and_writes_nothing():
    code, bench = fetch(WebPeer(new(), head=OK), largest_block=800)
    with bench:
        assert code == 0x101
        assert "Couldn't allocate memory to upgrade data buffer" in bench.text
        assert bench.read(APP1, 16) == b"\xff" * 16


@dataclass
class Moving(WebPeer):
    """Redirects so many times before it serves; keeps the connection for the next request."""

    times: int = 3
    to: str = "/next"
    port: int = 0
    data: bytes = b""
    connections: int = 0
    seen: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                self.seen.append(request.decode().split()[1])
                moved = len(self.seen) <= self.times
                to = TO.format(to=self.to.format(port=self.port))
                writer.write(
                    to.encode() if moved else OK.format(size=len(self.data)).encode() + self.data
                )
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def test_redirections_are_followed_on_the_same_connection():
    web = Moving(b"")
    code, bench = fetch(web)
    with bench:
        assert code == 0
        assert (web.seen, web.connections) == (["/f", "/next", "/next", "/next"], 1)


def test_a_redirection_to_another_name_is_another_connection():
    web = Moving(b"", times=1, to="http://localhost:{port}/next")
    code, bench = fetch(web)
    with bench:
        assert (code, web.connections) == (0, 2)


def test_there_is_no_limit_to_redirections():
    web = Moving(b"", times=60)
    code, bench = fetch(web)
    with bench:
        assert (code, len(web.seen)) == (0, 61)


def test_a_redirection_without_a_place_fails():
    code, bench = fetch(WebPeer(b"x", head="HTTP/1.1 302 Found\r\nContent-Length: 1\r\n\r\n"))
    with bench:
        assert code == 0x102
        assert "URL redirection Failed" in bench.text


def test_a_url_longer_than_its_buffer_is_never_asked():
    web = WebPeer(b"")
    code, bench = fetch(web, path="/" + "x" * 600)
    with bench:
        assert (code, web.requests) == (-1, [])
        assert "HTTP_CLIENT: Out of buffer" in bench.text


@pytest.mark.parametrize(
    ("url", "code", "line"),
    [
        ("http://127.0.0.1:9/f", 0x7002, "delayed connect error: Connection reset by peer"),
        ("http://no.such.name.example/f", 0x7002, "couldn't get hostname for :no.such.name"),
        ("ftp://127.0.0.1/f", 0x7005, "Failed to open HTTP connection"),
        ("http://127.0.0.1:99999/f", -1, "Failed to establish HTTP connection"),
        ("nonsense", -1, "Failed to establish HTTP connection"),
    ],
)
def test_what_cannot_be_reached_fails_at_once_and_says_why(url, code, line):
    with Bench() as bench:
        bench.machine.network._air.set({"dns": {"*": "nxdomain"}})

        async def run() -> int:
            return await esp_https_ota(await context_of(bench), url)

        assert story(run()) == code
        assert line in bench.text
        assert bench.entries() == (entry(1), None)


def test_a_stall_never_ends():
    image = new()
    with Bench() as bench:

        async def run() -> bool:
            context = await context_of(bench)
            web = WebPeer(image, head=OK, stop_after=8000, closes=False)
            async with listening(web.serve) as (host, port):
                update = asyncio.ensure_future(esp_https_ota(context, f"http://{host}:{port}/f"))
                done, _ = await asyncio.wait({update}, timeout=0.6)  # 300 device seconds
                update.cancel()
                await asyncio.wait({update})
                return bool(done)

        assert not story(run())
        assert bench.read(APP1, 7168) == image[:7168]


@pytest.mark.skipif(sys.platform != "linux", reason="TCP's own questions are seen on Linux only")
@pytest.mark.parametrize("vanishes", [True, False])
def test_a_server_that_vanishes_is_given_up_by_tcp_itself(vanishes):
    """At this speed TCP asks after 10 device seconds, and nobody answers."""
    image = new()
    with Bench() as bench:
        bench.machine.clock = DeviceClock(10.0)

        async def run() -> int | None:
            context = await context_of(bench)

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(OK.format(size=len(image)).encode() + image[:8000])
                await writer.drain()
                if vanishes:
                    silence(writer.get_extra_info("socket"))
                await reader.read()

            async with listening(serve) as (host, port):
                update = asyncio.ensure_future(esp_https_ota(context, f"http://{host}:{port}/f"))
                await asyncio.wait({update}, timeout=3.0)  # 30 device seconds
                update.cancel()
                await asyncio.wait({update})
                return None if update.cancelled() else update.result()

        assert story(run()) == (-1 if vanishes else None)


@pytest.mark.parametrize("trusted", [True, False])
def test_over_https_the_server_has_to_be_of_the_given_ca(trusted):
    ca = trustme.CA()
    mine = ca if trusted else trustme.CA()
    bench = Bench(ca=mine.cert_pem.bytes().decode())
    image = bench.app("2.0.0")
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(secure)

    async def run() -> int:
        web = WebPeer(image, head=OK)
        server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=secure)
        port = server.sockets[0].getsockname()[1]
        try:
            return await esp_https_ota(await context_of(bench), f"https://localhost:{port}/f")
        finally:
            server.close()

    with bench:
        assert story(run()) == (0 if trusted else 0x7002)
        if not trusted:
            assert "esp-tls-mbedtls: mbedtls_ssl_handshake returned -0x2700" in bench.text
            assert "The certificate is not correctly signed by the trusted CA" in bench.text


async def answers(bench: Bench, serve: Any, *, secure: ssl.SSLContext | None = None) -> int:
    """One update from a server of our own; the code."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=secure)
    host, port = ("localhost", "https") if secure else ("127.0.0.1", "http")
    url = f"{port}://{host}:{server.sockets[0].getsockname()[1]}/f"
    try:
        return await esp_https_ota(await context_of(bench), url)
    finally:
        server.close()


def saying(*parts: bytes, pause_s: float = 0.05, stays: bool = False) -> Any:
    """A server that answers a request by parts, each a TCP segment of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            if stays:
                await reader.read()
        writer.close()

    return serve


ODD_FRAMINGS = [
    pytest.param("Content-Length: {size}\r\nContent-Length: {size}\r\n", id="two lengths"),
    pytest.param("Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n", id="both framings"),
    pytest.param("Content-Length: -1\r\n", id="below zero"),
    pytest.param("Content-Length : {size}\r\n", id="a blank before the colon"),
    pytest.param("{size} bytes\r\n", id="no header"),
]


@pytest.mark.parametrize("framing", ODD_FRAMINGS)
def test_headers_that_its_parser_refuses_are_read_to_the_end_of_the_connection(framing):
    image = new()
    taken = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{framing.format(size=len(image))}\r\n".encode() + image)
        writer.write_eof()
        taken.append(await reader.read())  # b"" only if nothing was left unread
        writer.close()

    with Bench() as bench:
        assert story(answers(bench, serve)) == -1
        assert taken == [b""]
        assert bench.entries() == (entry(1), None)


EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


@pytest.mark.parametrize(("alone", "code"), [(False, 0), (True, -1)], ids=["together", "alone"])
def test_a_1xx_is_passed_over_only_if_the_answer_comes_with_it(alone, code):
    image = new()
    answer = OK.format(size=len(image)).encode() + image
    parts = (EARLY, answer) if alone else (EARLY + answer,)
    with Bench() as bench:
        assert story(answers(bench, saying(*parts))) == code
        assert ("Complete headers were not received" in bench.text) is alone


def test_a_chunk_without_a_size_is_not_noticed_until_the_connection_ends():
    image = new()
    good, bad = chunks(image)[:20_000], b"zz\r\n" + chunks(image)[20_000:]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED.encode() + good[: good.rindex(b"3e8;")] + bad)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

    with Bench() as bench:
        assert story(answers(bench, serve)) == -1
        assert "data read -1" in bench.text


def test_chunks_without_end_end_with_the_slot():
    image = new()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(CHUNKED.encode() + chunks(image).removesuffix(b"0\r\nTrailer: x\r\n\r\n"))
            while True:
                writer.write(b"8000\r\n" + bytes(0x8000) + b"\r\n")
                await writer.drain()

    with Bench() as bench:
        assert story(answers(bench, serve)) != 0
        assert "esp_ota_write failed" in bench.text


@pytest.mark.parametrize("location", ["next", "?query", "//", "http://"])
def test_a_location_is_a_whole_url_or_begins_with_a_slash(location):
    head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 1\r\n\r\n"
    code, bench = fetch(WebPeer(b"x", head=head))
    with bench:
        assert (code == 0x102) is (location != "//")
        assert ("Error parse url" in bench.text) is (location != "//")


def test_a_redirection_by_a_server_that_closes_fails_at_the_same_place():
    code, bench = fetch(
        WebPeer(b"x", head=TO.replace("{to}", "/f").replace("3\r\n\r\nbye", "1\r\n\r\n"))
    )
    with bench:
        assert code == -1


@pytest.mark.parametrize("goodbye", [True, False])
def test_over_tls_a_body_without_a_length_may_end_without_a_goodbye(goodbye):
    ca = trustme.CA()
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(secure)
    with Bench(ca=ca.cert_pem.bytes().decode()) as bench:
        image = bench.app("2.0.0")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.set_write_buffer_limits(0)  # drain() is: all is with the kernel
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + image)
            await writer.drain()
            if not goodbye:
                writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            writer.close()

        assert story(answers(bench, serve, secure=secure)) == 0
