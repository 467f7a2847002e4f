"""NOR flash in a memory-mapped file: erase sets ones, program only clears.

Every change is an :class:`Operation`. The last ones are in the journal, without their data; while
a recording is on, it keeps all of them with their data and a snapshot of what was there before, so
that the flash can be told as it was after each of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import random
import tempfile
import weakref
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.chip.bad_sectors import BadSectors
from pytest_blynk_ota.virtual.chip.operations import (
    BLOCK_BYTES,
    FLASH_BYTES,
    PAGE_BYTES,
    SECTOR_BYTES,
    Operation,
    Tear,
    erase_steps,
    pages,
    programmed,
    sectors,
)
from pytest_blynk_ota.virtual.chip.snapshot import Snapshot

__all__ = [
    "BLOCK_BYTES",
    "FLASH_BYTES",
    "PAGE_BYTES",
    "SECTOR_BYTES",
    "NorFlash",
    "Operation",
    "Recording",
    "Snapshot",
    "Tear",
    "erase_steps",
    "pages",
    "sectors",
]

JOURNAL_LENGTH = 4096
RECORDING_LENGTH = 1 << 17
"""Operations that a recording holds at most: several times all pages of the flash."""
ERASED = b"\xff"

Author = Callable[[], tuple[str, int, int]]
"""Who changes the flash now, in which boot, and the secure version that is burnt."""


class Recording:
    """What has been done since :meth:`NorFlash.record`.

    Attributes:
        base: the flash before it.
        start: how many operations came before it.
        operations: in their order, with their data.
        broken: why it is not complete; "" if it is.
    """

    def __init__(self, base: Snapshot, start: int) -> None:
        self.base = base
        self.start = start
        self.operations: list[Operation] = []
        self.broken = ""

    def add(self, operation: Operation) -> None:
        """Keep one more, unless there are too many."""
        if len(self.operations) >= RECORDING_LENGTH:
            self.broken = f"more than {RECORDING_LENGTH} operations"
        else:
            self.operations.append(operation)


class NorFlash:
    """The flash chip of one board.

    Args:
        path: the file that holds it, made if missing; ``None``: an unnamed temporary file, of
            which nothing can stay behind.
        size: bytes.
        seed: of what torn operations and bad sectors leave.
        bad_sectors: offsets of sectors with bits that stay zero.
        author: asked at each change.

    Attributes:
        journal: the last operations, without their data.
        operations: how many there were.
        recording: the one under way, if any.

    Raises:
        UsageError: the file cannot be used, or a bad sector is none.
    """

    def __init__(
        self,
        path: Path | None = None,
        size: int = FLASH_BYTES,
        seed: str = "",
        *,
        bad_sectors: Iterable[int] = (),
        author: Author = lambda: ("", 0, 0),
    ) -> None:
        self.size = size
        self.journal: deque[Operation] = deque(maxlen=JOURNAL_LENGTH)
        self.operations = 0
        self.recording: Recording | None = None
        self.bad = BadSectors(bad_sectors, size, seed)
        self._seed = seed
        self._author = author
        self._wear = array("L", bytes(array("L").itemsize * (size // SECTOR_BYTES)))
        self._snapshots: weakref.WeakSet[Snapshot] = weakref.WeakSet()
        with open_flash_file(path, size) as file:
            self._cells = mmap.mmap(file.fileno(), size)
        for number in self.bad.numbers:
            self._put(number * SECTOR_BYTES, self._sector(number))

    def close(self) -> None:
        """Let go of the file."""
        self._cells.close()

    def read(self, offset: int, length: int) -> bytes:
        """Raises ValueError outside the flash."""
        self._check(offset, length)
        return self._cells[offset : offset + length]

    def sha256(self) -> str:
        """Of the whole content."""
        return hashlib.sha256(self._cells).hexdigest()

    # ---- what a driver does

    def erase(self, offset: int, size: int) -> None:
        """Set whole sectors to ones.

        Raises:
            ValueError: no whole sectors, or outside the flash.
        """
        self._check_sectors(offset, size)
        self._change(offset, ERASED * size)
        self._wear_out(offset, size)
        self._note("erase", offset, size)

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are 0 in ``data``, page by page.

        Raises:
            ValueError: outside the flash.
        """
        self._check(offset, len(data))
        self._change(offset, programmed(self.read(offset, len(data)), data))
        for start, length in pages(offset, len(data)):
            self._note("program", start, length, data[start - offset :][:length])

    def erase_torn(self, offset: int, size: int, tear: Tear | None = None) -> None:
        """An erase that lost its power. Raises ValueError as :meth:`erase`."""
        self._check_sectors(offset, size)
        how = tear or Tear(f"{self._seed} {self.operations}")
        left = self.bad.limit(offset, how.of_erase(self.read(offset, size)))
        self._change(offset, left)
        self._wear_out(offset, size)
        self._note("torn erase", offset, size, left)

    def program_torn(self, offset: int, data: bytes, tear: Tear | None = None) -> None:
        """A program of one page that lost its power. Raises ValueError outside the flash."""
        self._check(offset, len(data))
        how = tear or Tear(f"{self._seed} {self.operations}")
        part = how.of_program(data) if data else b""
        self._change(offset, programmed(self.read(offset, len(part)), part))
        self._note("torn program", offset, len(part), part)

    # ---- what the rack does

    def wear(self) -> Sequence[int]:
        """Erases of each sector since the rack started."""
        return tuple(self._wear)

    def snapshot(self) -> Snapshot:
        """The flash as it is now; dropped when nobody holds it any more."""
        made = Snapshot(self.size, self._sector)
        self._snapshots.add(made)
        return made

    def load(self, content: Snapshot | bytes) -> list[int]:
        """Replace the content by a snapshot, or by a dump of the whole flash.

        That is no operation of the chip: it wears nothing out, and a recording is broken by it.

        Returns:
            Numbers of the sectors that were not so already.

        Raises:
            ValueError: the dump has another size.
        """
        if isinstance(content, Snapshot):
            numbers, sector = content.changed(), content.sector
        else:
            dump = bytes(content)
            if len(dump) != self.size:
                raise ValueError(f"a dump of {len(dump)} bytes for a flash of {self.size}")
            numbers = list(range(self.size // SECTOR_BYTES))

            def sector(number: int) -> bytes:
                return dump[number * SECTOR_BYTES :][:SECTOR_BYTES]

        differing = [number for number in numbers if sector(number) != self._sector(number)]
        for number in differing:
            self._change(number * SECTOR_BYTES, sector(number))
        if self.recording is not None and differing:
            self.recording.broken = "another content was loaded into the flash"
        return differing

    def damage(self, offset: int, size: int) -> None:
        """Noise in the place of what stood there, as after radiation or years in the heat.

        No operation of the chip: it wears nothing out, and a recording is broken by it.

        Raises:
            ValueError: outside the flash.
        """
        self._check(offset, size)
        noise = random.Random(f"damage {self._seed} {offset}").randbytes(size)
        self._change(offset, noise)
        if self.recording is not None:
            self.recording.broken = "the flash was damaged"

    def wear_out(self, offset: int) -> None:
        """From now on a sector is bad, until :meth:`heal`. Raises UsageError if it is none."""
        self.bad.add(offset)
        number = offset // SECTOR_BYTES
        self._change(offset, self._sector(number))

    def heal(self) -> None:
        """The sectors that :meth:`wear_out` made bad are good again."""
        self.bad.forget()

    def record(self) -> Recording:
        """Begin a recording; one that was under way ends."""
        self.recording = Recording(self.snapshot(), self.operations)
        return self.recording

    def stop_recording(self) -> None:
        """Keep no more data. Who holds the recording keeps it."""
        self.recording = None

    # ---- inside

    def _change(self, offset: int, data: bytes) -> None:
        """Every change of the cells goes through here, so that no snapshot misses one."""
        contents: dict[int, bytes] = {}
        for snapshot in self._snapshots:
            snapshot.keep(sectors(offset, len(data)), contents)
        self._put(offset, data)

    def _put(self, offset: int, data: bytes) -> None:
        self._cells[offset : offset + len(data)] = self.bad.limit(offset, data)

    def _sector(self, number: int) -> bytes:
        return self._cells[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]

    def _wear_out(self, offset: int, size: int) -> None:
        for number in sectors(offset, size):
            self._wear[number] += 1

    def _note(self, kind: str, offset: int, length: int, data: bytes = b"") -> None:
        by = self._author()
        self.operations += 1
        self.journal.append(Operation(kind, offset, length, b"", *by))
        if self.recording is not None:
            self.recording.add(Operation(kind, offset, length, data, *by))

    def _check(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"{offset:#x}+{length:#x} is outside the flash of {self.size:#x}")

    def _check_sectors(self, offset: int, size: int) -> None:
        self._check(offset, size)
        if offset % SECTOR_BYTES or size % SECTOR_BYTES:
            raise ValueError(f"{offset:#x}+{size:#x} is not whole sectors of {SECTOR_BYTES:#x}")


def open_flash_file(path: Path | None, size: int) -> IO[bytes]:
    """Open ``path``, or an unnamed file; a new one is all ones.

    A named file is locked until all that was made of the opened one, such as a mapping, is closed:
    two boards that write to one flash would both boot what neither has written.

    Raises:
        UsageError: it has another size, is another board's, or cannot be opened.
    """
    if path is None:
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    else:
        file = _open_and_lock(path)
    found = file.seek(0, os.SEEK_END)
    if found not in (0, size):
        file.close()
        raise UsageError(f"flash file {path} has {found} bytes; expected {size}, or no file at all")
    if found == 0:
        file.write(ERASED * size)
        file.flush()
    return file


def _open_and_lock(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
    except OSError as error:
        raise UsageError(f"flash file {path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise UsageError(
            f"flash file {path} is in use by another board, perhaps of a rack that still runs"
        ) from error
    return file
