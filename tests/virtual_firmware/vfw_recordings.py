"""The boards of the recorded transcripts, built again: bootloader, table, slots, otadata.

Sizes and addresses of segments are those that the recordings name; what is in them is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vfw_peer import FakeMachine

from pytest_blynk_ota.firmware import loaderinfo
from pytest_blynk_ota.firmware.behaviour import Behaviour
from pytest_blynk_ota.firmware.chips import CHIPS, Chip
from pytest_blynk_ota.firmware.image import AppDesc, Segment, build_image
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import TABLE_OFFSET, Partition, PartitionTable
from pytest_blynk_ota.virtual.boot.run import execute
from pytest_blynk_ota.virtual.chip.flash import FLASH_BYTES, SECTOR_BYTES

DAY = "Nov 23 2026 "
LOADED = b"\x1b[0;32mI (%lu) %s: Loaded app from partition at offset 0x%x\x1b[0m\0"
PLAIN_LOADED = LOADED.replace(b"\x1b[0;32m", b"").replace(b"\x1b[0m", b"")
PROJECT_NAME = b"Project name:     %s"
HEADER_MODE_CLOCK_AT = 3


@dataclass(frozen=True)
class Loader:
    """A recorded bootloader: its load segments and what its log is like."""

    chip: str
    idf: str
    segments: Sequence[tuple[int, int]]
    entry: int
    built: str = ""
    verbose: bool = True
    coloured: bool = False
    rollback: bool = False
    header3: int = 0x20

    def build(self) -> bytes:
        """An image that loads at the same places and says the same of itself."""
        head = loaderinfo.build(self.idf, self.built)
        if not self.built:
            head = head.replace(loaderinfo.COMPILED, b"\0" * len(loaderinfo.COMPILED))
        text = (LOADED if self.coloured else PLAIN_LOADED) if self.verbose else b""
        first, *others = self.segments
        data = (head + text).ljust(first[1], b"\x5a")
        segments = [Segment(first[0], data)]
        segments += [Segment(address, b"\x5a" * size) for address, size in others]
        image = bytearray(build_image(CHIPS[self.chip], segments, self.entry))
        image[HEADER_MODE_CLOCK_AT] = self.header3
        image[-32:] = hashlib.sha256(image[:-32]).digest()
        return bytes(image)


@dataclass(frozen=True)
class App:
    """A recorded application."""

    chip: str
    desc: AppDesc
    segments: Sequence[tuple[int, int]]
    verbose: bool = True
    behaviour: dict[str, Any] = field(default_factory=dict)

    def build(self) -> bytes:
        """An image that is mapped and loaded at the same places."""
        chip = CHIPS[self.chip]
        (address, size), *others = self.segments
        text = PROJECT_NAME if self.verbose else b""
        segments = [Segment(address, (self.desc.build() + text).ljust(size, b"\x5a"))]
        segments += [Segment(place, b"\x5a" * size) for place, size in others]
        if self.behaviour:
            told = {"log": "info" if self.verbose else "quiet", **self.behaviour}
            segments.append(Segment(0, Behaviour.from_data(told).to_segment()))
        code = next(place for place, _ in reversed(self.segments) if place in chip.irom)
        return build_image(chip, segments, code)


def elf(digits: str) -> bytes:
    """A hash that begins so."""
    return bytes.fromhex(digits.ljust(64, "0"))


def row(label: str, kind: int, subtype: int, offset: int, size: int) -> Partition:
    return Partition(label, kind, subtype, offset, size)


_PHY = row("phy_init", 1, 1, 0xF000, 0x1000)
FACTORY = PartitionTable(
    (
        row("nvs", 1, 2, 0x9000, 0x6000),
        _PHY,
        row("factory", 0, 0, 0x10000, 0x1F0000),
        row("vfs", 1, 0x81, 0x200000, 0x200000),
    )
)
_HEAD = (row("nvs", 1, 2, 0x9000, 0x4000), row("otadata", 1, 0, 0xD000, 0x2000), _PHY)
SLOTS = PartitionTable(
    (
        *_HEAD,
        row("ota_0", 0, 0x10, 0x10000, 0x1B0000),
        row("ota_1", 0, 0x11, 0x1C0000, 0x1B0000),
        row("vfs", 1, 0x81, 0x370000, 0x90000),
    )
)
BEYOND = PartitionTable(
    (
        *_HEAD,
        row("ota_0", 0, 0x10, 0x10000, 0x1B0000),
        row("ota_1", 0, 0x11, 0x300000, 0x1B0000),
        row("vfs", 1, 0x81, 0x370000, 0x90000),
    )
)
BOTH = PartitionTable(
    (
        *_HEAD,
        row("factory", 0, 0, 0x10000, 0x1B0000),
        row("ota_0", 0, 0x10, 0x1C0000, 0x1B0000),
        row("ota_1", 0, 0x11, 0x370000, 0x1B0000),
        row("vfs", 1, 0x81, 0x600000, 0x200000),
    )
)
FLASH_8MB = 0x30
"""Size bits of the image header."""


class Stage:
    """A board whose flash is as before a recording."""

    def __init__(self, loader: Loader, table: PartitionTable, *, size: int = FLASH_BYTES) -> None:
        self.machine = FakeMachine(loader.chip, size=size)
        self.machine.foreign_rollback = loader.rollback
        self.chip: Chip = CHIPS[loader.chip]
        self.table = table
        self.write(self.chip.bootloader_offset, loader.build())
        self.write(TABLE_OFFSET, table.build())

    def write(self, offset: int, data: bytes) -> None:
        self.machine.flash.erase(offset, -(-len(data) // SECTOR_BYTES) * SECTOR_BYTES)
        self.machine.flash.program(offset, data)

    def put(self, label: str, image: bytes) -> None:
        place = self.table.find(label)
        assert place is not None
        self.write(place.offset, image)

    def otadata(self, *entries: Entry | bytes | None) -> None:
        place = self.table.otadata
        assert place is not None
        for number, entry in enumerate(entries):
            data = entry if isinstance(entry, bytes) else entry.build() if entry else b""
            self.machine.flash.erase(place.offset + number * SECTOR_BYTES, SECTOR_BYTES)
            self.machine.flash.program(place.offset + number * SECTOR_BYTES, data)

    def erase(self, offset: int, size: int) -> None:
        self.machine.flash.erase(offset, size)

    def flip(self, offset: int) -> None:
        """Clear one bit that is set."""
        old = self.machine.flash.read(offset, 1)[0]
        self.machine.flash.program(offset, bytes([old & (old - 1)]))

    async def boot(self, cause: int) -> int:
        return await execute(self.machine, cause)

    def close(self) -> None:
        self.machine.close()


def chosen(slot: int, *, state: State = State.VALID) -> tuple[Entry, Entry]:
    """otadata that selects slot 0 or 1."""
    return Entry(1, State.VALID), Entry(2 if slot else 0, state)


Damage = Callable[[bytes], bytes]


def held_back(image: bytes) -> bytes:
    """Without the first 16 bytes, which are written last."""
    return b"\xff" * 16 + image[16:]


def payload_flipped(image: bytes) -> bytes:
    """Two bits that cancel out in the checksum."""
    broken = bytearray(image)
    broken[0x9000] ^= 1
    broken[0x9010] ^= 1
    return bytes(broken)


def truncated(image: bytes) -> bytes:
    """The last 4 KB were never written."""
    return image[:-4096]


def patched(offset: int, data: bytes) -> Damage:
    """Other bytes in the header, with a hash made to fit."""

    def damage(image: bytes) -> bytes:
        broken = image[:offset] + data + image[offset + len(data) :]
        return broken[:-32] + hashlib.sha256(broken[:-32]).digest()

    return damage
