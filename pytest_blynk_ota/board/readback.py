"""What stands in flash and what would boot: the last witness, since asking it resets the board.

Only heads of slots and hashes cross the serial line. A slot whose hash is that of a known image is
read from that image's file; only unknown content with an image's magic is read as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from pytest_blynk_ota.board.baseline import SECTOR_BYTES
from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import bootrules, otadata
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.partitions import (
    TABLE_BYTES,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)

AHEAD_SECTORS = 16
"""Sectors fetched at once where reading goes on from sector to sector."""


class Flash(Protocol):
    """What a read-back needs of a loader."""

    def md5(self, offset: int, size: int) -> str:
        """32 hex digits."""

    def read(self, offset: int, size: int) -> bytes:
        """Bytes."""


class LazyFlash:
    """The flash as the boot rules see it: sectors are fetched when they are looked at."""

    def __init__(self, flash: Flash, flash_bytes: int) -> None:
        self._flash, self.size = flash, flash_bytes
        self._sectors: dict[int, bytes] = {}
        self._fetched_to = -1

    def put(self, offset: int, data: bytes) -> None:
        """Bytes known to stand at a sector's start; a last part of a sector is left out."""
        for at in range(0, len(data) - SECTOR_BYTES + 1, SECTOR_BYTES):
            self._sectors[(offset + at) // SECTOR_BYTES] = data[at : at + SECTOR_BYTES]

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of flash; fewer where the chip ends."""
        length = max(0, min(length, self.size - offset))
        first, last = offset // SECTOR_BYTES, (offset + length - 1) // SECTOR_BYTES
        for sector in range(first, last + 1):
            if sector not in self._sectors:
                self._fetch(sector, last)
        data = b"".join(self._sectors[sector] for sector in range(first, last + 1))
        return data[offset % SECTOR_BYTES :][:length]

    def _fetch(self, sector: int, last: int) -> None:
        ahead = AHEAD_SECTORS if sector == self._fetched_to else 1
        end = min(max(last + 1, sector + ahead), self.size // SECTOR_BYTES)
        end = next((at for at in range(sector, end) if at in self._sectors), end)
        self._fetched_to = end
        size = (end - sector) * SECTOR_BYTES
        self.put(sector * SECTOR_BYTES, self._flash.read(sector * SECTOR_BYTES, size))


def read_back(
    flash: Flash,
    flash_bytes: int,
    chip: str,
    table: PartitionTable,
    images: Mapping[str, bytes],
    *,
    rollback: bool,
) -> dict[str, Any]:
    """The data of the event ``flash/read``.

    Args:
        flash: the chip in its loader.
        flash_bytes: its size.
        chip: its name.
        table: the partition table that should stand there.
        images: files by name, to be recognised in the slots.
        rollback: whether the bootloader has rollback on.
    """
    lazy = LazyFlash(flash, flash_bytes)
    slots = [slot for slot in (table.factory, *table.ota_slots) if slot is not None]
    held = {slot.label: _identify(flash, lazy, slot, images) for slot in slots}
    entries = [lazy.read(at, otadata.ENTRY_BYTES) for at in _entry_offsets(table)]
    return {
        "otadata": [entry.hex() for entry in entries],
        "table_md5": hashlib.md5(lazy.read(TABLE_OFFSET, TABLE_BYTES)).hexdigest(),
        "slots": {s.label: {"offset": s.offset, "image": held[s.label]} for s in slots},
        "running": _running(entries, table),
        "would_boot": _would_boot(lazy.read, chip, rollback),
        "started": _started(lazy, chip, table, held) if rollback else None,
    }


def _identify(
    flash: Flash, lazy: LazyFlash, slot: Partition, images: Mapping[str, bytes]
) -> str | None:
    """The longest of the images that stands in a slot: a cut one is the begin of others."""
    head = lazy.read(slot.offset, SECTOR_BYTES)
    longest = sorted(images.items(), key=lambda item: len(item[1]), reverse=True)
    for name, data in longest:
        if len(data) > slot.size or data[:SECTOR_BYTES] != head[: len(data)]:
            continue
        if flash.md5(slot.offset, len(data)) == hashlib.md5(data).hexdigest():
            lazy.put(slot.offset, data)
            return name
    return None


def _entry_offsets(table: PartitionTable) -> tuple[int, ...]:
    place = table.otadata
    return () if place is None else (place.offset, place.offset + otadata.SECTOR_BYTES)


def _running(entries: list[bytes], table: PartitionTable) -> str | None:
    if not entries:
        return table.factory.label if table.factory else None
    parsed = (otadata.Entry.parse(entries[0]), otadata.Entry.parse(entries[1]))
    slot = bootrules.last_booted(parsed, table.ota_slots)
    if slot is not None:
        return slot.label
    return table.factory.label if table.factory else None


def _would_boot(read: bootrules.Reader, chip: str, rollback: bool) -> str | None:
    try:
        loaded = bootrules.decide(read, rollback, CHIPS[chip]).loaded
    except FirmwareError:  # no partition table that can be read: nothing boots
        return None
    return loaded.label if loaded else None


def _started(
    lazy: LazyFlash, chip: str, table: PartitionTable, held: Mapping[str, str | None]
) -> str | None:
    """The slot of an image on trial that is known, if the bootloader did start it. It notes the
    trial before it looks at the image, so the entry alone does not say so."""
    places = _entry_offsets(table)
    entries = [otadata.Entry.parse(lazy.read(at, otadata.ENTRY_BYTES)) for at in places]
    trial = [entry for entry in entries if entry.state == otadata.State.PENDING_VERIFY]
    label = _running([entry.build() for entry in entries], table)
    if not trial or label is None or not held.get(label):
        return None
    before = {
        at: replace(entry, state=otadata.State.NEW).build()
        for at, entry in zip(places, entries, strict=True)
        if entry in trial
    }

    def read(offset: int, length: int) -> bytes:
        return before.get(offset, lazy.read(offset, length))[:length]

    loaded = _would_boot(read, chip, rollback=True)
    return label if loaded == label else None
