"""The state of flash that a test starts from, and how a board is brought back to it cheaply.

The chip hashes, the host compares, and only sectors that differ cross the serial line.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_blynk_ota.errors import FirmwareError

SECTOR_BYTES = 0x1000
"""The least that NOR flash erases."""
BLOCK_BYTES = 0x10000
"""What a large region is compared in."""
FINE_BLOCKS = 2
"""With more blocks than this differing, it is another image: sector hashes would not pay."""

Md5 = Callable[[int, int], str]


class Flash(Protocol):
    """What a restore needs of a loader."""

    def md5(self, offset: int, size: int) -> str:
        """32 hex digits."""

    def erase(self, offset: int, size: int) -> None:
        """Whole sectors."""

    def write(self, offset: int, data: bytes) -> None:
        """Erase under ``data``, write it, compare."""


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes that must stand at ``offset``."""

    name: str
    offset: int
    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def __repr__(self) -> str:
        return f"Region({self.name} at {self.offset:#x}, {self.size} bytes)"


@dataclass(frozen=True, slots=True)
class Span:
    """Sectors that must be erased."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """Everything that must stand in flash.

    Raises:
        FirmwareError: pieces overlap, or do not start at a sector: writing one would erase part of
            another.
    """

    regions: tuple[Region, ...]
    erased: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        pieces: list[Region | Span] = sorted((*self.regions, *self.erased), key=lambda p: p.offset)
        for piece in pieces:
            torn = isinstance(piece, Span) and piece.size % SECTOR_BYTES
            if torn or piece.offset % SECTOR_BYTES:
                raise FirmwareError(f"baseline: {piece} is not made of whole 4 KB sectors")
        for one, other in itertools.pairwise(pieces):
            if one.offset + _whole_sectors(one.size) > other.offset:
                raise FirmwareError(f"baseline: {one.name} and {other.name} share a 4 KB sector")

    @property
    def end(self) -> int:
        """The first byte of flash after all of it."""
        pieces: list[Region | Span] = [*self.regions, *self.erased]
        return max((piece.offset + piece.size for piece in pieces), default=0)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        wrote_bytes: of flash, erased or written, uncompressed.
        serial_bytes: that crossed the serial line, both directions and the stub flasher included.
        seconds: wall time from the reset into the loader to the reset out of it.
        regions: names of the regions and spans that had changed.
    """

    wrote_bytes: int
    serial_bytes: int
    seconds: float
    regions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One piece of work of a restore; no data: erase."""

    name: str
    offset: int
    size: int
    data: bytes | None = None


def changes(baseline: Baseline, md5: Md5) -> list[Change]:
    """What differs from the baseline: erasures first, then writes by offset."""
    work = [
        Change(span.name, span.offset, span.size)
        for span in baseline.erased
        if md5(span.offset, span.size) != _md5(b"\xff" * span.size)
    ]
    for region in baseline.regions:
        for at, data in differing(region.offset, region.data, md5):
            work.append(Change(region.name, at, len(data), data))
    return work


def differing(offset: int, data: bytes, md5: Md5) -> list[tuple[int, bytes]]:
    """The runs of sectors of one region that do not hold ``data``."""
    pieces = [(offset, data)]
    found = _differing(pieces, md5)
    if found and len(data) > BLOCK_BYTES:
        found = _differing(_split(found, BLOCK_BYTES), md5)
    if len(found) <= FINE_BLOCKS:
        found = _differing(_split(found, SECTOR_BYTES), md5)
    return _merged(found)


def apply(work: Sequence[Change], flash: Flash) -> None:
    """Carry out the changes."""
    for change in work:
        if change.data is None:
            flash.erase(change.offset, change.size)
        else:
            flash.write(change.offset, change.data)


def _differing(pieces: Iterable[tuple[int, bytes]], md5: Md5) -> list[tuple[int, bytes]]:
    return [(at, data) for at, data in pieces if md5(at, len(data)) != _md5(data)]


def _split(pieces: Iterable[tuple[int, bytes]], step: int) -> Iterator[tuple[int, bytes]]:
    for at, data in pieces:
        for start in range(0, len(data), step):
            yield at + start, data[start : start + step]


def _merged(pieces: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    runs: list[tuple[int, bytes]] = []
    for at, data in pieces:
        if runs and runs[-1][0] + len(runs[-1][1]) == at:
            runs[-1] = (runs[-1][0], runs[-1][1] + data)
        else:
            runs.append((at, data))
    return runs


def _whole_sectors(size: int) -> int:
    return -(-size // SECTOR_BYTES) * SECTOR_BYTES


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
