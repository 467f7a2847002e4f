"""Who does the reference firmware's updates, and what else of the device goes on meanwhile.

:class:`Updates` does them one after the other in a task of its own, beside the session. The bugs
planted here give them other hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.virtual.app.reference_update import Updates

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.report import Claim

WATCHDOG_S = 25.0
"""Z54: how long loop() may be away; 5 s later the task watchdog, set to 30 s, has bitten."""
AWAKE_S = 30.0
"""Z57: from the last command of the cloud to the deep sleep."""
ASLEEP_S = 60.0


def updates(
    context: Context,
    report: Callable[[str], Awaitable[None]],
    claim: Callable[[Claim], Awaitable[None]],
) -> Updates:
    """What does the updates of this image."""
    hosts = {"Z52": TaskEach, "Z54": InCallback, "Z57": Sleeper}
    chosen = (host for bug, host in hosts.items() if context.has(bug))
    return next(chosen, Updates)(context, report, claim)


class TaskEach(Updates):
    """Z52: each command starts a task; that another one writes to the slot is not looked at."""

    def __init__(
        self,
        context: Context,
        report: Callable[[str], Awaitable[None]],
        claim: Callable[[Claim], Awaitable[None]],
    ) -> None:
        super().__init__(context, report, claim)
        self._tasks: set[asyncio.Future[None]] = set()
        self._end: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()

    def offer(self, url: str) -> None:
        """An ``ota`` command."""
        if url:
            task = asyncio.ensure_future(self._one(url))
            task.add_done_callback(self._ended)
            self._tasks.add(task)

    async def run(self) -> NoReturn:
        """As of :class:`Updates`; the first task that restarts the chip ends them all."""
        try:
            await self._end
        finally:
            for task in self._tasks:
                task.cancel()
        raise AssertionError("a firmware's update ended without a reset")

    async def _one(self, url: str) -> None:
        await self._ready.wait()
        await self._update(url)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        problem = None if task.cancelled() else task.exception()
        if problem is not None and not self._end.done():
            self._end.set_exception(problem)


class InCallback(Updates):
    """Z54: the download stands in BLYNK_WRITE(InternalPinOTA); loop() waits for it.

    No ping is answered and none is sent; and the task watchdog is fed by loop() alone.
    """

    async def run(self) -> NoReturn:
        """Nothing: there is no such task."""
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets was set")

    def until(self) -> float:
        """For ever, but no longer than a command comes."""
        return -float("inf") if self._offered is not None else float("inf")

    async def in_session(self) -> None:
        """The callback.

        Raises:
            Reset: into the new image.
            Panic: it took too long.
        """
        await self._ready.wait()
        url, self._offered = self._offered, None
        if url is not None:
            await _within(WATCHDOG_S, self._context, "task_wdt", self._update(url))


class Sleeper(Updates):
    """Z57: the device sleeps when the cloud has had no command for it, download or not."""

    async def _update(self, url: str) -> None:
        work = super()._update(url)
        await _within(AWAKE_S, self._context, "deep_sleep", work, sleep_s=ASLEEP_S)


async def _within(
    seconds: float, context: Context, how: str, work: Awaitable[None], *, sleep_s: float = 0.0
) -> None:
    """Do it in so many device seconds. Raises Panic, of that kind, if it takes longer."""
    try:
        async with context.machine.clock.within(context.machine.clock.timeout(seconds)) as limit:
            await work
    except TimeoutError:
        if not limit.expired():
            raise
        context.crash.now(how, sleep_s=sleep_s)
