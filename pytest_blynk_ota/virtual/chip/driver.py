"""How software changes the flash: in steps that take time, and may lose their power in the middle.

A cut can be armed: the power then goes away at one operation, counted from the start of a
recording, so that the flash is left as that recording says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.chip.flash import NorFlash
from pytest_blynk_ota.virtual.chip.operations import (
    BLOCK_BYTES,
    Operation,
    Tear,
    erase_steps,
    pages,
)

# Winbond W25Q32JV, typical values of its data sheet; device seconds.
BLOCK_ERASE_S = 0.150
SECTOR_ERASE_S = 0.045
PAGE_PROGRAM_S = 0.0004


@dataclass(eq=False)
class Cut:
    """A power cut to come.

    Attributes:
        at: operations of the flash that are done before it, counted since the rack started.
        tear: how the operation after those is torn; ``None``: it does not begin.
        after: whether the power goes away right after the last of them, not before the next.
        done: set when it has struck.
        sha256: of the flash that it left.
        struck_at: when, on the clock of ``time.monotonic``.
        hit: the operation that it hit, or stood before.
    """

    at: int
    tear: Tear | None = None
    after: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    sha256: str = ""
    struck_at: float = 0.0
    hit: Operation | None = None


class FlashDriver:
    """The way from a board's software to its flash.

    Args:
        lose_power: switches the board off.
    """

    def __init__(self, flash: NorFlash, clock: DeviceClock, lose_power: Callable[[], None]) -> None:
        self.cut: Cut | None = None
        self._flash = flash
        self._clock = clock
        self._lose_power = lose_power

    async def erase(self, offset: int, size: int) -> None:
        """See :class:`Machine`."""
        for start, length in erase_steps(offset, size):
            cost = BLOCK_ERASE_S if length == BLOCK_BYTES else SECTOR_ERASE_S
            await self._strike(Operation("erase", start, length))
            try:
                await self._clock.spend(cost)
            except asyncio.CancelledError:
                self._flash.erase_torn(start, length)
                raise
            self._flash.erase(start, length)
            await self._strike(None)

    async def program(self, offset: int, data: bytes) -> None:
        """See :class:`Machine`."""
        for start, length in pages(offset, len(data)):
            page = data[start - offset : start - offset + length]
            await self._strike(Operation("program", start, length, page))
            try:
                await self._clock.spend(PAGE_PROGRAM_S)
            except asyncio.CancelledError:
                self._flash.program_torn(start, page)
                raise
            self._flash.program(start, page)
            await self._strike(None)

    async def _strike(self, coming: Operation | None) -> None:
        """Switch off if the armed cut is due before this operation, or after the last one."""
        cut = self.cut
        if cut is None or self._flash.operations != cut.at or cut.after is not (coming is None):
            return
        self.cut = None
        if cut.tear is not None and coming is not None:
            if coming.is_erase:
                self._flash.erase_torn(coming.offset, coming.length, cut.tear)
            else:
                self._flash.program_torn(coming.offset, coming.data, cut.tear)
        cut.hit, cut.struck_at = coming, time.monotonic()
        self._lose_power()
        cut.sha256 = self._flash.sha256()
        cut.done.set()
        await asyncio.Event().wait()  # whoever ran this code has been cancelled
