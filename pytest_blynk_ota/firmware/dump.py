"""A dump of a board's flash: what it is a dump of, as far as its bytes say."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.chips import CHIPS, IMAGE_IDS, Chip
from pytest_blynk_ota.firmware.decision import Write
from pytest_blynk_ota.firmware.image import DESC_AT, DESC_MAGIC, HEADER, MAGIC, Image, parse
from pytest_blynk_ota.firmware.imagecheck import Checks
from pytest_blynk_ota.firmware.partitions import (
    ROW_MAGIC,
    SECTOR_BYTES,
    TABLE_BYTES,
    PartitionTable,
)

FLASH_SIZES: Mapping[int, int] = {code: (1 << 20) << code for code in range(8)}
"""High nibble of image byte 3 to bytes (``esp_image_flash_size_t``)."""
DEFAULT_FLASH_BYTES = 2 << 20
"""What a bootloader takes another code for (``update_flash_config``)."""
CHIP_ID_AT = 12
KNOWN_IDS = frozenset(IMAGE_IDS)

DESC_MAGIC_BYTE = 0x50
IDF_AT, IDF_BYTES = 8, 32
"""``idf_ver`` in ``esp_bootloader_desc_t``, which stands at the start of a segment (IDF 5.2)."""
IDF_TEXT = re.compile(rb"(?:\A|\0)(v\d+\.\d+[\w.+-]{0,26})\0")
"""IDF_VER among the strings of a bootloader that logs at INFO."""
ROLLBACK_TEXTS = (b"is marking as ABORTED", b"anti rollback")
"""Only compiled in with rollback: the first in a build that logs at DEBUG, the second at INFO."""
ANTI_ROLLBACK_TEXT = b"anti rollback"

TABLE_PLACES = range(0, 0x20000, SECTOR_BYTES)
"""Where to look for a table that is not where it should be."""
ENCRYPTED_RATIO = 0.98


@dataclass(frozen=True, slots=True)
class Bootloader:
    """The second-stage bootloader in a dump.

    Attributes:
        idf: ESP-IDF's version; ``None``: its bytes do not say.
        rollback, anti_rollback: whether it was built with them; ``None``: its bytes do not say.
        said_by: what says so, for ``rollback``.
        problem: why the ROM would not start it; ``None``: it would.
        malformed: what is wrong with its behaviour segment, which is no matter to a ROM.
    """

    chip: Chip
    flash_size: int
    idf: str | None
    rollback: bool | None
    anti_rollback: bool | None
    said_by: str
    problem: str | None
    malformed: str | None


class Flash:
    """The bytes of a dump, and what was written upon them since."""

    def __init__(self, data: bytes, writes: tuple[Write, ...] = ()) -> None:
        self.size, self._data, self._writes = len(data), data, writes

    def after(self, writes: Sequence[Write]) -> Flash:
        """The same flash once these are done, too."""
        return Flash(self._data, (*self._writes, *writes))

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of it; fewer where the dump ends."""
        data = self._data[offset : offset + length]
        for write in self._writes:
            start = max(offset, write.offset)
            end = min(offset + len(data), write.offset + write.erase)
            if start < end:
                new = write.data.ljust(write.erase, b"\xff")[start - write.offset :]
                data = data[: start - offset] + new[: end - start] + data[end - offset :]
        return data


def check(data: bytes, table_offset: int, *, chip_known: bool) -> None:
    """Refuse what is no dump of a flash.

    Raises:
        FirmwareError: it is too short, or has neither a partition table nor a bootloader; says
            what it looks like.
    """
    least = table_offset + TABLE_BYTES
    if data[:1] == bytes([MAGIC]) and _is_app(data) and not _table_at(data, table_offset):
        raise FirmwareError(_app_given(data))
    if len(data) < least:
        raise FirmwareError(
            f"too short for a dump of flash: {len(data)} bytes, expected at least {least} "
            f"(from address 0 to the end of the partition table at 0x{table_offset:x})"
        )
    if data.startswith(ROW_MAGIC, table_offset) or chip_known or _headers(data):
        return
    found = data[table_offset : table_offset + 2].hex(" ").upper()
    raise FirmwareError(
        f"no dump of flash: no partition table at 0x{table_offset:x} (expected AA 50, found "
        f"{found}) and no bootloader at 0x0 or 0x1000{_hint(data)}"
    )


def find_bootloader(data: bytes, table_offset: int) -> Bootloader | None:
    """The bootloader of one of the known chips.

    Raises:
        FirmwareError: it is for a chip whose rules are not known.
    """
    for place, image_id in _headers(data):
        chip = CHIPS.get(IMAGE_IDS[image_id])
        if chip is not None and chip.bootloader_offset == place:
            return _bootloader(parse(data[place:table_offset]), chip)
    for _, image_id in _headers(data):
        if IMAGE_IDS[image_id] not in CHIPS:
            known = ", ".join(CHIPS)
            raise FirmwareError(
                f"its bootloader is for the {IMAGE_IDS[image_id]}, whose rules are not known; "
                f"known are {known} (--chip takes it for one of them)"
            )
    return None


