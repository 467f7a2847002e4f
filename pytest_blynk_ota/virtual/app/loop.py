"""The loop() of an Arduino sketch that waits for something, with its timers running.

It has one thread: news that come while a timer or a command is at work count when that is over. So
nothing is left half done, least of all a change of otadata.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from pytest_blynk_ota.virtual.app.timers import Timers
    from pytest_blynk_ota.virtual.chip.clock import DeviceClock


async def stay(
    clock: DeviceClock, timers: Timers, seconds: float, *news: Awaitable[object]
) -> bool:
    """Wait for the first of ``news``; False if the device seconds ran out before.

    Raises:
        Exception: as one of ``news`` or a timer did.
    """
    tasks = [asyncio.ensure_future(one) for one in (timers.live(), *news)]
    limit = None if seconds == float("inf") else max(seconds, 0.0) / clock.speed
    try:
        done = await clock.first(tasks, limit)
        async with timers.busy:
            await _end(tasks)
    finally:
        await _end(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
    return bool(done)


async def _end(tasks: Sequence[asyncio.Future[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
