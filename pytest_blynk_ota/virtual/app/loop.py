"""The loop() of an Arduino sketch that waits for something, with its timers running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pytest_blynk_ota.virtual.app.timers import Timers
    from pytest_blynk_ota.virtual.chip.clock import DeviceClock


async def stay(
    clock: DeviceClock, timers: Timers, seconds: float, *news: Awaitable[object]
) -> bool:
    """Wait for the first of ``news``; False if the device seconds ran out before.

    Raises:
        Exception: as one of ``news`` or a timer did.
    """
    tasks = {asyncio.ensure_future(one) for one in (timers.live(), *news)}
    limit = None if seconds == float("inf") else max(seconds, 0.0) / clock.speed
    try:
        done, _ = await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
