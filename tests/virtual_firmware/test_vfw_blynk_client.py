"""The device's side of a session with the cloud."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from vfw_peer import TOKEN, BlynkPeer, FakeMachine, listening, run

from pytest_blynk_ota.cloud.protocol import Cmd, Frame, frame, response
from pytest_blynk_ota.virtual.app.blynk_client import BlynkClient, TokenRefused
from pytest_blynk_ota.virtual.boot.log import Log

SPEED = 20.0
"""Its limits are a few device seconds; at this speed a busy host does not pass for a silent one."""
INFO = ("mcu", "1.0.0", "build", "B")


def for_ever() -> float:
    return float("inf")


def until(machine, seconds):
    end = machine.clock.now() + seconds
    return lambda: end


@asynccontextmanager
async def device(peer: BlynkPeer, *, speed=SPEED, heartbeat_s=40.0):
    machine = FakeMachine(speed=speed)
    urls: list[str] = []
    async with listening(peer.serve) as (host, port):
        client = BlynkClient(
            machine,
            Log(machine),
            token=TOKEN,
            host=host,
            port=port,
            info=INFO,
            heartbeat_s=heartbeat_s,
            on_ota=urls.append,
        )
        try:
            yield machine, client, urls
        finally:
            client.close()
            machine.close()


@pytest.mark.parametrize("status", [200, 4])
def test_a_device_that_is_let_in_says_what_it_is(status):
    async def story():
        peer = BlynkPeer(login_status=status)
        async with device(peer) as (machine, client, _):
            assert await client.login()
            await peer.hears(lambda p: p.infos)
        assert peer.heard[0] == frame(Cmd.LOGIN, 1, TOKEN)
        assert peer.infos == [{"mcu": "1.0.0", "build": "B"}]
        assert "Ready (ping: " in machine.text

    run(story())


def test_a_refused_token_is_its_own_case():
    async def story():
        async with device(BlynkPeer(login_status=9)) as (machine, client, _):
            with pytest.raises(TokenRefused):
                await client.login()
        assert "Invalid auth token" in machine.text

    run(story())


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (BlynkPeer(login_status=19), "Connect failed. code: 19"),
        (BlynkPeer(silent=True), "Login timeout"),
    ],
    ids=["refused", "silent"],
)
def test_a_login_that_fails_can_be_tried_again(peer, text):
    async def story():
        async with device(peer) as (machine, client, _):
            assert not await client.login()
            assert not client.connected
        assert text in machine.text

    run(story())


def test_each_ota_command_is_handed_on_and_a_ping_is_answered_with_its_id():
    async def story():
        peer = BlynkPeer(
            sends=[
                frame(Cmd.INTERNAL, 5, "ota", "http://a/1"),
                frame(Cmd.INTERNAL, 6, "ota"),
                frame(Cmd.INTERNAL, 7, "rtc", "1"),
                frame(Cmd.HARDWARE, 8, "vw", "1", "2"),
                Frame(Cmd.PING, 9),
            ]
        )
        async with device(peer) as (_, client, urls):
            await client.login()
            serving = asyncio.ensure_future(client.serve(for_ever))
            await peer.hears(lambda p: response(9) in p.heard)
            assert urls == ["http://a/1", ""]
            assert not serving.done()
            serving.cancel()

    run(story())


@pytest.mark.parametrize(
    "message",
    [
        Frame(Cmd.PING, 0),
        response(33, 5),
        Frame(99, 4),
        frame(Cmd.INTERNAL, 5, "ota", "u" * 1100),
    ],
    ids=["id 0", "not authenticated", "unknown command", "too big"],
)
def test_what_the_library_cannot_bear_ends_the_session(message):
    async def story():
        async with device(BlynkPeer(sends=[message])) as (_, client, urls):
            await client.login()
            assert not await client.serve(for_ever)
            assert not client.connected
            assert urls == []

    run(story())


def test_an_idle_device_pings_and_gives_up_on_a_cloud_that_says_nothing():
    async def story():
        peer = BlynkPeer()
        async with device(peer, speed=40.0, heartbeat_s=10.0) as (machine, client, _):
            await client.login()
            await peer.hears(lambda p: p.infos)
            peer.silent = True
            assert not await client.serve(for_ever)
        assert any(one.cmd == Cmd.PING for one in peer.heard)
        assert "Heartbeat timeout" in machine.text

    run(story())


def test_pings_keep_a_session_alive_until_the_time_asked_for():
    async def story():
        peer = BlynkPeer()
        async with device(peer, speed=100.0, heartbeat_s=10.0) as (machine, client, _):
            await client.login()
            assert await client.serve(until(machine, 60.0))
        assert sum(one.cmd == Cmd.PING for one in peer.heard) >= 3

    run(story())


def test_a_redirection_is_followed_at_once():
    async def story():
        second = BlynkPeer()
        async with listening(second.serve) as (host, port):
            first = BlynkPeer(sends=[frame(Cmd.REDIRECT, 3, host, str(port))])
            async with device(first) as (machine, client, _):
                await client.login()
                serving = asyncio.ensure_future(client.serve(for_ever))
                await second.hears(lambda p: p.infos)
                serving.cancel()
                assert f"Redirecting to {host}:{port}" in machine.text

    run(story())


def test_bytes_that_come_at_the_end_of_a_wait_are_not_lost():
    async def story():
        pings = [Frame(Cmd.PING, 100 + n) for n in range(200)]

        async def drip(reader, writer):
            from pytest_blynk_ota.cloud.protocol import encode

            await reader.readexactly(37)
            writer.write(encode(response(1)))
            for ping in pings:
                for byte in encode(ping):
                    writer.write(bytes([byte]))
                await asyncio.sleep(0.001)
            await reader.read()

        machine = FakeMachine()
        async with listening(drip) as (host, port):
            client = BlynkClient(machine, Log(machine), token=TOKEN, host=host, port=port,
                                 info=INFO, heartbeat_s=40.0, on_ota=lambda url: None)  # fmt: skip
            seen = []
            client._handle = lambda message: asyncio.sleep(0, seen.append(message.id))
            assert await client.login()
            while len(seen) < len(pings):
                assert await client.serve(until(machine, 0.5))
            client.close()
        machine.close()
        assert seen == [ping.id for ping in pings]

    run(story())


def test_the_next_try_comes_five_seconds_after_the_last_one_began():
    """However long that one took: a connection that times out is tried again at once."""

    async def story():
        async with device(BlynkPeer(), speed=20.0) as (machine, client, _):
            begun: list[float] = []

            async def login():
                begun.append(machine.clock.now())
                await machine.clock.sleep((0.0, 3.0, 7.0, 0.0)[len(begun) - 1])
                return len(begun) == 4

            client.login = login
            await client.keep_dialling()
        pauses = [then - now for now, then in pairwise(begun)]
        assert all(took >= due - 0.1 for took, due in zip(pauses, [5, 5, 7], strict=True))
        assert pauses[1] < 8, "it waited for five seconds more after a try of three"

    run(story())


def test_an_edgent_does_not_follow_a_redirection_in_a_session():
    async def story():
        second = BlynkPeer()
        async with listening(second.serve) as (host, port):
            first = BlynkPeer(sends=[frame(Cmd.REDIRECT, 3, host, str(port))])
            async with device(first) as (_, client, _):
                client._follows = False
                await client.login()
                assert not await client.serve(for_ever)
                assert not client.connected
        assert second.sessions == 0

    run(story())


def test_a_login_that_is_given_up_has_opened_no_session():
    async def story():
        peer = BlynkPeer(silent=True)
        async with device(peer, speed=1.0) as (_, client, _):
            login = asyncio.ensure_future(client.login())
            await peer.hears(lambda p: p.heard)
            login.cancel()
            await asyncio.wait({login})
            assert not client.connected

    run(story())
