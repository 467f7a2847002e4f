"""One thread: what a sketch's loop() is in the middle of is finished before it sees news."""

from __future__ import annotations

import asyncio

import pytest
from vfw_bench import Bench, story
from vfw_peer import BlynkPeer, listening, ota

from pytest_blynk_ota.cloud.protocol import Cmd, frame
from pytest_blynk_ota.virtual.app.loop import stay
from pytest_blynk_ota.virtual.app.timers import FOREVER, Timers
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.chip.clock import DeviceClock


class Loop:
    """A loop() with a timer that works a while; news come meanwhile."""

    def __init__(self) -> None:
        self.clock = DeviceClock(1000.0)
        self.timers = Timers(self.clock)
        self.begun = asyncio.Event()
        self.done: list[str] = []

    async def work(self) -> None:
        self.begun.set()
        await self.clock.sleep(20.0)
        self.done.append("work")

    async def restart(self) -> None:
        await self.work()
        raise Reset(0xC)

    async def more(self) -> None:
        self.done.append("more")

    async def stay(self, seconds: float = FOREVER) -> bool:
        return await stay(self.clock, self.timers, seconds, self.begun.wait())


def test_a_timer_that_has_begun_is_finished_before_news_count():
    async def run() -> list[str]:
        loop = Loop()
        loop.timers.after(0.0, loop.work)
        assert await loop.stay()
        return loop.done

    assert story(run()) == ["work"]


def test_a_restart_that_a_timer_has_begun_is_not_lost_to_news():
    async def run() -> None:
        loop = Loop()
        loop.timers.after(0.0, loop.restart)
        with pytest.raises(Reset):
            await loop.stay()

    story(run())


def test_a_timer_that_is_due_when_news_come_is_called_later():
    async def run() -> list[str]:
        loop = Loop()
        loop.timers.after(0.0, loop.work)
        loop.timers.after(0.0, loop.more)
        await loop.stay()
        assert not await stay(loop.clock, loop.timers, 10.0)
        return loop.done

    assert story(run()) == ["work", "more"]


def test_a_reset_ends_a_timer_in_the_middle():
    async def run() -> list[str]:
        loop = Loop()
        loop.timers.after(0.0, loop.work)
        life = asyncio.ensure_future(loop.stay())
        await loop.begun.wait()
        life.cancel()
        await asyncio.wait({life})
        return loop.done

    assert story(run()) == []


def test_a_command_from_the_cloud_is_finished_before_the_update_that_comes_meanwhile():
    scan = frame(Cmd.INTERNAL, 78, "dbg", "wifi scan")

    async def run(bench: Bench) -> str:
        cloud = BlynkPeer(sends=[ota("http://127.0.0.1:9/f"), scan])
        async with listening(cloud.serve) as address:
            bench.provision(address)
            await bench.until("RUNNING => OTA_UPGRADE")
        return bench.text

    with Bench() as bench:
        before, _, _ = story(run(bench)).partition("RUNNING => OTA_UPGRADE")
    assert "* lab [" in before
