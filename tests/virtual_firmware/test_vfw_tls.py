"""TLS of a virtual board: whom it believes, and how it says that it does not."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme
from vfw_peer import listening, run

from pytest_blynk_ota.virtual.network import tls
from pytest_blynk_ota.virtual.network.tcp import Network
from pytest_blynk_ota.virtual.network.tls import TlsConnection, TlsFailed, Trust

HOST = "localhost"
YEAR_S = 365 * 86400.0


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(ca) -> Trust:
    return Trust(pem(ca))


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def server_side(cert: trustme.LeafCert, *versions: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    if versions:
        context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL 3 has nothing older than 1.2
        context.minimum_version, context.maximum_version = versions
    return context


class Peer:
    """A TLS server on a stream, with its records in our hands."""

    def __init__(
        self,
        context: ssl.SSLContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def do(self, action: Callable[[], Any], kept: int | None = None) -> Any:
        """Until the action is done; ``kept`` bytes of what it sends go out."""
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                self._send(kept)
                if data := await self._reader.read(4096):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            finally:
                self._send(kept)

    def _send(self, kept: int | None) -> None:
        if self._outgoing.pending:
            self._writer.write(self._outgoing.read()[:kept])

    async def echo(self) -> None:
        await self.do(self.tls.do_handshake)
        while data := await self.do(lambda: self.tls.read(4096)):
            await self.do(lambda data=data: self.tls.write(data))


@asynccontextmanager
async def server(context: ssl.SSLContext, play: Callable[[Peer], Awaitable[Any]] = Peer.echo):
    """A server that plays its part with each client; its port, and how its parts have ended."""
    ends: asyncio.Queue[BaseException | None] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await play(Peer(context, reader, writer))
        except OSError as end:
            ends.put_nowait(end)
        else:
            ends.put_nowait(None)
        finally:
            writer.close()

    async with listening(serve) as (_, port):
        yield port, ends


@asynccontextmanager
async def connected(port: int, trust: Trust, *, host: str = HOST, now: float = 0.0):
    network = Network()
    try:
        raw = await network.open_connection("127.0.0.1", port)
        connection = TlsConnection(raw, host, trust, now)
        await connection.handshake()
        yield connection
    finally:
        network.close()


def refusal(context: ssl.SSLContext, trust: Trust, **how: object) -> TlsFailed:
    async def story() -> TlsFailed:
        async with server(context) as (port, _):
            with pytest.raises(TlsFailed) as failed:
                async with connected(port, trust, **how):  # type: ignore[arg-type]
                    pass
            return failed.value

    return run(story())


def test_what_is_sent_comes_back_over_tls_1_2(ca, trust):
    async def story() -> None:
        async with (
            server(server_side(ca.issue_cert(HOST))) as (port, _),
            connected(port, trust) as connection,
        ):
            await connection.write(b"line one\nand %d more" % 70000 + b"x" * 70000)
            assert await connection.read_line() == b"line one\n"
            rest = await connection.read_exactly(14 + 70000)
            assert rest.startswith(b"and 70000 more")
            assert connection._tls.version() == "TLSv1.2"

    run(story())


def test_a_server_of_another_ca_is_refused(ca):
    failed = refusal(server_side(ca.issue_cert(HOST)), Trust(pem(trustme.CA())))
    assert (failed.code, failed.why) == (-0x2700, tls.UNTRUSTED)
    assert "X509 - Certificate verification failed" in str(failed)


def test_without_a_ca_nobody_is_trusted(ca):
    assert refusal(server_side(ca.issue_cert(HOST)), Trust()).code == tls.VERIFY_FAILED


def test_a_server_of_another_name_is_refused(ca, trust):
    failed = refusal(server_side(ca.issue_cert("other.example")), trust)
    assert (failed.code, failed.why) == (-0x2700, tls.WRONG_NAME)


def test_a_refused_server_is_told_so(ca):
    async def story() -> BaseException:
        async with server(server_side(ca.issue_cert(HOST))) as (port, ends):
            with pytest.raises(TlsFailed):
                async with connected(port, Trust(pem(trustme.CA()))):
                    pass
            return await ends.get()

    assert "UNKNOWN_CA" in str(run(story()))


def test_whoever_trusts_anybody_takes_any_certificate():
    async def story() -> None:
        context = server_side(trustme.CA().issue_cert("other.example"))
        async with (
            server(context) as (port, _),
            connected(port, Trust(insecure=True, dates=True)) as connection,
        ):
            await connection.write(b"hi\n")
            assert await connection.read_line() == b"hi\n"

    run(story())


def expired(ca: trustme.CA) -> ssl.SSLContext:
    then = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    return server_side(ca.issue_cert(HOST, not_after=then))


@pytest.mark.parametrize(
    ("now", "why"),
    [(time.time(), tls.EXPIRED), (978220800.0, None), (0.0, tls.FUTURE)],
    ids=["today", "in 2000", "in 1970"],
)
def test_dates_are_judged_by_the_clock_of_the_device(ca, now, why):
    trust = Trust(pem(ca), dates=True)
    if why is not None:
        assert refusal(expired(ca), trust, now=now).why == why
        return

    async def story() -> None:
        async with server(expired(ca)) as (port, _), connected(port, trust, now=now):
            pass

    run(story())


def test_a_build_without_a_calendar_takes_an_expired_certificate(ca, trust):
    async def story() -> None:
        async with server(expired(ca)) as (port, _), connected(port, trust, now=time.time()):
            pass

    run(story())


def test_an_expired_ca_is_refused_too(ca):
    far = time.time() + 5000 * YEAR_S  # later than any certificate of a test's CA
    context = server_side(ca.issue_cert(HOST, not_after=datetime.datetime(9998, 1, 1)))
    assert refusal(context, Trust(pem(ca), dates=True), now=far).why == tls.EXPIRED


OLD_OR_NEW = [
    (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1),
    (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("versions", OLD_OR_NEW, ids=["1.0 and 1.1", "1.3"])
def test_a_server_without_tls_1_2_is_not_understood(ca, trust, versions):
    failed = refusal(server_side(ca.issue_cert(HOST), *versions), trust)
    assert failed.code in (tls.FATAL_ALERT, tls.BAD_PROTOCOL_VERSION)


def test_a_server_that_speaks_no_tls_at_all_is_not_understood(trust):
    async def story() -> int:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()

        async with listening(plain) as (_, port):
            with pytest.raises(TlsFailed) as failed:
                async with connected(port, trust):
                    pass
            return failed.value.code

    assert run(story()) == tls.INVALID_RECORD


@pytest.mark.parametrize("kept", [0, 3, 40], ids=["no record", "half a header", "half a record"])
def test_a_record_that_is_cut_short_is_an_end_and_no_data(ca, trust, kept):
    async def cut(peer: Peer) -> None:
        await peer.do(peer.tls.do_handshake)
        await peer.do(lambda: peer.tls.write(b"x" * 1000), kept)

    async def story() -> int:
        async with (
            server(server_side(ca.issue_cert(HOST)), cut) as (port, _),
            connected(port, trust) as connection,
        ):
            with pytest.raises(TlsFailed) as failed:
                await connection.read()
            return failed.value.code

    assert run(story()) == tls.CONN_EOF


def test_a_peer_that_says_goodbye_ends_the_data(ca, trust):
    async def bye(peer: Peer) -> None:
        await peer.do(peer.tls.do_handshake)
        await peer.do(lambda: peer.tls.write(b"bye"))
        with suppress(OSError):
            await peer.do(peer.tls.unwrap)

    async def story() -> bytes:
        async with (
            server(server_side(ca.issue_cert(HOST)), bye) as (port, _),
            connected(port, trust) as connection,
        ):
            return await connection.read() + await connection.read()

    assert run(story()) == b"bye"


def test_a_stalled_handshake_waits_as_long_as_its_caller(trust):
    async def story() -> None:
        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with listening(silent) as (_, port):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), connected(port, trust):
                    pass

    run(story())


def test_a_reset_board_leaves_its_tls_peer_in_silence(ca, trust):
    async def story() -> None:
        network = Network()
        async with server(server_side(ca.issue_cert(HOST))) as (port, _):
            raw = await network.open_connection("127.0.0.1", port)
            connection = TlsConnection(raw, HOST, trust)
            await connection.handshake()
            network.drop()
            connection.close()
            assert network.ghosts == 1
        network.close()

    run(story())


def test_a_close_is_a_bare_fin(ca, trust):
    async def story() -> BaseException | None:
        async with (
            server(server_side(ca.issue_cert(HOST))) as (port, ends),
            connected(port, trust) as connection,
        ):
            connection.close()
            return await ends.get()

    assert isinstance(run(story()), ssl.SSLEOFError)
