"""What is done to NOR flash, as data: erases and programs, whole and torn.

Nobody specifies what a torn operation leaves. As models: of a program either a prefix is in place,
or, of a short one, any of its bits are; of an erase either arbitrary bits are left, or some of the
bits that had been cleared have come up again. Which, is drawn from a seed.
"""

from __future__ import annotations

import random
from typing import NamedTuple

FLASH_BYTES = 4 << 20
SECTOR_BYTES = 4096
BLOCK_BYTES = 64 << 10
PAGE_BYTES = 256
SHORT_BYTES = 32
"""A program of at most this many bytes may be torn between bits: an otadata entry is that long."""


class Operation(NamedTuple):
    """One thing done to the flash.

    Attributes:
        kind: ``erase``, ``program``, ``torn erase`` or ``torn program``.
        offset, length: the span in bytes; of a torn program, as far as it may have come.
        data: kept while a recording is on: what was programmed; of a torn erase, what it left.
        author: whose doing it was: ``rom``, ``bootloader``, ``app`` or ``loader``.
        boot: number of the boot, from 1.
        secure_version: burnt into the eFuses at that time.
    """

    kind: str
    offset: int
    length: int
    data: bytes = b""
    author: str = ""
    boot: int = 0
    secure_version: int = 0

    @property
    def is_erase(self) -> bool:
        """Whether it is an erase, torn or not."""
        return self.kind.endswith("erase")

    @property
    def is_torn(self) -> bool:
        """Whether the power went away in it."""
        return self.kind.startswith("torn")

    @property
    def sectors(self) -> range:
        """Numbers of the sectors that it touches."""
        return sectors(self.offset, self.length)


class Tear(NamedTuple):
    """How an operation is torn; the same tear of the same operation always leaves the same.

    Attributes:
        seed: of what is drawn.
        variant: odd and even ones differ in kind; see the module.
    """

    seed: str
    variant: int = 1

    def of_program(self, data: bytes) -> bytes:
        """What of ``data`` is in place when the power goes away; never all of it."""
        draw = random.Random(f"program {self.seed} {self.variant}")
        if len(data) > SHORT_BYTES or (self.variant % 2 and len(data) > 1):
            return data[: draw.randrange(1, len(data))]
        left = _either(data, draw.randbytes(len(data)))  # a bit that is one is not yet cleared
        return left if left != data else b"\xff" * len(data)

    def of_erase(self, old: bytes) -> bytes:
        """What an erase of ``old`` leaves."""
        draw = random.Random(f"erase {self.seed} {self.variant}")
        noise = draw.randbytes(len(old))
        if self.variant % 2:
            return noise
        for _ in range(draw.randrange(3)):  # half, a quarter or an eighth of the bits have come up
            noise = _both(noise, draw.randbytes(len(old)))
        return _either(old, noise)


def _either(one: bytes, other: bytes) -> bytes:
    return _integer(int.from_bytes(one, "little") | int.from_bytes(other, "little"), len(one))


def _both(one: bytes, other: bytes) -> bytes:
    return _integer(int.from_bytes(one, "little") & int.from_bytes(other, "little"), len(one))


def _integer(value: int, length: int) -> bytes:
    return value.to_bytes(length, "little")


def programmed(old: bytes, data: bytes) -> bytes:
    """What stands there after ``data`` has been programmed over ``old`` of the same length."""
    return _both(old, data)


def sectors(offset: int, length: int) -> range:
    """Numbers of the sectors that a span touches."""
    return range(offset // SECTOR_BYTES, -(-(offset + length) // SECTOR_BYTES))


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
