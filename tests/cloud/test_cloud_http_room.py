"""HTTP at the ports of the binary protocol: who is let in, and what ends him."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from aiohttp import web
from cloud_peer import TOKEN, Cloud, Peer, until
from mqtt_peer import TCP

from pytest_blynk_ota.cloud import server
from pytest_blynk_ota.cloud.site import Limits

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def a_part(monkeypatch):
    def add(app, room):
        async def whose(request):
            guest = room.guest(request)
            return web.json_response([guest.number, guest.door, len(await request.read())])

        app.router.add_route("*", "/whose", whose)

    monkeypatch.setattr(server, "HTTP_PARTS", (*server.HTTP_PARTS, add))


def url(one: Cloud, path: str) -> str:
    host, port = one.server.address
    return f"http://{host}:{port}{path}"


async def reach(one: Cloud) -> Peer:
    return Peer(*await asyncio.open_connection(*one.server.address))


async def test_a_handler_knows_whose_connection_a_request_came_on():
    async with Cloud(doors=(TCP,)) as one, aiohttp.ClientSession() as http:
        for _ in range(2):
            answer = await http.get(url(one, "/whose"))
            assert await answer.json() == [1, "tcp", 0]
        await http.close()
        closed = await one.event("closed")
        assert closed.data == {"session": 1, "by": "device", "why": "closed"}


async def test_http_and_the_binary_protocol_share_a_port():
    async with Cloud(doors=(TCP,)) as one, aiohttp.ClientSession() as http:
        device = await one.login()
        assert (await http.get(url(one, "/nothing"))).status == 404
        assert await device.alive()
        device.leave()


async def test_a_websocket_that_is_none_is_told_what_is_wanted():
    async with Cloud(doors=(TCP,)) as one, aiohttp.ClientSession() as http:
        answer = await http.get(url(one, "/mqtt"))
        assert (answer.status, answer.headers["Upgrade"]) == (426, "websocket")


@pytest.mark.parametrize(
    ("begun", "why"),
    [
        (b"GET /whose HTTP/1.1\r\nHo", "no request for 5 s"),
        (b"POST /whose HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx", "no request for 5 s"),
    ],
)
async def test_a_request_that_never_becomes_whole_is_cut_off(begun, why):
    async with Cloud(doors=(TCP,), speed=20, limits=Limits(login_s=5)) as one:
        peer = await reach(one)
        peer.writer.write(begun)
        await peer.closed()
        assert (await one.event("closed")).data["why"] == why


async def test_a_request_that_drips_is_cut_off():
    async with Cloud(doors=(TCP,), speed=60) as one:
        peer = await reach(one)
        peer.writer.write(b"GET /whose HTTP/1.1\r\nX: ")
        while not one.seen("closed"):
            peer.writer.write(b"x")
            then = one.timeline.now() + 0.02
            await until("the next drop", lambda then=then: one.timeline.now() > then)
        assert one.seen("closed")[0].data["why"] == "no request that is whole within 60 s"
        await peer.closed()


async def test_a_request_that_cannot_be_read_is_answered_400_and_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)
    async with Cloud(doors=(TCP,)) as one:
        peer = await reach(one)
        peer.writer.write(f"GET /get?token={TOKEN} \0\r\n\r\n".encode())
        assert (await peer.closed()).startswith(b"HTTP/1.0 400")
        await one.event("closed")
    assert TOKEN not in caplog.text + repr([*one.timeline.events()])


async def test_a_guest_is_gone_when_the_cloud_stops():
    async with Cloud(doors=(TCP,)) as one, aiohttp.ClientSession() as http:
        await http.get(url(one, "/whose"))
        await one.server.stop()
        assert (await one.event("closed")).data["why"] == "the cloud was stopped"


async def test_the_room_opens_again_with_its_server():
    async with Cloud(doors=(TCP,)) as one:
        await one.server.stop()
        await one.server.start()
        async with aiohttp.ClientSession() as http:
            assert (await http.get(url(one, "/whose"))).status == 200
