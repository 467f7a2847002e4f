"""Device time: scaled waits, with a floor under time-outs only."""

from __future__ import annotations

import asyncio
import time

import pytest

from pytest_blynk_ota.virtual.chip.clock import DeviceClock


def wall(coroutine):
    """Wall seconds that something takes."""
    begun = time.monotonic()
    asyncio.run(coroutine)
    return time.monotonic() - begun


def test_a_clock_of_twenty_runs_twenty_times_as_fast():
    clock = DeviceClock(20)
    before, begun = clock.now(), time.monotonic()
    assert wall(clock.sleep(2)) >= 0.1
    assert clock.now() - before == pytest.approx(20 * (time.monotonic() - begun), abs=0.2)


@pytest.mark.parametrize(("device_s", "expected"), [(30, 1.5), (5, 0.25), (0.1, 0.25)])
def test_a_timeout_shrinks_but_not_below_a_quarter_second(device_s, expected):
    assert DeviceClock(20).timeout(device_s) == expected


def test_small_costs_add_up_to_what_they_are_worth():
    async def work():
        for _ in range(1000):
            await clock.spend(0.002)

    clock = DeviceClock(20)
    assert 0.07 <= wall(work()) < 1.0, "2 device seconds are 0.1 s"


def test_one_small_cost_is_not_worth_a_wait():
    clock = DeviceClock(20)

    async def work():
        task = asyncio.ensure_future(clock.spend(0.001))
        await asyncio.sleep(0)
        assert task.done()

    asyncio.run(work())


@pytest.mark.parametrize("speed", [0, -1])
def test_a_clock_that_stands_still_is_refused(speed):
    with pytest.raises(ValueError, match="more than 0"):
        DeviceClock(speed)
