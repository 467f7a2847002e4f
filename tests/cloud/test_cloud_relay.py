"""A relay between a device and a second local cloud: all passes, what matters is seen."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
from cloud_peer import INFO, OTHER_TOKEN, TOKEN, Cloud, Peer, until

from pytest_blynk_ota.cloud import faults
from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.cloud.protocol import Cmd, encode, frame, response
from pytest_blynk_ota.cloud.relay import CONNECT_TIMEOUT_S, Upstream
from pytest_blynk_ota.errors import FaultError, UsageError

URL = "http://far/f/new?token=secretsecret&s=0"
MINE = "http://near/f/new?token=y&s=0"
BOTH = (Door("tcp"), Door("tls"))
asyncio_test = pytest.mark.asyncio


def upstream_of(far: Cloud, kind: str, tmp_path) -> Upstream:
    host, port = far.server.address_of(kind)
    ca = tmp_path / "far.pem"
    ca.write_text(far.server.authority.ca_pem)
    return Upstream(host, port, tls=kind == "tls", ca=ca)


@asynccontextmanager
async def relayed(tmp_path, kind="tcp", **options):
    """The far cloud, and the relay before it."""
    async with Cloud(doors=BOTH) as far:
        near = Cloud(doors=BOTH, relay=upstream_of(far, kind, tmp_path), **options)
        async with near:
            yield far, near


async def device(near: Cloud, kind: str = "tcp", token: str = TOKEN) -> Peer:
    context = ssl.create_default_context(cadata=near.server.authority.ca_pem)
    peer = Peer(
        *await asyncio.open_connection(
            *near.server.address_of(kind), ssl=context if kind == "tls" else None
        )
    )
    peer.send(Cmd.LOGIN, 1, token)
    assert await peer.receive() == response(1)
    return peer


@asyncio_test
@pytest.mark.parametrize("far_kind", ["tcp", "tls"])
@pytest.mark.parametrize("near_kind", ["tcp", "tls"])
async def test_a_session_passes_with_tls_on_either_side(tmp_path, near_kind, far_kind):
    async with relayed(tmp_path, far_kind) as (far, near):
        peer = await device(near, near_kind)
        assert await peer.ask(Cmd.INTERNAL, 2, *INFO) == response(2)
        assert await peer.ask(Cmd.EVENT_LOG, 3, "sys_ota", "OTA started") == response(3)
        for cloud in (far, near):
            assert cloud.seen("report", "a")[0].data["version"] == "1.2.3"
            assert cloud.seen("log_event", "a")[0].data["text"] == "OTA started"
            assert cloud.server.device("a").online
        written = [event.to_json() for cloud in (far, near) for event in cloud.timeline.events()]
        assert not any(TOKEN in text for text in written)
        peer.leave()
        await until("the far side to go", lambda: not far.server.device("a").online)
        assert not near.server.device("a").online


@asyncio_test
async def test_an_update_of_the_far_cloud_passes_as_it_is(tmp_path):
    async with relayed(tmp_path) as (far, near):
        peer = await device(near)
        await far.server.send_ota("a", URL, offer="o1")
        assert (await peer.receive()).parts == ("ota", URL)
        seen = await near.event("ota_relayed", "a")
        assert seen.data["url"] == URL.replace("secretsecret", "[url token]")
        assert seen.data["exchanged"] is False
        peer.leave()


@asyncio_test
async def test_the_url_of_an_update_can_be_exchanged(tmp_path):
    async with relayed(tmp_path) as (far, near):
        asked = []
        near.server.exchange("a", lambda url: asked.append(url) or OtaRequest("o1", MINE))
        peer = await device(near)
        await far.server.send_ota("a", URL, offer="o1")
        assert (await peer.receive()).parts == ("ota", MINE)
        assert asked == [URL]
        sent = near.seen("ota_sent", "a")[0]
        assert (sent.data["offer"], sent.data["url"]) == ("o1", MINE.replace("=y", "=[url token]"))
        near.server.exchange("a", None)
        await far.server.send_ota("a", URL, offer="o2")
        assert (await peer.receive()).parts == ("ota", URL)
        peer.leave()


@asyncio_test
async def test_an_update_of_ours_goes_to_the_device_alone(tmp_path):
    async with relayed(tmp_path) as (far, near):
        peer = await device(near)
        assert await near.server.send_ota("a", MINE, offer="o1") == 1
        told = await peer.receive()
        assert told.parts == ("ota", MINE)
        assert told.id
        peer.writer.write(encode(response(told.id)))
        assert await peer.alive()
        assert far.seen("ota_sent") == []
        peer.leave()


@asyncio_test
async def test_a_token_that_the_rig_does_not_know_never_reaches_the_far_cloud(tmp_path):
    async with relayed(tmp_path) as (far, near):
        peer = await near.connect()
        peer.send(Cmd.LOGIN, 1, "f" * 32)
        assert await peer.closed() == b""
        assert far.seen("connected") == []
        assert "does not know" in (await near.event("refused")).data["why"]


@asyncio_test
async def test_what_the_far_cloud_answers_to_a_login_is_the_answer(tmp_path):
    async with relayed(tmp_path) as (far, near):
        far.server.remove_device("a")
        peer = await near.connect()
        peer.send(Cmd.LOGIN, 1, TOKEN)
        assert await peer.closed() == b""
        assert near.seen("login") == []
        assert "closed the connection" in (await near.event("closed")).data["why"]


@asyncio_test
async def test_a_far_cloud_that_is_not_there_is_named(tmp_path):
    async with Cloud() as far:
        gone = upstream_of(far, "tcp", tmp_path)
    async with Cloud(relay=gone) as near:
        peer = await near.connect()
        peer.send(Cmd.LOGIN, 1, TOKEN)
        assert await peer.closed() == b""
        assert f"{gone} is not to be reached" in (await near.event("closed")).data["why"]


@asyncio_test
async def test_a_far_cloud_that_is_not_trusted_is_not_told_the_token(tmp_path):
    async with Cloud(doors=BOTH) as far:
        host, port = far.server.address_of("tls")
        async with Cloud(relay=Upstream(host, port, tls=True)) as near:
            peer = await near.connect()
            peer.send(Cmd.LOGIN, 1, TOKEN)
            assert await peer.closed() == b""
            assert "certificate verify failed" in (await near.event("closed")).data["why"]
        assert far.seen("login") == []


@asyncio_test
async def test_a_redirection_is_followed_by_the_relay_and_not_by_the_device(tmp_path):
    async with Cloud() as third, relayed(tmp_path) as (far, near):
        peer = await device(near)
        await peer.ask(Cmd.INTERNAL, 2, *INFO)
        await far.server.redirect("a", *third.server.address)
        await until("the third cloud", lambda: third.server.device("a").online)
        await third.event("report", "a")
        assert await peer.receive() == response(2)  # of the info, said once more
        assert await peer.alive()
        assert near.seen("redirected", "a")
        assert near.server.device("a").online
        peer.leave()


@asyncio_test
async def test_a_redirection_in_a_circle_ends(tmp_path):
    async with relayed(tmp_path) as (far, near):
        peer = await device(near)

        def again(event=None):
            for session in tuple(far.server._visits.values()):
                session.redirect(*far.server.address)

        async def circle():
            for number in range(20):
                await far.event("login", "a", number + 1)
                again()

        task = asyncio.ensure_future(circle())
        closed = await near.event("closed", "a")
        task.cancel()
        assert "redirected by the relayed server" in closed.data["why"]
        peer.leave()


@asyncio_test
async def test_one_device_that_is_lost_does_not_touch_the_other(tmp_path):
    async with relayed(tmp_path) as (far, near):
        one, two = await device(near), await device(near, token=OTHER_TOKEN)
        one.writer.transport.abort()
        await until("a to be gone", lambda: not far.server.device("a").online)
        assert await two.alive()
        two.writer.write(b"\x14\x00\x02\xff\xff")
        await near.event("closed", "b")
        await until("b to be gone", lambda: not far.server.device("b").online)


@asyncio_test
async def test_a_new_session_takes_the_place_of_the_old_one(tmp_path):
    async with relayed(tmp_path) as (_, near):
        one, two = await device(near), await device(near)
        assert await one.closed() == b""
        assert await two.alive()
        assert near.server.device("a").session == 2
        two.leave()


@asyncio_test
async def test_messages_sent_before_the_far_cloud_is_reached_are_not_lost(tmp_path):
    async with relayed(tmp_path) as (_, near):
        peer = await near.connect()
        peer.writer.write(
            encode(frame(Cmd.LOGIN, 1, TOKEN))
            + encode(frame(Cmd.INTERNAL, 2, *INFO))
            + encode(frame(Cmd.PING, 3))
        )
        assert [await peer.receive() for _ in range(3)] == [response(n) for n in (1, 2, 3)]
        peer.leave()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("blynk.cloud:443", "tls://blynk.cloud:443"),
        ("blynk.cloud:80", "tcp://blynk.cloud:80"),
        ("tls://host:5000", "tls://host:5000"),
        ("tcp://host:443", "tcp://host:443"),
    ],
)
def test_the_scheme_or_the_port_tells_whether_it_is_tls(text, shown):
    assert str(Upstream.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "host", "host:", "host:0", "host:99999", "http://host:80"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        Upstream.parse(text)


def test_a_ca_that_is_none_is_refused_with_its_path(tmp_path):
    with pytest.raises(UsageError, match=r"missing\.pem"):
        Upstream.parse("host:443", tmp_path / "missing.pem")


@asynccontextmanager
async def scripted(*answers: bytes):
    """A far server that gives these to its first connections, one each, and then stays."""
    left, gone = list(answers), asyncio.Event()

    async def serve(reader, writer):
        await reader.readexactly(5 + len(TOKEN))
        writer.write(left.pop(0))
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        gone.set()
        server.close()


def redirection(host: str, port: str) -> bytes:
    return encode(frame(Cmd.REDIRECT, 1, host, port))


@asyncio_test
async def test_a_redirection_in_place_of_the_login_answer_still_gives_the_device_one():
    async with Cloud() as third:
        host, port = third.server.address
        async with (
            scripted(redirection(host, str(port))) as first,
            Cloud(relay=Upstream(*first, tls=False)) as near,
        ):
            peer = await device(near)
            assert near.server.device("a").online
            assert await peer.alive()
            peer.leave()


@asyncio_test
@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("127.0.0.1", "70000"),
        ("127.0.0.1", "\u00b2"),
        ("127.0.0.1", "9" * 5000),
        ("x" * 70, "80"),
        ("a..b", "80"),
        ("", "80"),
    ],
)
async def test_a_redirection_to_nowhere_ends_the_session_with_the_reason(host, port):
    async with (
        scripted(encode(response(1)) + redirection(host, port)) as first,
        Cloud(relay=Upstream(*first, tls=False)) as near,
    ):
        peer = await near.connect()
        peer.send(Cmd.LOGIN, 1, TOKEN)
        await peer.closed()
        closed = await near.event("closed", "a")
        assert "redirected" in closed.data["why"] or "not to be reached" in closed.data["why"]


@asyncio_test
async def test_a_far_refusal_that_would_unprovision_a_board_is_not_passed_on():
    async with (
        scripted(encode(response(1, 9))) as first,
        Cloud(relay=Upstream(*first, tls=False)) as near,
    ):
        peer = await near.connect()
        peer.send(Cmd.LOGIN, 1, TOKEN)
        assert await peer.closed() == b""
        assert "status 9" in (await near.event("refused", "a")).data["why"]


@asyncio_test
async def test_a_device_that_leaves_early_takes_its_half_made_connection_with_it():
    left = asyncio.Event()

    async def serve(reader, writer):  # answers no TLS handshake
        with suppress(ConnectionError):
            while await reader.read(4096):
                pass
        left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with (
        server,
        Cloud(relay=Upstream(*server.sockets[0].getsockname()[:2], tls=True)) as near,
    ):
        peer = await near.connect()
        peer.send(Cmd.LOGIN, 1, TOKEN)
        await until("the relay to begin", lambda: any_relay(near))
        peer.leave()
        async with asyncio.timeout(CONNECT_TIMEOUT_S / 2):
            await left.wait()


def any_relay(near: Cloud) -> bool:
    return any(getattr(one, "_connecting", None) for one in near.server._visits.values())


@asyncio_test
@pytest.mark.parametrize("fault", [faults.silent(5), faults.slow(5), faults.refuse(5)], ids=str)
async def test_a_fault_that_cannot_hold_behind_a_relay_is_refused(tmp_path, fault):
    async with relayed(tmp_path) as (_, near):
        with pytest.raises(FaultError, match=f"{fault.kind}: behind a relay the other server"):
            await near.server.misbehave("a", [faults.drop(), fault])
        await (await near.server.misbehave("a", [faults.drop()])).end()
