"""Device time: scaled waits, with a floor under time-outs only."""

from __future__ import annotations

import asyncio
import socket
import threading
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
    begun, before = time.monotonic(), clock.now()
    assert wall(clock.sleep(2)) >= 0.1
    assert 2 <= clock.now() - before <= 20 * (time.monotonic() - begun)


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


HELD_UP_S = 0.4
"""Wall seconds for which the host does not let the process run, as these tests play it."""


def hold_up():
    threading.Event().wait(HELD_UP_S)


def test_time_stands_still_while_the_process_has_no_turn():
    async def story():
        clock = DeviceClock(20)
        before = clock.now()
        await asyncio.sleep(0.02)
        hold_up()
        assert clock.now() - before < 20 * 0.2
        await clock.sleep(2)
        return clock.now() - before

    assert 2 <= asyncio.run(story()) < 20 * HELD_UP_S


def test_what_came_meanwhile_is_in_time():
    async def story():
        clock, (ours, theirs) = DeviceClock(20), socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()

        async def read():
            async with clock.within(clock.timeout(5)):
                return await loop.sock_recv(ours, 100)

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(0.02)
        theirs.send(b"here")
        hold_up()
        got = await reading
        ours.close()
        theirs.close()
        return got

    assert asyncio.run(story()) == b"here"


def test_a_time_out_comes_all_the_same_and_not_early():
    async def story():
        clock = DeviceClock(20)
        begun = time.monotonic()

        async def work():
            await asyncio.sleep(0.02)
            hold_up()
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with clock.within(0.3):
                await work()
        return time.monotonic() - begun

    assert asyncio.run(story()) >= 0.3 + HELD_UP_S - 0.1


def test_what_ends_in_time_leaves_no_alarm():
    async def story():
        clock = DeviceClock(20)
        async with clock.within(0.05):
            pass
        async with clock.within(None):
            await asyncio.sleep(0.1)
        with pytest.raises(ValueError, match="mine"):
            async with clock.within(0.05):
                raise ValueError("mine")
        await asyncio.sleep(0.1)

    asyncio.run(story())


def test_a_clock_goes_on_from_loop_to_loop():
    clock = DeviceClock(20)

    async def held_up():
        clock.now()
        await asyncio.sleep(0.02)
        hold_up()
        return clock.now()

    first = asyncio.run(held_up())
    between = clock.now()
    second = asyncio.run(held_up())
    assert first <= between <= second < 20 * HELD_UP_S
