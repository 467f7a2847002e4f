"""NetMgr of new Edgent: networks that come and go while their settings are written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from vfw_bench import NVS
from vfw_peer import FakeMachine, run

from pytest_blynk_ota.firmware.nvs_store import Nvs
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE
from pytest_blynk_ota.virtual.app.netmgr import LONGEST_PAUSE_S, SCAN_S, NetMgr
from pytest_blynk_ota.virtual.app.preferences import Preferences
from pytest_blynk_ota.virtual.network.tcp import NoNetwork


class SlowFlash(FakeMachine):
    """A board whose flash takes its time, and remembers what was cut."""

    cut = False
    writing = asyncio.Event()

    async def program(self, offset: int, data: bytes) -> None:
        self.writing.set()
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.cut = True
            raise
        await super().program(offset, data)


CHANGES: dict[str, Callable[[NetMgr], Awaitable[object]]] = {
    "off": NetMgr.off,
    "clear": NetMgr.clear,
    "add": lambda networks: networks.add("lab", "another one"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_that_goes_while_it_is_written_down_is_written_to_the_end(change):
    async def story() -> None:
        machine = SlowFlash()
        preferences = Preferences(machine, DEFAULT_TABLE)
        await preferences.begin()
        networks = NetMgr(machine, preferences, lambda *_: None)
        networks.begin()
        await networks.add("lab", "long enough")
        machine.writing = asyncio.Event()
        await machine.writing.wait()
        await CHANGES[change](networks)
        networks.stop()
        cut, nvs = machine.cut, Nvs(machine.flash.read(NVS.offset, NVS.size))
        machine.close()
        assert not cut
        assert (nvs.blob("nm_wifi", "ap00") is None) is (change == "clear")

    run(story())


class Clock:
    """Device time that passes only where the firmware spends it."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.spent: list[float] = []

    def now(self) -> float:
        return self.time_s

    async def sleep(self, device_s: float) -> None:
        self.spent.append(device_s)
        self.time_s += max(device_s, 0.0)
        await asyncio.sleep(0)

    spend = sleep


class AccessPoint:
    """When it was asked to let a board in; it does from the ``lets_in``-th try on."""

    def __init__(self, clock: Clock, lets_in: int) -> None:
        self._clock, self._left = clock, lets_in
        self.asked: list[float] = []

    async def join(self, _ssid: str, _passphrase: str) -> str:
        self.asked.append(self._clock.now())
        if len(self.asked) < self._left:
            raise NoNetwork(201)
        return "192.168.4.2"

    async def lost(self) -> None:
        await asyncio.Event().wait()


async def board(lets_in: int = 1, preferences: Preferences | None = None) -> NetMgr:
    """A NetMgr that has been let in."""
    machine = FakeMachine()
    clock = machine.clock = Clock()  # type: ignore[assignment]
    machine.network = AccessPoint(clock, lets_in)  # type: ignore[assignment]
    if preferences is None:
        preferences = Preferences(machine, DEFAULT_TABLE)
        await preferences.begin()
    networks = NetMgr(machine, preferences, lambda *_: None)
    networks.begin()
    if not networks.networks:
        await networks.add("lab", "long enough")
    networks.on()
    await networks.until(True)
    networks.stop()
    return networks


def test_a_network_that_is_not_there_is_looked_for_less_and_less_often():
    networks = run(board(lets_in=14))
    asked = networks._machine.network.asked[1:]  # the first try is made at once
    pauses = [then - now for now, then in pairwise(asked)]
    assert [round(pause, 1) for pause in pauses[:3]] == [5.1, 8.7, 14.7]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_network_that_it_was_on_is_joined_without_a_scan():
    async def twice() -> list[NetMgr]:
        first = await board(lets_in=2)
        return [first, await board(preferences=first._preferences)]

    first, again = run(twice())
    assert SCAN_S in first._machine.clock.spent
    assert SCAN_S not in again._machine.clock.spent
