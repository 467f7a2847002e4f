"""New Edgent's state and its statistics (BlynkEdgent.h, BlynkSysUtils.h)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.boot.endings import rtc_memory

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.edgent_log import Say
    from pytest_blynk_ota.virtual.machine import Machine

RESTARTS, GRACEFUL = "edgent restarts", "edgent graceful"


class State:
    """One word; the example prints each change of it."""

    def __init__(self, context: Context, say: Say) -> None:
        self._log = context.log
        self._say = say
        self._changed = asyncio.Event()
        self.now = "INIT"

    def set(self, state: str, *, again: bool = False) -> None:
        """Go into a state, or into the same one ``again``."""
        if state != self.now or again:
            self._say("I", "BlynkEdgent.h", f"{self.now} => {state}")
            self._log.blynk(f"State: {state}")
            self.now = state
            self._changed.set()

    async def left(self, state: str) -> None:
        """Wait until it is another one."""
        while self.now == state:
            self._changed.clear()
            await self._changed.wait()


class Stats:
    """``SystemStats``: in memory that a restart leaves alone."""

    def __init__(self, machine: Machine) -> None:
        self._memory = rtc_memory(machine)
        self._memory[RESTARTS] = self._memory.get(RESTARTS, -1) + 1
        self.network_drops = self.cloud_drops = 0

    @property
    def total(self) -> int:
        """Restarts since the power came."""
        return self._memory.get(RESTARTS, 0)

    @property
    def graceful(self) -> int:
        """Of those, the ones that it made itself."""
        return self._memory.get(GRACEFUL, 0)

    def count_graceful(self) -> None:
        """It restarts of its own will."""
        self._memory[GRACEFUL] = self.graceful + 1

    def lost(self, *, network: bool) -> None:
        """The link went, with its network or alone."""
        if network:
            self.network_drops += 1
        else:
            self.cloud_drops += 1

    def clear(self) -> None:
        """``drop_stats``."""
        self._memory[RESTARTS] = self._memory[GRACEFUL] = 0
        self.network_drops = self.cloud_drops = 0
