"""A thousand updates in a row: what they cost the device, and that the plugin stays as it is."""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest

from pytest_blynk_ota import Outcome

ROUNDS, UPDATES = 100, 10
"""Tests, and updates in each: the evidence of one test stays in memory until it ends."""
SETTLED = 10
"""Rounds after which memory counts: caches have filled by then."""
GROWTH = 1.05


def handles() -> int:
    """Files and sockets that this process holds open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def memory_bytes() -> int:
    """What this process holds of the machine's memory, without what it has freed already."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc keeps what was freed
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def costs() -> list[dict[str, float]]:
    """What each round has cost, in their order."""
    return []


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.scenario("E7")
def test_ten_updates_in_a_row(ota, firmware, costs, number):
    versions = [f"{10 + number}.{at}.0" for at in range(UPDATES)]
    results = [ota.ship(firmware.restamped(firmware.new, version)) for version in versions]
    assert [result.outcome for result in results] == [Outcome.UPGRADED] * UPDATES
    assert [result.running for result in results] == versions
    heaps = [result.metrics.get("free heap") for result in results]
    costs.append(
        {
            "seconds": sum(result.seconds for result in results),
            "memory": memory_bytes(),
            "blocks": sys.getallocatedblocks(),
            "handles": handles(),
            "heap": min((heap.least for heap in heaps if heap), default=0),
        }
    )


@pytest.mark.soak
@pytest.mark.scenario("E7")
def test_a_thousand_updates_cost_no_more_at_the_end_than_at_the_beginning(costs):
    if len(costs) <= 2 * SETTLED:
        pytest.skip(f"{len(costs)} rounds ran in this process; more than {2 * SETTLED} are needed")
    early, late = costs[SETTLED : 2 * SETTLED], costs[-SETTLED:]
    for what in ("memory", "blocks", "seconds"):
        before, after = (sum(cost[what] for cost in part) for part in (early, late))
        print(f"{what}: {before / SETTLED:.0f} a round, {after / SETTLED:.0f} at the end")
        assert after <= GROWTH * before, what
    # One may be open for a moment; one that is never closed is there in each round.
    assert min(cost["handles"] for cost in late) <= min(cost["handles"] for cost in early)
    if early[0]["heap"]:
        assert min(cost["heap"] for cost in late) >= min(cost["heap"] for cost in early) / GROWTH
