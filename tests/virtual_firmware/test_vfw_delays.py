"""How long each Edgent waits, read off its own log in device milliseconds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from vfw_bench import APP0, NVS, Bench, story
from vfw_peer import TOKEN, BlynkPeer, WebPeer, listening, ota

from pytest_blynk_ota.firmware.nvs import edgent_config
from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.network.tcp import Network

SPEED = 20.0
SLACK_MS = 5000
"""What a loaded host may add: a quarter of a second on the wall."""
WAITS = [
    ("edgent-old", r"CONNECTING_CLOUD => RUNNING", r"RUNNING => OTA_UPGRADE", 2000),
    ("edgent-old", r"OTA_UPGRADE => ERROR", r"Restarting after error", 10000),
    ("edgent-new", r"CONNECTING CLOUD => RUNNING", r"RUNNING => OTA UPGRADE", 1000),
    ("edgent-new", r"OTA UPGRADE => ERROR", r"Restarting after error", 10000),
]


class Slow(Bench):
    """A bench whose clock leaves a host time to be late."""

    def __init__(self, profile: str, **behaviour: Any) -> None:
        super().__init__(profile=profile, **behaviour)
        self._behaviour = {"profile": profile, **behaviour}
        self.machine.clock = DeviceClock(SPEED)
        self.machine.network = Network(clock=self.machine.clock)

    def at(self, text: str) -> int:
        """Device milliseconds of the log's first line with this text."""
        found = re.search(rf"^>?\[ *(\d+)\][^\n]*{text}", self.text, re.M)
        assert found is not None, self.text
        return int(found[1])

    def meets(self, port: int) -> None:
        """Dial this port, whichever way the firmware knows it."""
        self.put(APP0, self.app("1.0.0", ports=[port], **self._behaviour))
        mine = {"ssid": "lab", "token": TOKEN, "host": "127.0.0.1", "port": port}
        self._flash(NVS.offset, edgent_config(**mine, password="long enough"))


async def boot(bench: Slow) -> None:
    """One boot with an offer whose file is not there."""
    cloud = BlynkPeer()
    web = WebPeer(b"", head="HTTP/1.1 404 Not Found\r\n\r\n")
    async with listening(web.serve) as (host, web_port), listening(cloud.serve) as (_, port):
        cloud.sends = [ota(f"http://{host}:{web_port}/f?s=0")]
        bench.meets(port)
        assert await bench.boot() == 0xC


@pytest.mark.parametrize(("profile", "begin", "end", "wait_ms"), WAITS)
def test_an_edgent_waits_as_long_as_its_source_says(profile, begin, end, wait_ms):
    with Slow(profile, log="info") as bench:
        story(boot(bench))
        assert wait_ms - 10 <= bench.at(end) - bench.at(begin) < wait_ms + SLACK_MS


def test_a_core_dump_is_looked_for_ten_seconds_after_the_first_login():
    async def crash(bench: Slow) -> None:
        cloud = BlynkPeer()
        async with listening(cloud.serve) as (_, port):
            bench.meets(port)
            assert await bench.boot() == 0xC
            bench.machine.network.drop()
            await bench.until("System crash detected", cause=0xC)

    once = {"when": "start", "times": 1}
    with Slow("edgent-new", log="info", coredump="flash", crash=once) as bench:
        story(crash(bench))
        waited = bench.at("System crash detected") - bench.at("CONNECTING CLOUD => RUNNING")
        assert 10000 - 10 <= waited < 10000 + SLACK_MS
