"""BlynkTimer: what is to be done later, by the loop of the firmware itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.chip.clock import DeviceClock

Action = Callable[[], Awaitable[None]]
FOREVER = float("inf")


class Timers:
    """Single-shot timers. A firmware that blocks does not live them: they wait until it does.

    Attributes:
        busy: held by what ``loop()`` is in the middle of, a timer or a command: one at a time, and
            whatever happens meanwhile counts when it is over.
    """

    def __init__(self, clock: DeviceClock) -> None:
        self.busy = asyncio.Lock()
        self._clock = clock
        self._waiting: list[tuple[float, Action]] = []
        self._added = asyncio.Event()

    def after(self, seconds: float, action: Action) -> None:
        """Have ``action`` called in so many device seconds, or later."""
        self._waiting.append((self._clock.now() + seconds, action))
        self._added.set()

    async def live(self) -> NoReturn:
        """Call what is due, and later what becomes due, as ``BlynkTimer.run()`` in a loop does."""
        while True:
            await self._run()
            self._added.clear()
            due = min((due for due, _ in self._waiting), default=FOREVER)
            with suppress(TimeoutError):
                async with self._clock.within(self._wall_seconds(due)):
                    await self._added.wait()

    def _wall_seconds(self, due: float) -> float | None:
        return None if due == FOREVER else max(due - self._clock.now(), 0.0) / self._clock.speed

    async def _run(self) -> None:
        while self._ready() is not None:
            async with self.busy:
                ready = self._ready()
                if ready is not None:
                    self._waiting.remove(ready)
                    await ready[1]()

    def _ready(self) -> tuple[float, Action] | None:
        """The first one set of those that are due."""
        now = self._clock.now()
        return next((timer for timer in self._waiting if timer[0] <= now), None)
