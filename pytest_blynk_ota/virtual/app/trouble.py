"""When an image gets into the trouble that it asks for, and whether it still does.

A firmware calls ``crash.at(moment)`` where its code reaches a moment; what then happens is the
matter of :mod:`pytest_blynk_ota.virtual.app.ending`. The moments, in the order of a boot and an
update:

================  ================================================================
``start``         first line of ``setup()``; an Arduino has confirmed by then
``wifi``          the radio is switched on: the highest current that a chip draws
``before_login``  on the network, not yet at its cloud
``after_report``  logged in, version told, not yet confirmed
``after_confirm`` right after the image was marked valid
``download``      half of an update is written
``after_s``       by the clock, ``after_s`` after the application's start
================  ================================================================
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.virtual.boot.endings import Panic, rtc_memory

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.behaviour import Behaviour
    from pytest_blynk_ota.virtual.machine import Machine


class CrashPlan:
    """What the image wants to happen to it, and how often that still is."""

    def __init__(self, machine: Machine, behaviour: Behaviour, key: str) -> None:
        self._crash = behaviour.crash
        self._machine = machine
        self._memory = rtc_memory(machine)
        self._key = key

    def at(self, moment: str) -> None:
        """The code reached this moment.

        Raises:
            Panic: and the image crashes here. Its connections are ghosts by then: no code of the
                firmware closes them.
        """
        if self._crash is not None and self._crash.when == moment and self._left():
            self._memory[self._key] = self._memory.get(self._key, 0) + 1
            self.now(self._crash.how, sleep_s=self._crash.sleep_s)

    def now(self, how: str, *, sleep_s: float = 0.0) -> NoReturn:
        """Trouble of the firmware's own making.

        Raises:
            Panic: always.
        """
        self._machine.network.drop()
        raise Panic(how, sleep_s=sleep_s)

    async def strike(self) -> NoReturn:
        """Wait for the crash that comes by the clock; for ever if there is none.

        Raises:
            Panic: it came.
        """
        if self._crash is not None and self._crash.when == "after_s":
            await self._machine.clock.sleep(self._crash.after_s)
            self.at("after_s")
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets was set")

    def _left(self) -> bool:
        assert self._crash is not None
        done = self._memory.get(self._key, 0)
        return self._crash.times is None or done < self._crash.times
