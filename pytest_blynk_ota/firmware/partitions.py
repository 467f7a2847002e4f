"""The partition table: rows of 32 bytes at 0x8000, with an MD5 row (ESP-IDF flash_partitions.c)."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import idf as idf_rules

TABLE_OFFSET = 0x8000
TABLE_BYTES = 0xC00
ROW = struct.Struct("<2sBBII16sI")
ROW_MAGIC = b"\xaa\x50"
MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
END = b"\xff" * ROW.size
APP, DATA = 0x00, 0x01
FACTORY, OTA_FIRST, OTA_LAST, TEST = 0x00, 0x10, 0x1F, 0x20
OTADATA = 0x00
SECTOR_BYTES = 0x1000


@dataclass(frozen=True, slots=True)
class Partition:
    """One row: a named part of the flash."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def slot(self) -> int | None:
        """Number of the OTA slot; ``None`` if it is none."""
        if self.type == APP and OTA_FIRST <= self.subtype <= OTA_LAST:
            return self.subtype - OTA_FIRST
        return None


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """All rows, in the order of the table."""

    rows: tuple[Partition, ...]

    @classmethod
    def parse(
        cls, data: bytes, *, flash_size: int | None = None, idf: str | None = None
    ) -> PartitionTable:
        """Read a table as the bootloader does.

        Args:
            data: from the table's first byte on.
            flash_size: rows beyond it make the table invalid, if given.
            idf: ESP-IDF's version in the bootloader; ``None``: not known, taken as new.

        Raises:
            FirmwareError: the bootloader would refuse it; the text is the bootloader's own.
        """
        return cls(_rows(data[:TABLE_BYTES], flash_size, idf))

    def build(self) -> bytes:
        """The whole table of 0xC00 bytes, with its MD5 row.

        Raises:
            FirmwareError: too many rows, or a label that does not fit.
        """
        rows = b"".join(_pack(row) for row in self.rows)
        rows += MD5_MAGIC + hashlib.md5(rows, usedforsecurity=False).digest()
        if len(rows) + len(END) > TABLE_BYTES:
            raise FirmwareError(f"partition table: {len(self.rows)} rows do not fit 0xC00 bytes")
        return rows.ljust(TABLE_BYTES, b"\xff")

    @property
    def otadata(self) -> Partition | None:
        """Where the bootloader keeps which slot to start."""
        return self._only(DATA, OTADATA)

    @property
    def factory(self) -> Partition | None:
        """The application that is there from the start and never updated."""
        return self._only(APP, FACTORY)

    @property
    def test(self) -> Partition | None:
        """The application of last resort."""
        return self._only(APP, TEST)

    @property
    def ota_slots(self) -> tuple[Partition, ...]:
        """The slots by number."""
        slots = [row for row in self.rows if row.slot is not None]
        return tuple(sorted(slots, key=lambda row: row.subtype))

    def find(self, label: str) -> Partition | None:
        """The row of this label."""
        return next((row for row in self.rows if row.label == label), None)

    def at(self, offset: int) -> Partition | None:
        """The row that begins at ``offset``."""
        return next((row for row in self.rows if row.offset == offset), None)

    def _only(self, kind: int, subtype: int) -> Partition | None:
        """The last such row: the bootloader keeps the last that it meets."""
        found = [row for row in self.rows if (row.type, row.subtype) == (kind, subtype)]
        return found[-1] if found else None


def _pack(row: Partition) -> bytes:
    label = row.label.encode()
    if len(label) > 16:
        raise FirmwareError(f"partition table: label {row.label!r} has more than 16 bytes")
    return ROW.pack(ROW_MAGIC, row.type, row.subtype, row.offset, row.size, label, row.flags)


def _rows(data: bytes, flash_size: int | None, idf: str | None) -> tuple[Partition, ...]:
    """``esp_partition_table_verify``. Raises FirmwareError where the bootloader stops."""
    records: list[bytes] = []
    has_md5 = False
    for number, place in enumerate(range(0, len(data) - ROW.size + 1, ROW.size)):
        raw = data[place : place + ROW.size]
        if raw.startswith(ROW_MAGIC):
            _check_place(number, raw, flash_size, idf)
        elif raw.startswith(MD5_MAGIC[:2]):
            _check_md5(data[:place], raw, has_md5)
            has_md5 = True
        elif raw.startswith(END[:4]) and (number or _may_be_blank(idf)):
            # It counts the rows without that of the MD5, and then takes so many from the start.
            return tuple(_row(record) for record in records[: number - has_md5])
        else:
            magic = int.from_bytes(raw[:2], "little")
            raise FirmwareError(f"partition {number} invalid magic number 0x{magic:x}")
        records.append(raw)
    raise FirmwareError("partition table has no terminating entry, not valid")


def _may_be_blank(idf: str | None) -> bool:
    return not idf_rules.holds(idf_rules.TABLE_NOT_BLANK, idf)


def _check_md5(before: bytes, raw: bytes, has_md5: bool) -> None:
    if has_md5:
        raise FirmwareError("Only one MD5 checksum is allowed")
    if raw[16:] != hashlib.md5(before, usedforsecurity=False).digest():
        raise FirmwareError("Incorrect MD5 checksum")


def _check_place(number: int, raw: bytes, flash_size: int | None, idf: str | None) -> None:
    """Only the flash's end counts: rows may overlap, repeat themselves and lie anywhere."""
    _, _, _, offset, size, _, _ = ROW.unpack(raw)
    end = offset + size
    if not idf_rules.holds(idf_rules.NO_WRAP, idf):
        end &= 0xFFFFFFFF
    if flash_size is not None and max(offset, end) > flash_size:
        raise FirmwareError(
            f"partition {number} invalid - offset 0x{offset:x} size 0x{size:x} "
            f"exceeds flash chip size 0x{flash_size:x}"
        )


def _row(raw: bytes) -> Partition:
    _, kind, subtype, offset, size, label, flags = ROW.unpack(raw)
    text = label.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    return Partition(text, kind, subtype, offset, size, flags)


DEFAULT_TABLE = PartitionTable(
    (
        Partition("nvs", DATA, 0x02, 0x9000, 0x5000),
        Partition("otadata", DATA, OTADATA, 0xE000, 0x2000),
        Partition("app0", APP, OTA_FIRST, 0x10000, 0x140000),
        Partition("app1", APP, OTA_FIRST + 1, 0x150000, 0x140000),
        Partition("spiffs", DATA, 0x82, 0x290000, 0x160000),
        Partition("coredump", DATA, 0x03, 0x3F0000, 0x10000),
    )
)
"""Arduino's default scheme for 4 MB (arduino-esp32 tools/partitions/default.csv)."""

FACTORY_TABLE = PartitionTable(
    (
        *(row for row in DEFAULT_TABLE.rows if row.label != "spiffs"),
        Partition("factory", APP, FACTORY, 0x290000, 0x140000),
        Partition("spiffs", DATA, 0x82, 0x3D0000, 0x20000),
    )
)
"""The same slots, and a factory application in the place of most of the files: ours."""
