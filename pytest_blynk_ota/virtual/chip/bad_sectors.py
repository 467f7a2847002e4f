"""Worn-out sectors: some of their bits stay zero, and the part does not tell.

Serial NOR has no error answer that drivers look at (ESP-IDF ``spi_flash_chip_generic.c`` waits for
the busy bit, no more), so an erase of such a sector "succeeds". Only what reads back shows it: one
bit of each 32 bytes, drawn by sector, is stuck.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.chip.operations import SECTOR_BYTES, programmed, sectors

STUCK_EVERY_BYTES = 32
"""An otadata entry has 32 bytes: none escapes."""


class BadSectors:
    """The bad sectors of one part.

    Args:
        offsets: of the sectors.
        size: of the flash in bytes.
        seed: of which bits are stuck.

    Raises:
        UsageError: an offset that is no sector's.
    """

    def __init__(self, offsets: Iterable[int], size: int, seed: str) -> None:
        self._size, self._seed = size, seed
        self._masks: dict[int, bytes] = {}
        for offset in offsets:
            self.add(offset)
        self._first = dict(self._masks)

    @property
    def numbers(self) -> list[int]:
        """Numbers of the bad sectors."""
        return sorted(self._masks)

    def add(self, offset: int) -> None:
        """One more. Raises UsageError if no sector begins there."""
        if offset % SECTOR_BYTES or not 0 <= offset < self._size:
            raise UsageError(
                f"bad_sectors: 0x{offset:x} is no sector: expected multiples of "
                f"0x{SECTOR_BYTES:x} below 0x{self._size:x}"
            )
        self._masks[offset // SECTOR_BYTES] = _mask(f"stuck {self._seed} {offset}")

    def forget(self) -> None:
        """Those that were added are good again; what stands there stays."""
        self._masks = dict(self._first)

    def limit(self, offset: int, data: bytes) -> bytes:
        """What reads back where ``data`` was to stand."""
        if self._masks.keys().isdisjoint(sectors(offset, len(data))):
            return data
        left = bytearray(data)
        for number in self._masks.keys() & set(sectors(offset, len(data))):
            start = max(number * SECTOR_BYTES, offset)
            stop = min((number + 1) * SECTOR_BYTES, offset + len(data))
            mask = self._masks[number][start % SECTOR_BYTES :][: stop - start]
            span = slice(start - offset, stop - offset)
            left[span] = programmed(bytes(left[span]), mask)
        return bytes(left)


def _mask(seed: str) -> bytes:
    draw = random.Random(seed)
    mask = bytearray(b"\xff" * SECTOR_BYTES)
    for start in range(0, SECTOR_BYTES, STUCK_EVERY_BYTES):
        mask[start + draw.randrange(STUCK_EVERY_BYTES)] ^= 1 << draw.randrange(8)
    return bytes(mask)
