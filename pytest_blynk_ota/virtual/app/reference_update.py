"""The reference firmware's updates: one at a time, a few tries each, beside the session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.virtual.app.edgent_ota import crash_half_way
from pytest_blynk_ota.virtual.app.reference_download import Download
from pytest_blynk_ota.virtual.app.reference_http import Problem
from pytest_blynk_ota.virtual.boot.bootlog import error, info
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context

FIRST_PAUSE_S = 2.0
"""Before the second try; doubled before each further one."""
GOODBYE_S = 0.5
"""For the last event to leave before the restart."""
TELL_EVERY = 0.25
"""Of the file."""
TAG = "ota"


class Updates:
    """What the cloud has offered, and what is being done about it.

    Args:
        report: tells the cloud an event.
    """

    def __init__(self, context: Context, report: Callable[[str], Awaitable[None]]) -> None:
        self._context = context
        self._clock = context.machine.clock
        self._report = report
        self._offered: str | None = None
        self._current: str | None = None
        self._news = asyncio.Event()
        self._ready = asyncio.Event()

    def offer(self, url: str) -> None:
        """An ``ota`` command: the newest waits for the one that runs; the same again is one."""
        if url and url != self._current:
            self._offered = url
            self._news.set()

    def may_begin(self) -> None:
        """The running image is confirmed, or is not going to be: updates can begin."""
        self._ready.set()

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: into the new image.
        """
        await self._ready.wait()
        while True:
            await self._news.wait()
            self._news.clear()
            self._current, self._offered = self._offered, None
            if self._current is not None:
                await self._update(self._current)
            self._current = None

    async def _update(self, url: str) -> None:
        """One offer from beginning to end; the device stays as it is if nothing comes of it."""
        self._say(f"Firmware update URL: {url}")
        await self._report("OTA started")
        problem = await self._tries(url)
        if problem is not None:
            self._complain(f"Firmware upgrade failed: {problem}")
            await self._report(f"OTA failed: {problem}")
            return
        self._say("=== Update successfully completed. Rebooting.")
        await self._report("OTA done")
        await self._clock.sleep(GOODBYE_S)
        raise Reset(SOFTWARE_CPU)

    async def _tries(self, url: str) -> str | None:
        """Try, and try again where it may help; the last problem, or None."""
        download = Download(self._context, url, self._progress())
        pause_s, left = FIRST_PAUSE_S, self._context.behaviour.retries
        while True:
            left -= 1
            try:
                await download.attempt()
            except Problem as problem:
                if left <= 0 or not problem.again or download.time_is_up:
                    return str(problem)
                self._complain(f"{problem}; {left} tries left")
                await self._clock.sleep(max(pause_s, problem.after_s))
                pause_s *= 2
            else:
                return None

    def _progress(self) -> Callable[[int, int], None]:
        crash, told = crash_half_way(self._context), 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if total and done / total >= told + TELL_EVERY:
                told = done / total
                self._say(f"Flashing... {done * 100 // total}%")
            crash(done, total)

        return progress

    def _say(self, text: str) -> None:
        self._context.log.idf([info(TAG, text)])

    def _complain(self, text: str) -> None:
        self._context.log.idf([error(TAG, text)])
