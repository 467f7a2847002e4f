"""Flash writes and reads in progress, as the serial loader steps through them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from enum import Enum

from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES, NorFlash, erase_steps


class Failure(Enum):
    """Why the loader refuses, with the second status byte of the ROM and of the stub.

    Sources: ROM codes of recorded sessions and ESP-IDF's serial protocol page; stub codes of
    esp-flasher-stub (``ESP_BAD_DATA_LEN`` …).
    """

    UNKNOWN = (0x05, 0xFF)
    LENGTH = (0x05, 0xC0)
    CHECKSUM = (0x07, 0xC1)
    NOT_BEGUN = (0x05, 0xC6)
    FLASH = (0x08, 0xC4)
    INFLATE = (0x0B, 0xC7)
    NOT_ENOUGH = (0x06, 0xC8)
    TOO_MUCH = (0x06, 0xC9)

    @property
    def rom(self) -> int:
        """The code that the ROM gives."""
        return self.value[0]

    @property
    def stub(self) -> int:
        """The code that the stub gives."""
        return self.value[1]


class Refused(Exception):
    """Raised when a request cannot be carried out; becomes the status of the answer."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.name)


class Writing:
    """One write, from BEGIN to END.

    Args:
        size: bytes that will be in flash.
        compressed: whether the blocks are one zlib stream.
        erase_first: the ROM erases everything at BEGIN, the stub as it goes.

    Raises:
        Refused: the span is outside the flash.
    """

    def __init__(
        self, flash: NorFlash, offset: int, size: int, *, compressed: bool, erase_first: bool
    ) -> None:
        if offset + size > flash.size:
            raise Refused(Failure.FLASH)
        self._flash = flash
        self._next = offset
        self._end = offset + size
        self._inflate = zlib.decompressobj() if compressed else None
        first = offset // SECTOR_BYTES * SECTOR_BYTES
        last = -(-self._end // SECTOR_BYTES) * SECTOR_BYTES
        self._erases: Iterator[tuple[int, int]] = iter(erase_steps(first, last - first))
        self._erased_to = first
        if erase_first:
            self._erase_up_to(last)

    @property
    def compressed(self) -> bool:
        """Whether the blocks are a zlib stream."""
        return self._inflate is not None

    def block(self, data: bytes) -> None:
        """Take one block; padding beyond the announced size is dropped. Raises Refused."""
        if self._inflate is None:
            self._program(data[: self._end - self._next])
            return
        try:
            plain = self._inflate.decompress(data, self._end - self._next + 1)
        except zlib.error as error:
            raise Refused(Failure.INFLATE) from error
        if len(plain) > self._end - self._next:
            raise Refused(Failure.TOO_MUCH)
        self._program(plain)

    def end(self) -> None:
        """Raises Refused if bytes are missing."""
        if self._next < self._end:
            raise Refused(Failure.NOT_ENOUGH)

    def _program(self, data: bytes) -> None:
        self._erase_up_to(self._next + len(data))
        self._flash.program(self._next, data)
        self._next += len(data)

    def _erase_up_to(self, end: int) -> None:
        while self._erased_to < end:
            offset, size = next(self._erases)
            self._flash.erase(offset, size)
            self._erased_to = offset + size


class Reading:
    """One fast read of the stub: blocks are sent ahead of their acknowledgements, then an MD5.

    Args:
        block: bytes in a frame.
        window: frames that may be unacknowledged.

    Raises:
        Refused: the span is outside the flash, or the numbers are senseless.
    """

    def __init__(self, flash: NorFlash, offset: int, length: int, block: int, window: int) -> None:
        if offset + length > flash.size:
            raise Refused(Failure.FLASH)
        if not block or not window:
            raise Refused(Failure.LENGTH)
        self._data = flash.read(offset, length)
        self._block = block
        self._ahead = window * block
        self._sent = 0
        self._acked = 0
        self.done = False

    def acknowledge(self, count: int) -> None:
        """The host has ``count`` bytes so far."""
        self._acked = count

    def frames(self) -> Iterator[bytes]:
        """The frames that may go out now."""
        while self._sent < len(self._data) and self._sent - self._acked < self._ahead:
            frame = self._data[self._sent : self._sent + self._block]
            self._sent += len(frame)
            yield frame
        if self._acked >= len(self._data) and not self.done:
            self.done = True
            yield hashlib.md5(self._data).digest()
