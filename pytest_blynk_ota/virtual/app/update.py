"""The Arduino ``Update`` class: in which order an update touches the flash.

Follows Updater.cpp of arduino-esp32: nothing is erased at the start; a 4 KB
buffer; 64 KB are erased at once where aligned and as much is still to come, else 4 KB; blocks of
FF are not programmed; the first 16 bytes are held back and written last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from pytest_blynk_ota.virtual.chip.flash import BLOCK_BYTES, SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
    from pytest_blynk_ota.virtual.machine import Machine

HELD_BACK_BYTES = 16
"""ENCRYPTED_BLOCK_SIZE."""
IMAGE_MAGIC = 0xE9


class UpdateError(IntEnum):
    """UPDATE_ERROR_* of Update.h; the numbers that ``Error #N`` prints."""

    OK = 0
    READ = 3
    SPACE = 4
    SIZE = 5
    STREAM = 6
    MD5 = 7
    ACTIVATE = 9
    NO_PARTITION = 10
    ABORT = 12
    DECRYPT = 13


class Stream(Protocol):
    """Where an update comes from."""

    async def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes; ``b""``: the source has given up."""


async def roll_back(machine: Machine, ota: OtaOps) -> bool:
    """``Update.rollBack()``: boot the other slot, if an image begins there and verifies."""
    target = ota.next_update_partition()
    if target is None or machine.flash.read(target.offset, 1)[0] != IMAGE_MAGIC:
        return False
    return await ota.set_boot_partition(target)


class Update:
    """One update of the slot that does not run.

    Args:
        progress: called with bytes done and bytes in all, as ``onProgress()``.
        allocates: whether the heap has so many bytes in one piece.
    """

    def __init__(
        self,
        machine: Machine,
        ota: OtaOps,
        progress: Callable[[int, int], None] = lambda done, total: None,
        *,
        allocates: Callable[[int], bool] = lambda size: True,
    ) -> None:
        self._allocates = allocates
        self._machine = machine
        self._ota = ota
        self._size = self._progress = 0
        self._buffer = b""
        self._held_back = b""
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._expected_md5: str | None = None
        self._target = ota.next_update_partition()
        self.error = UpdateError.OK
        self._tell = progress

    def begin(self, size: int) -> bool:
        """Make ready for ``size`` bytes; touches no flash. Without memory for its buffer it fails
        and keeps no error: ``Error #0``."""
        if self._target is None:
            self.error = UpdateError.NO_PARTITION
        elif not 0 < size <= self._target.size:
            self.error = UpdateError.SIZE
        elif self._allocates(SECTOR_BYTES):
            self._size = size
        return self._size > 0

    def expect_md5(self, digest: str) -> None:
        """Check this digest (32 hex digits) in :meth:`end`."""
        self._expected_md5 = digest.lower()

    async def write_stream(self, source: Stream) -> int:
        """Write until done, refused or the source gives up; the number of bytes taken."""
        written = 0
        while self._progress < self._size:
            wanted = min(SECTOR_BYTES, self._size - self._progress) - len(self._buffer)
            data = await source.read(wanted)
            if not data:
                self.error = UpdateError.STREAM
                return written
            self._buffer += data
            if len(data) == wanted and not await self._write_buffer():
                return written
            written += len(data)
            self._tell(written, self._size)
        return written

    async def write(self, data: bytes) -> bool:
        """Take some bytes more; False: refused.

        As ``UpdateClass::write()``: what waits in the buffer is not counted, so that bytes beyond
        the size are taken up to a point, and stay in the buffer.
        """
        if len(data) > self._size - self._progress:
            self.error = UpdateError.SPACE
            return False
        while len(self._buffer) + len(data) > SECTOR_BYTES:
            room = SECTOR_BYTES - len(self._buffer)
            self._buffer, data = self._buffer + data[:room], data[room:]
            if not await self._write_buffer():
                return False
        self._buffer += data
        full = len(self._buffer) == self._size - self._progress
        return await self._write_buffer() if full else True

    async def end(self) -> bool:
        """Check the MD5, write the first 16 bytes, make the slot the one to boot."""
        if self.error != UpdateError.OK:
            return False
        if self._progress < self._size:
            self.error = UpdateError.ABORT
        elif self._expected_md5 not in (None, self._md5.hexdigest()):
            self.error = UpdateError.MD5
        else:
            await self._enable()
        return self.error == UpdateError.OK

    async def _enable(self) -> None:
        assert self._target is not None
        await self._machine.program(self._target.offset, self._held_back)
        if self._machine.flash.read(self._target.offset, 1)[0] != IMAGE_MAGIC:
            self.error = UpdateError.READ
        elif not await self._ota.set_boot_partition(self._target):
            self.error = UpdateError.ACTIVATE

    async def _write_buffer(self) -> bool:
        """Put one buffer into flash; False if the data cannot be an image."""
        assert self._target is not None
        data, self._buffer = self._buffer, b""
        skip = 0
        if self._progress == 0:
            if data[0] != IMAGE_MAGIC:  # taken for an encrypted image, and there is no key
                self.error = UpdateError.DECRYPT
                return False
            skip = HELD_BACK_BYTES
            self._held_back = data[:skip]
        self._md5.update(data)
        offset = self._target.offset + self._progress
        if erase := self._erase_size(self._target.offset, offset):
            await self._machine.erase(offset, erase)
        if data[skip:].strip(b"\xff"):
            await self._machine.program(offset + skip, data[skip:])
        self._progress += len(data)
        return True

    def _erase_size(self, start: int, offset: int) -> int:
        """Bytes to erase before the block at ``offset``; 0 if an earlier erase covers it."""
        aligned = offset % BLOCK_BYTES == 0
        if aligned and self._size - self._progress >= BLOCK_BYTES:
            return BLOCK_BYTES
        in_head = start % BLOCK_BYTES != 0 and offset < (start // BLOCK_BYTES + 1) * BLOCK_BYTES
        in_tail = offset >= (start + self._size) // BLOCK_BYTES * BLOCK_BYTES
        return SECTOR_BYTES if in_head or in_tail else 0
