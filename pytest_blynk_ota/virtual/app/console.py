"""Old Edgent's serial console, as far as it asks and restarts (Console.h, blynk-library 1.4.0).

Settings are put into NVS by the rig, so ``connect``, ``config`` and ``wifi`` are not here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.virtual.boot.bootlog import SOFTWARE_CPU
from pytest_blynk_ota.virtual.boot.endings import Reset

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.behaviour import Behaviour
    from pytest_blynk_ota.virtual.boot.bootloader import Started
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine


class Console:
    """Reads lines from the UART and answers them."""

    def __init__(self, machine: Machine, log: Log, started: Started, behaviour: Behaviour) -> None:
        self._machine = machine
        self._log = log
        self._started = started
        self._behaviour = behaviour

    async def run(self) -> NoReturn:
        """Answer until the next reset.

        Raises:
            Reset: the command was ``reboot``.
        """
        while True:
            words = (await self._machine.read_line()).split()
            if words == ["reboot"]:
                raise Reset(SOFTWARE_CPU)
            if words == ["devinfo"]:
                self._log.text(self._device())
            elif words == ["firmware", "info"]:
                self._log.text(*self._firmware())
            elif words:
                self._log.text("Available commands: reboot, devinfo, firmware info")

    def _device(self) -> str:
        mine = self._behaviour
        fields = {
            "board": "virtual board",
            "tmpl_id": mine.fw_type,
            "fw_type": mine.fw_type,
            "fw_ver": mine.version,
        }
        return json.dumps(fields, separators=(",", ":"))

    def _firmware(self) -> tuple[str, ...]:
        mine = self._behaviour
        return (
            f" Version:   {mine.version} (build {mine.build})",
            f" Type:      {mine.fw_type}",
            f" Partition: {self._started.partition.label}",
            f" App MD5:   {self._started.image.md5}",
        )
