"""How the software of a virtual board ends a boot, and what it remembers over a reset."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pytest_blynk_ota.virtual.boot.rom import POWER_ON

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.machine import Machine


class Reset(Exception):
    """Raised when the software resets the chip. ``cause`` is the code that the ROM will print."""

    def __init__(self, cause: int) -> None:
        self.cause = cause
        super().__init__(f"reset 0x{cause:x}")


class Panic(Exception):
    """Raised when the application gets into trouble: a name of a row in ``app/ending.py``."""

    def __init__(self, how: str, pc: int | None = None, *, sleep_s: float = 0.0) -> None:
        self.how = how
        self.pc = pc
        self.sleep_s = sleep_s
        super().__init__(how)


_rtc_memories: WeakKeyDictionary[Machine, dict[str, int]] = WeakKeyDictionary()


def rtc_memory(machine: Machine) -> MutableMapping[str, int]:
    """The board's RTC_NOINIT memory: kept over every reset but power-on."""
    return _rtc_memories.setdefault(machine, {})


def forget_if_powered_on(machine: Machine, cause: int) -> None:
    """Clear the RTC memory at a power-on reset (the EN pin makes the same one)."""
    if cause == POWER_ON:
        _rtc_memories.pop(machine, None)
