"""The reference firmware's updates: one at a time, a few tries each, beside the session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.virtual.app import reference_notes as notes
from pytest_blynk_ota.virtual.app.edgent_ota import crash_half_way
from pytest_blynk_ota.virtual.app.reference_download import Download
from pytest_blynk_ota.virtual.app.reference_http import Problem
from pytest_blynk_ota.virtual.app.reference_leaks import Leaks
from pytest_blynk_ota.virtual.app.reference_switch import switch
from pytest_blynk_ota.virtual.boot.bootlog import error, info
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.report import Claim

FIRST_PAUSE_S = 2.0
"""Before the second try; doubled before each further one."""
GOODBYE_S = 0.5
"""For the last event to leave before the restart."""
STEADY_PAUSE_S = 1.0
"""Z13: before every further try, however many there were."""
TELL_EVERY = 0.25
"""Of the file."""
DONE = "=== Update successfully completed. Rebooting."
TAG = "ota"


class Updates:
    """What the cloud has offered, and what is being done about it.

    Args:
        report: tells the cloud an event.
        claim: tells the cloud who we are.
    """

    def __init__(
        self,
        context: Context,
        report: Callable[[str], Awaitable[None]],
        claim: Callable[[Claim], Awaitable[None]],
    ) -> None:
        self._context = context
        self._clock = context.machine.clock
        self._report = report
        self._claim = claim
        self._offered: str | None = None
        self._current: str | None = None
        self._done_said = False
        self._leaks = Leaks(context)
        self._has_failed = False
        self._is_running = False
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

    def until(self) -> float:
        """The device time up to which the session is served before :meth:`in_session`."""
        return float("inf")

    async def in_session(self) -> None:
        """What is done between two messages of the cloud: nothing."""

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: into the new image.
        """
        await self._ready.wait()
        self.offer(await notes.unfinished_url(self._context) or "")
        while True:
            await self._news.wait()
            self._news.clear()
            self._current, self._offered = self._offered, None
            if self._current is not None:
                await self._update(self._current)
            self._current = None

    async def _update(self, url: str) -> None:
        """One offer from beginning to end; the device stays as it is if nothing comes of it."""
        if self._has_failed and self._context.has("Z14"):
            return  # a state that nothing leads out of but a restart
        self._done_said = False
        self._say(f"Firmware update URL: {url}")
        await self._report("OTA started")
        problem = await self._tries(url)
        if problem is not None:
            self._complain(f"Firmware upgrade failed: {problem}")
            await self._report(f"OTA failed: {problem}")
            return
        self._say_done()
        await self._report("OTA done")
        await self._clock.sleep(GOODBYE_S)
        await notes.keep_url(self._context, url)
        await notes.forget_all(self._context)
        raise Reset(SOFTWARE_CPU)

    async def _tries(self, url: str) -> str | None:
        """Try, and try again where it may help; the last problem, or None."""
        download = Download(self._context, url, self._progress())
        pause_s, left = FIRST_PAUSE_S, self._context.behaviour.retries
        while True:
            left -= 1
            try:
                await self._try(download)
            except Problem as problem:
                self._leaks.fail()
                if self._gives_up(problem, left, download):
                    return str(problem)
                if self._context.has("Z13"):
                    await self._clock.sleep(STEADY_PAUSE_S)  # while (update() != ESP_OK)
                    continue
                self._complain(f"{problem}; {left} tries left")
                await self._clock.sleep(max(pause_s, problem.after_s))
                pause_s *= 2
            else:
                return None

    async def _try(self, download: Download) -> None:
        """Once, up to the switch of slots.

        Raises:
            Problem: it did not end well.
        """
        self._leaks.begin()
        if self._is_running and self._context.has("Z15"):
            raise Problem("Already running")  # the flag is taken back only where all went well
        self._is_running = True
        if await download.attempt():
            await self._install(download.target)

    def _gives_up(self, problem: Problem, left: int, download: Download) -> bool:
        self._has_failed = True
        if self._context.has("Z13"):
            return False
        if self._context.has("Z14"):
            return True
        return left <= 0 or not problem.again or download.time_is_up

    async def _install(self, slot: Partition) -> None:
        """The image in the slot is good: the next boot starts it."""
        if self._context.has("Z41"):
            await self._claim(notes.claim_of(self._context, slot))
        await notes.keep_claim(self._context, slot)
        await switch(self._context, slot)

    def _progress(self) -> Callable[[int, int], None]:
        crash, told = crash_half_way(self._context), 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if total and done / total >= told + TELL_EVERY:
                told = done / total
                self._say(f"Flashing... {done * 100 // total}%")
            if done == total and self._context.has("Z62"):
                self._say_done()  # before anything of it is checked, let alone switched to
            crash(done, total)

        return progress

    def _say_done(self) -> None:
        if not self._done_said:
            self._say(DONE)
        self._done_said = True

    def _say(self, text: str) -> None:
        self._context.log.idf([info(TAG, text)])

    def _complain(self, text: str) -> None:
        self._context.log.idf([error(TAG, text)])
