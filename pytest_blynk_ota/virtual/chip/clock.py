"""Device time: a virtual board lives ``speed`` times as fast as the wall clock.

It stands still while a busy host does not let its process run. A real board's time-outs do not come
early because of somebody's compiler; a board's whose process slept through all that came would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

FLOOR_S = 0.25  # no scaled time-out falls below this many wall seconds
GRAIN_S = 0.002  # wall seconds of debt that are worth one trip through the event loop
CREDIT_S = 0.02  # wall seconds by which a late wake-up may shorten the spending after it

BEAT_S = 0.01  # wall seconds from one sign of life of the process to the next
GRACE_S = 0.02  # wall seconds by which such a sign may be late before time stands still


class Pulse:
    """How long one event loop has not had its turn.

    Attributes:
        _missed: wall seconds up to the last beat.
    """

    _all: ClassVar[MutableMapping[asyncio.AbstractEventLoop, Pulse]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._missed, self._last = 0.0, time.monotonic()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Pulse:
        """The one pulse of a loop, begun when it is first asked for."""
        if loop not in cls._all:
            cls._all[loop] = cls()
            loop.call_soon(cls._all[loop]._beat)
        return cls._all[loop]

    def missed(self, t: float) -> float:
        """Wall seconds that it stood still up to ``t``; those of a beat that is due, too."""
        return self._missed + max(t - self._last - BEAT_S - GRACE_S, 0.0)

    def _beat(self) -> None:
        t = time.monotonic()
        self._missed, self._last = self.missed(t), t
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)


class DeviceClock:
    """The clock of one board.

    Args:
        speed: device seconds per wall second; more than 0.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be more than 0, not {speed}")
        self.speed = speed
        self._start = time.monotonic()
        self._owed = 0.0
        self._pulse: Pulse | None = None
        self._missed_before = self._stood = 0.0

    def now(self) -> float:
        """Device seconds since this clock was made."""
        t = time.monotonic()  # once: between two looks the process may stand still
        return (t - self._start - self._stood_still(t)) * self.speed

    def _stood_still(self, t: float) -> float:
        """Wall seconds up to ``t`` that do not count: in an event loop only."""
        try:
            pulse = Pulse.of(asyncio.get_running_loop())
        except RuntimeError:
            return self._stood
        if pulse is not self._pulse:
            self._pulse, self._missed_before = pulse, pulse.missed(t) - self._stood
        self._stood = pulse.missed(t) - self._missed_before
        return self._stood

    async def sleep(self, device_s: float) -> None:
        """Wait; the fixed delays of firmware go through here (scaled, no floor)."""
        await self.pause(max(device_s, 0.0) / self.speed)

    async def pause(self, wall_s: float) -> None:
        """Wait so many wall seconds in which the process had its turns."""
        if wall_s <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with self.within(wall_s):
                await asyncio.Event().wait()

    @asynccontextmanager
    async def within(self, wall_s: float | None) -> AsyncIterator[asyncio.Timeout]:
        """``asyncio.timeout`` in which only time counts that the process had: what came while it
        stood still is read before the time is over.

        Raises:
            TimeoutError: the time is over.
        """
        loop = asyncio.get_running_loop()
        due = None if wall_s is None else self.now() + wall_s * self.speed
        async with asyncio.timeout(None) as limit:
            alarm: asyncio.TimerHandle | None = None

            def look() -> None:
                nonlocal alarm
                assert due is not None
                left = (due - self.now()) / self.speed
                if left > 0:
                    alarm = loop.call_later(left, look)
                else:
                    limit.reschedule(loop.time())

            if wall_s is not None:
                alarm = loop.call_later(wall_s, look)
            try:
                yield limit
            finally:
                if alarm is not None:
                    alarm.cancel()

    async def first(
        self, tasks: Collection[asyncio.Future[Any]], wall_s: float | None
    ) -> set[asyncio.Future[Any]]:
        """``asyncio.wait`` for the first of some, in which only time counts that the process had.

        Returns:
            Those that are done by then; they are not cancelled otherwise.
        """
        with suppress(TimeoutError):
            async with self.within(wall_s):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return {task for task in tasks if task.done()}

    async def spend(self, device_s: float) -> None:
        """Let work take time: small amounts add up and are slept off together."""
        self._owed += device_s / self.speed
        if self._owed < GRAIN_S:
            return
        begun = time.monotonic()
        try:
            await asyncio.sleep(self._owed)
        finally:
            self._owed = max(self._owed - (time.monotonic() - begun), -CREDIT_S)

    def timeout(self, device_s: float) -> float:
        """Wall seconds for :meth:`within`: scaled, never below 0.25 s."""
        return max(device_s / self.speed, FLOOR_S)
