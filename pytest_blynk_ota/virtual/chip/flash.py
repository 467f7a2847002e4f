"""NOR flash in a memory-mapped file: erase sets ones, program only clears.

Every change is an :class:`Operation` in the journal. A torn operation is what a power cut leaves:
a program that stopped has its first bytes in place; what a cut erase leaves is not specified by
any maker, so it is arbitrary bits here (a guess: parts clear a sector before they set it).
"""

from __future__ import annotations

import mmap
import os
import random
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, NamedTuple

from pytest_blynk_ota.errors import UsageError

FLASH_BYTES = 4 << 20
SECTOR_BYTES = 4096
BLOCK_BYTES = 64 << 10
PAGE_BYTES = 256
JOURNAL_LENGTH = 1 << 16
ERASED = b"\xff"


class Operation(NamedTuple):
    """One thing done to the flash.

    ``kind`` is ``erase``, ``program``, ``torn erase`` or ``torn program``; the span is in bytes.
    """

    kind: str
    offset: int
    length: int


class NorFlash:
    """The flash chip of one board.

    Args:
        path: the file that holds it, made if missing; ``None``: an unnamed temporary file, of
            which nothing can stay behind.
        size: bytes.
        seed: of the noise that torn erases leave.

    Raises:
        UsageError: the file exists with another size.
    """

    def __init__(self, path: Path | None = None, size: int = FLASH_BYTES, seed: str = "") -> None:
        self.size = size
        self.journal: deque[Operation] = deque(maxlen=JOURNAL_LENGTH)
        self._random = random.Random(seed)
        with open_flash_file(path, size) as file:
            self._cells = mmap.mmap(file.fileno(), size)

    def close(self) -> None:
        """Let go of the file."""
        self._cells.close()

    def read(self, offset: int, length: int) -> bytes:
        """Raises ValueError outside the flash."""
        self._check(offset, length)
        return self._cells[offset : offset + length]

    def erase(self, offset: int, size: int) -> None:
        """Set whole sectors to ones.

        Raises:
            ValueError: no whole sectors, or outside the flash.
        """
        self._check_sectors(offset, size)
        self._cells[offset : offset + size] = ERASED * size
        self.journal.append(Operation("erase", offset, size))

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are 0 in ``data``, page by page.

        Raises:
            ValueError: outside the flash.
        """
        self._and(offset, data)
        for start, length in pages(offset, len(data)):
            self.journal.append(Operation("program", start, length))

    def erase_torn(self, offset: int, size: int) -> None:
        """An erase that lost its power: arbitrary bits. Raises ValueError as :meth:`erase`."""
        self._check_sectors(offset, size)
        self._cells[offset : offset + size] = self._random.randbytes(size)
        self.journal.append(Operation("torn erase", offset, size))

    def program_torn(self, offset: int, data: bytes) -> None:
        """A program that lost its power: a random prefix. Raises ValueError outside the flash."""
        kept = self._random.randrange(len(data)) if data else 0
        self._and(offset, data[:kept])
        self.journal.append(Operation("torn program", offset, kept))

    def _and(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        old = int.from_bytes(self._cells[offset : offset + len(data)], "little")
        new = old & int.from_bytes(data, "little")
        self._cells[offset : offset + len(data)] = new.to_bytes(len(data), "little")

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{offset:#x}+{length:#x} is outside the flash of {self.size:#x}")

    def _check_sectors(self, offset: int, size: int) -> None:
        self._check(offset, size)
        if offset % SECTOR_BYTES or size % SECTOR_BYTES:
            raise ValueError(f"{offset:#x}+{size:#x} is not whole sectors of {SECTOR_BYTES:#x}")


def pages(offset: int, length: int) -> list[tuple[int, int]]:
    """The pieces of a span that lie in one 256-byte page each, as (offset, length)."""
    end = offset + length
    pieces = []
    while offset < end:
        stop = min(end, (offset // PAGE_BYTES + 1) * PAGE_BYTES)
        pieces.append((offset, stop - offset))
        offset = stop
    return pieces


def erase_steps(offset: int, size: int) -> list[tuple[int, int]]:
    """The erases that drivers make of a span of sectors: 64 KB where aligned, else 4 KB."""
    end = offset + size
    steps = []
    while offset < end:
        whole = offset % BLOCK_BYTES == 0 and end - offset >= BLOCK_BYTES
        step = BLOCK_BYTES if whole else SECTOR_BYTES
        steps.append((offset, step))
        offset += step
    return steps


def open_flash_file(path: Path | None, size: int) -> IO[bytes]:
    """Open ``path``, or an unnamed file; a new one is all ones."""
    if path is None:
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    else:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
    found = file.seek(0, os.SEEK_END)
    if found not in (0, size):
        file.close()
        raise UsageError(f"flash file {path} has {found} bytes; expected {size}, or no file at all")
    if found == 0:
        file.write(ERASED * size)
        file.flush()
    return file