def chip_of_apps(data: bytes, table: PartitionTable) -> tuple[Chip, str] | None:
    """The chip that the applications are for, and the label of one of them.

    Where they contradict each other, most of the good images decide.
    """
    found: list[tuple[bool, Chip, str]] = []
    for row in (table.factory, *table.ota_slots, table.test):
        if row is None or data[row.offset : row.offset + 1] != bytes([MAGIC]):
            continue
        image_id = int.from_bytes(
            data[row.offset + CHIP_ID_AT : row.offset + CHIP_ID_AT + 2], "little"
        )
        chip = CHIPS.get(IMAGE_IDS.get(image_id, ""))
        if chip is not None:
            good = Checks(chip).look(Flash(data).read, row)[1] is None
            found.append((good, chip, row.label))
    good_for = Counter(chip for good, chip, _ in found if good)
    best = max(found, key=lambda one: (good_for[one[1]], one[0]), default=None)
    return best and best[1:]


def flash_bytes(header: bytes) -> int:
    """The flash size in an image header."""
    return FLASH_SIZES.get(header[3] >> 4, DEFAULT_FLASH_BYTES)


def _headers(data: bytes) -> list[tuple[int, int]]:
    """Image headers where some chip has its bootloader: place and chip id."""
    found = []
    for place in sorted({chip.bootloader_offset for chip in CHIPS.values()}):
        header = data[place : place + HEADER.size]
        if len(header) == HEADER.size and header[0] == MAGIC:
            image_id = int.from_bytes(header[CHIP_ID_AT : CHIP_ID_AT + 2], "little")
            if image_id in KNOWN_IDS:
                found.append((place, image_id))
    return found


def _bootloader(image: Image, chip: Chip) -> Bootloader:
    texts = b"\0".join(part.data for part in image.segments)
    rollback, anti, said_by = _options(image, texts)
    # Its SHA-256 is not looked at: esptool changes the header when it writes.
    malformed = image.malformed_behaviour
    problems = [text for text in image.problems if "SHA-256" not in text and text != malformed]
    return Bootloader(
        chip=chip,
        flash_size=flash_bytes(image.data),
        idf=_idf(image, texts),
        rollback=rollback,
        anti_rollback=anti,
        said_by=said_by,
        problem=problems[0] if problems else None,
        malformed=malformed,
    )


def _options(image: Image, texts: bytes) -> tuple[bool | None, bool | None, str]:
    own = image.behaviour
    if own is not None and own.kind == "bootloader":
        return own.rollback, own.anti_rollback, "its behaviour segment"
    if any(text in texts for text in ROLLBACK_TEXTS):
        return True, ANTI_ROLLBACK_TEXT in texts, "the strings in it"
    return None, None, "nothing in it"


def _idf(image: Image, texts: bytes) -> str | None:
    for part in image.segments:
        if part.data[:3] == bytes([DESC_MAGIC_BYTE, 0, 0]):
            raw = part.data[IDF_AT : IDF_AT + IDF_BYTES].split(b"\0", 1)[0]
            if IDF_TEXT.match(raw + b"\0"):
                return raw.decode()
    found = IDF_TEXT.search(texts)
    if found is not None:
        return found[1].decode()
    return image.app_desc.idf if image.app_desc else None


def _is_app(data: bytes) -> bool:
    return data[DESC_AT : DESC_AT + 4] == DESC_MAGIC.to_bytes(4, "little")


def _app_given(data: bytes) -> str:
    image = parse(data)
    desc = image.app_desc
    name = f"{desc.project} {desc.version}, " if desc else ""
    return (
        f"an application image ({name}for the {image.chip}), no dump of flash: it is what stands "
        "in one partition; blynk-ota image info reads it"
    )


def _table_at(data: bytes, place: int) -> bool:
    return data.startswith(ROW_MAGIC, place)


def _hint(data: bytes) -> str:
    """What might help somebody whose dump has no table where it should be."""
    for place in _tables(data):
        if place < 0x8000:
            start = 0x8000 - place
            return f"; a table stands at 0x{place:x}: was it read from 0x{start:x} on, not from 0?"
        return f"; a table stands at 0x{place:x}: --table-offset 0x{place:x}"
    if not data.strip(b"\xff"):
        return "; it is blank"
    head = data[0x1000:0x8000]
    if head and len(zlib.compress(head, 1)) > ENCRYPTED_RATIO * len(head):
        return "; it looks encrypted"
    return ""


def _tables(data: bytes) -> Iterator[int]:
    for place in TABLE_PLACES:
        if _table_at(data, place):
            try:
                PartitionTable.parse(data[place : place + TABLE_BYTES])
            except FirmwareError:
                continue
            yield place
