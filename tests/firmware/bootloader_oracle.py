"""Decisions of six real bootloaders, and flash as it stood before them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import AppDesc, Segment, build_image, mend
from pytest_blynk_ota.firmware.partitions import TABLE_OFFSET, Partition, PartitionTable

FILE = Path(__file__).parents[1] / "data" / "bootloader_oracle.jsonl.gz"
FLASH_BYTES = 4 << 20
REVISIONS = {"esp32": 300, "esp32c3": 3}
"""Of the emulated chips that the decisions were recorded on."""
SECTOR_BYTES = 4096
PAYLOAD_BYTES = 6000
HASH_BYTES = 32
SECURE_VERSION_AT = 36
SLOT_BYTES = 0x10000


def rows() -> Iterator[dict[str, Any]]:
    with gzip.open(FILE, "rt") as lines:
        for line in lines:
            yield json.loads(line)


@cache
def app(chip: str, number: int) -> bytes:
    target, noise = CHIPS[chip], random.Random(number).randbytes
    desc = AppDesc(f"{number}.0", "hello_world", "12:00:00", "Nov 23 2026", "v5.1", 0, noise(32))
    segments = [
        Segment(target.drom_base, desc.build() + noise(PAYLOAD_BYTES)),
        Segment(target.dram_base, noise(PAYLOAD_BYTES)),
        Segment(target.iram_base, noise(PAYLOAD_BYTES)),
    ]
    return build_image(target, segments, target.iram_base)


def flipped(image: bytes, *places: int) -> bytes:
    data = bytearray(image)
    for place in places:
        data[place] ^= 0x01
    return bytes(data)


def with_word(image: bytes, place: int, value: int, size: int) -> bytes:
    return image[:place] + value.to_bytes(size, "little") + image[place + size :]


DAMAGES = {
    "ok": lambda image: image,
    "bad_checksum": lambda image: flipped(image, 1000),
    "bad_hash": lambda image: flipped(image, len(image) - 1),
    "bad_magic": lambda image: flipped(image, 0),
    "empty": lambda image: b"",
    "held_back_16": lambda image: b"\xff" * 16 + image[16:],
    "truncated_half": lambda image: image[: len(image) // 2],
    "truncated_no_hash": lambda image: image[:-HASH_BYTES],
    "zero_segments": lambda image: with_word(image, 1, 0, 1),
    "min_rev_too_high": lambda image: mend(with_word(image, 15, 32767, 2)),
}
"""The recorded damages, made to our own images."""


def secured(image: bytes, version: int) -> bytes:
    """The same image under another secure version."""
    return mend(with_word(image, SECURE_VERSION_AT, version, 4))


class Flash:
    """A chip as one case describes it."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.data = bytearray(b"\xff" * FLASH_BYTES)
        parts = [Partition(label, *numbers) for label, numbers in row["layout"].items()]
        self.table = PartitionTable(tuple(parts))
        self.put(TABLE_OFFSET, self.table.build())
        if self.table.otadata is not None:
            for number in (0, 1):
                self.put(self.sector(number), bytes.fromhex(row[f"otadata{number}"]))
        for number, damage in enumerate(row["slots"]):
            image = DAMAGES[damage](app(row["chip"], number))
            self.put(self.table.ota_slots[number].offset, image)
        if self.table.factory is not None:
            image = DAMAGES[row["factory"]](app(row["chip"], 99))
            self.put(self.table.factory.offset, image)

    def sector(self, number: int) -> int:
        assert self.table.otadata is not None
        return self.table.otadata.offset + number * SECTOR_BYTES

    def put(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def otadata(self) -> list[str | None]:
        if self.table.otadata is None:
            return [None, None]
        return [self.read(self.sector(number), 32).hex() for number in (0, 1)]


def small_flash(
    otadata: tuple[bytes, bytes],
    slots: tuple[bytes, ...],
    *more: tuple[Partition, bytes],
) -> Flash:
    """A chip with these images in slots of 64 KB, and other partitions with theirs."""
    layout = {"otadata": [1, 0, 0xD000, 0x2000]}
    for number in range(len(slots)):
        layout[f"app{number}"] = [0, 0x10 + number, (number + 1) * SLOT_BYTES, SLOT_BYTES]
    first, second = otadata
    row = {"layout": layout, "otadata0": first.hex(), "otadata1": second.hex(), "slots": []}
    flash = Flash({**row, "factory": "none"})
    flash.table = PartitionTable((*flash.table.rows, *(part for part, _ in more)))
    flash.put(TABLE_OFFSET, flash.table.build())
    for place, image in zip(flash.table.ota_slots, slots, strict=False):
        flash.put(place.offset, image)
    for part, image in more:
        flash.put(part.offset, image)
    return flash
