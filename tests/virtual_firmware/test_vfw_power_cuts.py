"""A power cut at any flash operation of an update leaves a board that boots Old or New."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vfw_bench import Bench, story
from vfw_peer import BlynkPeer, PowerCut, WebPeer, listening, ota

IMAGE_BYTES = 12 << 10


async def update_until_cut(bench: Bench, cut_at: int | None) -> bool:
    """One update, with the power lost at that flash operation; whether it was lost."""
    web, cloud = WebPeer(bench.app("2.0.0", size=IMAGE_BYTES)), BlynkPeer()
    async with listening(web.serve) as (host, port), listening(cloud.serve) as address:
        cloud.sends = [ota(f"http://{host}:{port}/")]
        bench.provision(address)
        start = bench.machine.operations
        bench.machine.cut_at = None if cut_at is None else start + cut_at
        try:
            await bench.boot()
        except PowerCut:
            bench.machine.network.drop()
            return True
        return False


async def version_after(bench: Bench) -> str:
    bench.machine.cut_at = None
    cloud = BlynkPeer()
    async with listening(cloud.serve) as address:
        bench.provision(address)
        async with bench.living():
            await cloud.hears(lambda peer: peer.infos)
    return cloud.infos[0]["mcu"]


def operations_of_an_update() -> int:
    with Bench(size=IMAGE_BYTES) as bench:
        story(update_until_cut(bench, None))
        return bench.machine.operations


@pytest.fixture(scope="module")
def operations():
    count = operations_of_an_update()
    assert count > 30
    return count


@pytest.mark.parametrize("slot", [0, 1])
def test_the_last_operations_one_by_one(operations, slot):
    """The first 16 bytes, the erase of otadata and its write are where a cut could hurt."""
    for back in range(6):
        with Bench(size=IMAGE_BYTES, running=slot) as bench:
            cut = story(update_until_cut(bench, operations - back))
            version = story(version_after(bench))
            assert version in ("1.0.0", "2.0.0")
            assert version == "1.0.0" or not cut


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(part=st.floats(0, 1), slot=st.integers(0, 1))
def test_anywhere(operations, part, slot):
    with Bench(size=IMAGE_BYTES, running=slot) as bench:
        story(update_until_cut(bench, 1 + int(part * (operations - 1))))
        assert story(version_after(bench)) in ("1.0.0", "2.0.0")
