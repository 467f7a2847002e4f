"""Uploads, flash writes and flash reads in progress, as the serial loader steps through them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

from pytest_blynk_ota.virtual.chip.flash import BLOCK_BYTES, SECTOR_BYTES, NorFlash
from pytest_blynk_ota.virtual.chip.registers import Registers
from pytest_blynk_ota.virtual.loader.requests import Failure, Refused

ERASED_SECTOR = b"\xff" * SECTOR_BYTES


class RamUpload:
    """One upload into RAM, from MEM_BEGIN on. Sizes are bytes."""

    def __init__(self, registers: Registers, size: int, address: int) -> None:
        self._registers = registers
        self._address = address
        self.missing = size

    def block(self, data: bytes) -> None:
        """Take one block."""
        self._registers.load(self._address, data)
        self._address += len(data)
        self.missing -= len(data)


class Erasing:
    """The sectors under one write, erased as far as it needs them.

    The stub leaves sectors alone that are blank, until it meets the first that is not; from there
    it erases all (esp-flasher-stub ``s_conditional_erase_next``).
    """

    def __init__(self, flash: NorFlash, offset: int, size: int, *, look: bool) -> None:
        self._flash = flash
        self._look = look
        self._next = offset // SECTOR_BYTES * SECTOR_BYTES
        self._end = -(-(offset + size) // SECTOR_BYTES) * SECTOR_BYTES

    def step(self) -> None:
        """Erase the next block or sector, if any is left. Raises Refused outside the flash."""
        left = self._end - self._next
        if left <= 0:
            return
        if self._next + SECTOR_BYTES > self._flash.size:
            raise Refused(Failure.FLASH)
        if self._look and self._flash.read(self._next, SECTOR_BYTES) == ERASED_SECTOR:
            self._next += SECTOR_BYTES
            return
        self._look = False
        whole = self._next % BLOCK_BYTES == 0 and left >= BLOCK_BYTES
        size = BLOCK_BYTES if whole else SECTOR_BYTES
        self._flash.erase(self._next, size)
        self._next += size

    def up_to(self, end: int) -> None:
        """Erase until everything before ``end`` is."""
        while self._next < min(end, self._end):
            self.step()


class Writing:
    """One write, from BEGIN to END.

    Args:
        size: bytes that will be in flash.
        compressed: whether the blocks are one zlib stream.
        erase_first: the ROM erases everything at BEGIN, the stub as it goes.

    Attributes:
        missing: bytes that have not come yet.

    Raises:
        Refused: the write cannot begin there.
    """

    def __init__(
        self, flash: NorFlash, offset: int, size: int, *, compressed: bool, erase_first: bool
    ) -> None:
        self._flash = flash
        self._next = offset
        self.missing = size
        self._inflate = zlib.decompressobj() if compressed else None
        self._erasing = Erasing(flash, offset, size, look=not erase_first)
        if erase_first:
            if offset + size > flash.size:
                raise Refused(Failure.FLASH)
            self._erasing.up_to(offset + size)
        else:
            self._erasing.step()

    @property
    def compressed(self) -> bool:
        """Whether the blocks are a zlib stream."""
        return self._inflate is not None

    def block(self, data: bytes) -> None:
        """Take one block; padding beyond the announced size is dropped. Raises Refused."""
        if self._inflate is None:
            self._program(data[: self.missing])
            return
        try:
            plain = self._inflate.decompress(data, self.missing + 1)
        except zlib.error as error:
            adler = "incorrect data check" in str(error)
            raise Refused(Failure.ADLER if adler else Failure.INFLATE) from error
        if len(plain) > self.missing:
            raise Refused(Failure.TOO_MUCH)
        self._program(plain)

    def _program(self, data: bytes) -> None:
        end = self._next + len(data)
        self._erasing.up_to(end)
        try:
            self._flash.program(self._next, data)
        except ValueError as error:  # outside the flash
            raise Refused(Failure.FLASH) from error
        self._next = end
        self.missing -= len(data)


class Reading:
    """One fast read of the stub: blocks are sent ahead of their acknowledgements, then an MD5.

    Args:
        block: bytes in a frame.
        window: frames that may be unacknowledged.
    """

    def __init__(self, data: bytes, block: int, window: int) -> None:
        self._data = data
        self._block = block
        self._ahead = window * block
        self._sent = 0
        self._acked = 0
        self.done = False

    def acknowledge(self, count: int) -> None:
        """The host has ``count`` bytes so far; it may be late, and skip some of its counts."""
        self._acked = max(self._acked, count)

    def frames(self) -> Iterator[bytes]:
        """The frames that may go out now."""
        while self._sent < len(self._data) and self._sent - self._acked < self._ahead:
            frame = self._data[self._sent : self._sent + self._block]
            self._sent += len(frame)
            yield frame
        if self._acked >= len(self._data) and not self.done:
            self.done = True
            yield hashlib.md5(self._data).digest()
