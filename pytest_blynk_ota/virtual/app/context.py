"""What a firmware is given to live on, and what it is to the board that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from pytest_blynk_ota.virtual.boot.rom import POWER_ON

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.behaviour import Behaviour
    from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
    from pytest_blynk_ota.virtual.app.trouble import CrashPlan
    from pytest_blynk_ota.virtual.boot.bootloader import Started
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine


@dataclass(frozen=True, slots=True)
class Context:
    """One boot of one image on one board.

    Attributes:
        started: what the bootloader has started: image, partition, table.
        behaviour: what the image says that it does.
        crash: the trouble that it asks for; the firmware tells it each moment that it reaches.
        ota: esp_ota_ops for this boot.
        cause: of the reset before it: ``esp_reset_reason()``.
    """

    machine: Machine
    log: Log
    started: Started
    behaviour: Behaviour
    crash: CrashPlan
    ota: OtaOps
    cause: int = POWER_ON

    def has(self, bug: str) -> bool:
        """Whether a bug of ``firmware/bugs.py`` is planted in this image."""
        return bug in self.behaviour.bugs


Command = Callable[[Sequence[str]], Awaitable[None]]
"""A console command: gets the words behind its name and prints its own answer."""


class Firmware(Protocol):
    """An application: its life from the first line of its code to the next reset."""

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: the firmware restarts the chip.
            Panic: trouble that the image asks for.
        """

    def console(self) -> Mapping[str, Command]:
        """The commands that it takes over UART0, by name; empty: it never reads there."""
