"""Faults of the cloud, as a device on MQTT sees them."""

from __future__ import annotations

import json
import time

import pytest
from cloud_peer import OTHER_TOKEN, Cloud
from mqtt_peer import MQTT, connect, login, publish, reach

from pytest_blynk_ota.cloud import faults
from pytest_blynk_ota.virtual.app import mqtt_packets as packets

pytestmark = pytest.mark.asyncio
URL = "http://h/f/new?token=x&s=0"


class Victim:
    """A device that has said what it is, another beside it, and the faults of the first."""

    def __init__(self, cloud: Cloud, *asked: faults.CloudFault) -> None:
        self.cloud = cloud
        self._asked = asked

    async def __aenter__(self) -> Victim:
        self.device, self.beside = await login(self.cloud), await login(self.cloud, OTHER_TOKEN)
        await self.device.inform()
        self.mischief = await self.cloud.server.misbehave("a", self._asked)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert await self.beside.alive()
        await self.mischief.end()
        self.device.leave()
        self.beside.leave()

    async def offer(self) -> int | None:
        return await self.cloud.server.send_ota("a", URL, offer="o1", size=7)

    async def url(self) -> str:
        return json.loads((await self.device.message()).payload)["url"]


def cloud(speed: float = 100) -> Cloud:
    return Cloud(doors=(MQTT,), speed=speed)


@pytest.mark.parametrize(
    ("fault", "urls"),
    [
        (faults.delay(seconds=10), [URL]),
        (faults.twice(seconds=2), [URL, URL]),
        (faults.url("ftp://h/x"), ["ftp://h/x"]),
    ],
)
async def test_an_offer_comes_late_twice_or_with_another_url(fault, urls):
    async with cloud() as one, Victim(one, fault) as victim:
        await victim.offer()
        assert [await victim.url() for _ in urls] == urls


async def test_an_ignored_offer_does_not_come():
    async with cloud() as one, Victim(one, faults.ignore()) as victim:
        await victim.offer()
        assert await victim.device.alive(), "the next that it hears is the answer to its ping"


async def test_a_dropped_link_comes_after_the_url():
    async with cloud() as one, Victim(one, faults.drop()) as victim:
        await victim.offer()
        assert await victim.url() == URL
        assert await victim.device.closed() == b""


async def test_a_silent_cloud_hears_and_answers_nothing_until_it_is_over():
    async with cloud(20) as one, Victim(one, faults.silent(seconds=10)) as victim:
        await victim.offer()
        assert await victim.url() == URL
        begun = time.monotonic()
        victim.device.send(packets.PINGREQ, publish("event/hot", "1"))
        newer = await reach(one)
        newer.send(connect())
        assert await victim.offer() is None
        await one.event("action", "a", count=2)
        assert time.monotonic() - begun >= 0.4
        assert not one.seen("log_event")
        assert await victim.device.alive(), "one answer, to this ping"
        assert len(one.seen("login", "a")) == 1
        newer.leave()


@pytest.mark.parametrize(
    ("status", "answer"), [(None, b""), (9, b"\x20\2\0\4"), (1, b"\x20\2\0\3")]
)
async def test_a_refused_login_gets_what_mqtt_has_for_the_status(status, answer):
    refuse = faults.refuse(seconds=1000, **({} if status is None else {"status": status}))
    async with cloud() as one, Victim(one, refuse) as victim:
        await victim.offer()
        await victim.device.closed()
        again = await reach(one)
        again.send(connect())
        assert await again.closed() == answer
        assert one.seen("refused", "a")[0].data["why"] == f"a fault of the cloud, status {status}"


async def test_a_slow_cloud_answers_late():
    async with cloud() as one, Victim(one, faults.slow(seconds=30)) as victim:
        await victim.offer()
        begun = time.monotonic()
        await victim.url()
        assert await victim.device.alive()
        assert time.monotonic() - begun >= 0.3


async def test_a_cloud_that_restarts_is_there_again_at_the_same_port():
    async with cloud() as one, Victim(one, faults.restart(seconds=20)) as victim:
        address = one.server.address_of("mqtt")
        await victim.offer()
        await victim.device.closed()
        await one.event("action", "a", count=2)
        assert one.server.address_of("mqtt") == address
        victim.beside = await login(one, OTHER_TOKEN)
        (await login(one)).leave()
