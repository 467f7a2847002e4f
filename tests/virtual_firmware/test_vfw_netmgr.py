"""NetMgr of new Edgent: networks that come and go while their settings are written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from vfw_bench import NVS
from vfw_peer import FakeMachine, run

from pytest_blynk_ota.firmware.nvs_store import Nvs
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE
from pytest_blynk_ota.virtual.app.netmgr import NetMgr
from pytest_blynk_ota.virtual.app.preferences import Preferences


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
