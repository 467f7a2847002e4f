"""Ports of the cloud: several at once, TLS, and what comes to the wrong one."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import warnings
from dataclasses import replace

import pytest
import trustme
from cloud_peer import INFO, OTHER_TOKEN, TOKEN, Cloud, Peer, until

from pytest_blynk_ota.cloud.doors import Door, why_not
from pytest_blynk_ota.cloud.porch import Porch
from pytest_blynk_ota.cloud.protocol import Cmd, encode, frame, response
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.cloud.site import Limits
from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.errors import RigError, UsageError

pytestmark = pytest.mark.asyncio
BOTH = (Door("tcp"), Door("tls"))


def trusting(cloud: Cloud) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=cloud.server.authority.ca_pem)


async def secure(cloud: Cloud, context: ssl.SSLContext | None = None) -> Peer:
    host, port = cloud.server.address_of("tls")
    context = context or trusting(cloud)
    return Peer(*await asyncio.open_connection(host, port, ssl=context))


def handshake(address: tuple[str, int], context: ssl.SSLContext) -> None:
    """By a client that says why it leaves."""
    with socket.create_connection(address, timeout=10) as plain:
        context.wrap_socket(plain, server_hostname=address[0]).close()


async def test_the_same_session_over_tls_and_beside_a_plain_one():
    async with Cloud(doors=BOTH) as cloud:
        peer, plain = await secure(cloud), await cloud.login(OTHER_TOKEN)
        assert await peer.ask(Cmd.LOGIN, 1, TOKEN) == response(1)
        assert await peer.ask(Cmd.INTERNAL, 2, *INFO) == response(2)
        assert [event.data["door"] for event in cloud.seen("connected")] == ["tls", "tcp"]
        assert cloud.server.device("a").reports[0].version == "1.2.3"
        assert await plain.alive()
        for one in (peer, plain):
            one.leave()


async def test_first_bytes_that_come_with_the_handshake_are_not_lost():
    async with Cloud(doors=BOTH) as cloud:
        peer = await secure(cloud)
        peer.writer.write(encode(frame(Cmd.LOGIN, 1, TOKEN)) + encode(frame(Cmd.PING, 2)))
        assert [await peer.receive(), await peer.receive()] == [response(1), response(2)]
        peer.leave()


async def test_tls_below_1_2_is_not_offered():
    async with Cloud(doors=BOTH) as cloud:
        old = trusting(cloud)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):
            await secure(cloud, old)
        closed = await cloud.event("closed")
        assert closed.data["why"].startswith("no TLS handshake: ")


async def test_a_client_that_does_not_trust_the_rig_is_on_record_with_its_reason():
    async with Cloud(doors=BOTH) as cloud:
        address = cloud.server.address_of("tls")
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(handshake, address, ssl.create_default_context())
        closed = await cloud.event("closed")
        assert closed.data["why"] == "no TLS handshake: tlsv1 alert unknown ca"


async def test_tls_at_the_plain_port_is_named_and_cut_off():
    async with Cloud() as cloud:
        host, port = cloud.server.address
        with pytest.raises(OSError):
            await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
        closed = await cloud.event("closed")
        assert closed.data["why"] == "a TLS handshake at the plain tcp port"


@pytest.mark.parametrize("first", [encode(frame(Cmd.LOGIN, 1, TOKEN)), b"GET / HTTP/1.1\r\n\r\n"])
async def test_plain_bytes_at_the_tls_port_are_named_and_cut_off(first):
    async with Cloud(doors=BOTH) as cloud:
        peer = Peer(*await asyncio.open_connection(*cloud.server.address_of("tls")))
        peer.writer.write(first)
        await peer.closed()
        closed = await cloud.event("closed")
        assert closed.data["why"].startswith("no TLS handshake: what came is no TLS")


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_connection_that_says_nothing_ends_with_the_time_for_a_login(kind):
    async with Cloud(doors=BOTH, speed=20, limits=Limits(login_s=5)) as cloud:
        peer = Peer(*await asyncio.open_connection(*cloud.server.address_of(kind)))
        closed = await cloud.event("closed")
        assert "no login within 5 s" in closed.data["why"]
        assert await peer.closed() == b""
        assert await peer.closed() == b""
        assert cloud.server._visits == {}


async def test_a_peer_that_goes_within_the_handshake_leaves_nothing_behind():
    async with Cloud(doors=BOTH) as cloud:
        peer = Peer(*await asyncio.open_connection(*cloud.server.address_of("tls")))
        await cloud.event("connected")
        peer.leave()
        closed = await cloud.event("closed")
        assert closed.data["by"] == "device"
        await until("nobody to be there", lambda: not cloud.server._visits)


async def test_a_stop_ends_handshakes_under_way():
    async with Cloud(doors=BOTH) as cloud:
        peer = Peer(*await asyncio.open_connection(*cloud.server.address_of("tls")))
        await cloud.event("connected")
    assert await peer.closed() == b""


async def test_a_given_certificate_is_shown(tmp_path):
    ca = trustme.CA()
    leaf = ca.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(chain)
    leaf.private_key_pem.write_to_path(key)
    async with Cloud(doors=BOTH, authority=Authority.given(chain, key)) as cloud:
        assert cloud.server.authority.ca_pem == ""
        context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
        peer = await secure(cloud, context)
        assert (await peer.ask(Cmd.LOGIN, 1, TOKEN)).status == 200
        peer.leave()


@pytest.mark.parametrize("what", ["missing", "no PEM", "other key"])
async def test_a_certificate_that_is_none_is_refused_with_its_path(what, tmp_path):
    ca = trustme.CA()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    ca.issue_cert("a").cert_chain_pems[0].write_to_path(chain)
    if what == "other key":
        ca.issue_cert("b").private_key_pem.write_to_path(key)
    elif what == "no PEM":
        key.write_text("no")
    with pytest.raises(UsageError, match=r"key\.pem"):
        Authority.given(chain, key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
async def test_openssl_s_client_verifies_the_rig(tmp_path):
    async with Cloud(doors=BOTH) as cloud:
        pem = tmp_path / "ca.pem"
        pem.write_text(cloud.server.authority.ca_pem)
        host, port = cloud.server.address_of("tls")
        client = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"{host}:{port}", "-CAfile", str(pem),
            "-verify_ip", host, "-verify_return_error", "-quiet", "-no_ign_eof",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert client.stdin
        assert client.stdout
        client.stdin.write(encode(frame(Cmd.LOGIN, 1, TOKEN)))
        async with asyncio.timeout(10):
            assert await client.stdout.readexactly(5) == encode(response(1))
        client.kill()
        await client.communicate()


async def test_a_port_that_is_taken_says_who_dials_it_and_what_to_do():
    async with Cloud() as cloud:
        port = cloud.server.address[1]
        other = CloudServer(lambda *_, **__: None, doors=(Door("tls"), Door("tcp", port)))
        with pytest.raises(RigError, match=r"tcp port cannot .* another program has it"):
            await other.start()
        with pytest.raises(RigError, match="no address"):
            other.address  # noqa: B018


async def test_a_port_that_needs_a_privilege_says_the_remedy():
    told = why_not("tls", "0.0.0.0", 443, PermissionError(13, "Permission denied"))
    assert "ip_unprivileged_port_start" in told
    assert "boards in the field dial 443, 9443 for tls" in told


@pytest.mark.parametrize("host", ["nonsense.invalid", "ä" * 70])
async def test_a_host_that_is_none_is_named_and_not_its_port_blamed(host):
    server = CloudServer(lambda *_, **__: None, host=host)
    with pytest.raises(RigError, match=f"cannot listen on '{host}', which names no address"):
        await server.start()


async def test_a_kind_of_port_that_is_not_open_is_named_with_those_that_are():
    async with Cloud() as cloud:
        with pytest.raises(RigError, match="no tls port open; it has: tcp"):
            cloud.server.address_of("tls")


async def test_a_connection_that_is_closed_before_it_is_made_is_dropped():
    """A cloud that stops meets connections that have been accepted and not begun."""
    async with Cloud() as cloud:
        gone = []
        site = replace(cloud.server._site, over=gone.append)
        porch = Porch(9, Door("tcp"), None, site, lambda _: None, cloud.server._enter)
        porch.close("the cloud was stopped")
        loop = asyncio.get_running_loop()
        one, two = socket.socketpair()
        with two:
            await loop.create_connection(lambda: porch, sock=one)
            await until("it to be gone", lambda: gone == [9])


async def test_no_tls_below_1_2_is_offered_whatever_the_host_allows():
    context = Authority().server_context(("localhost",))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
