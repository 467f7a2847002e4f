"""Whether a bootloader would start the image in a partition: its checks, in its order.

Source: ESP-IDF esp_image_format.c, bootloader_common_loader.c::

    partition size -> magic -> chip id -> chip revision -> segment count
          -> each segment: length, mapping, where it is loaded to
          -> (first segment) eFuse block revision
          -> checksum -> fits the partition -> appended SHA-256

Not checked: whether a segment would overwrite the running bootloader, and signatures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pytest_blynk_ota.firmware import idf as idf_rules
from pytest_blynk_ota.firmware.chips import CHIPS, MAPPED_PAGE_BYTES, Chip
from pytest_blynk_ota.firmware.image import (
    CHECKSUM_SEED,
    DESC,
    HASH_BYTES,
    HEADER,
    MAGIC,
    MAX_SEGMENT_BYTES,
    MAX_SEGMENTS,
    SEGMENT,
    checksum_at,
    xor,
)
from pytest_blynk_ota.firmware.partitions import Partition

Reader = Callable[[int, int], bytes]
"""``read(offset, length)``: bytes of flash; fewer where the chip ends."""

REVISION_NOT_SET = (0, 0xFFFF)
"""Maximal revisions of a header that ask for nothing (``IS_FIELD_SET``)."""
MAX_PARTITION_BYTES = 16 << 20
FIRST_LOADED = 0x10000000
"""Segments for addresses below are padding and the like (``should_load``)."""
BLOCK_REVISIONS_AT = 176
"""min_efuse_blk_rev_full and max_efuse_blk_rev_full in ``esp_app_desc_t``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an image is refused.

    Attributes:
        what: a word for programs: ``bad_magic``, ``chip_id``, ``chip_revision``, ``segments``,
            ``checksum``, ``too_long``, ``image_hash``, ``flash_read``, ``secure_version``.
        tag, text: the line that the bootloader logs at ERROR; of a ``secure_version`` that is too
            low it logs none, the text is ours.
    """

    what: str
    tag: str
    text: str

    @property
    def log(self) -> tuple[str, str]:
        """Tag and text of the log line."""
        return self.tag, self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class SegmentSeen:
    """A segment that the bootloader looked at: it logs one line each at INFO."""

    number: int
    place: int
    address: int
    size: int
    how: str

    @property
    def text(self) -> str:
        """The line (``ESP_LOGI`` in ``process_segment``)."""
        return (
            f"segment {self.number}: paddr={self.place:08x} vaddr={self.address:08x} "
            f"size={self.size:05x}h ({self.size:6d}) {self.how}"
        )


Looked = tuple[tuple[SegmentSeen, ...], Problem | None]
"""The segments that were looked at, and what stopped it; ``None``: the image is started."""


class _Refused(Exception):
    """Carries the problem out of the checks."""

    def __init__(self, what: str, text: str, tag: str = "esp_image") -> None:
        self.problem = Problem(what, tag, text)


@dataclass(frozen=True, slots=True)
class Checks:
    """What one bootloader on one chip holds images against.

    Attributes:
        revision: of the chip, major * 100 + minor; ``None``: not known, an image is refused only
            if it asks for more than any chip has.
        block_revision: of its eFuse block; ``None``: not known, not checked.
        idf: ESP-IDF's version in the bootloader; ``None``: not known, taken as new.
    """

    chip: Chip
    revision: int | None = None
    block_revision: int | None = None
    idf: str | None = None

    def look(self, read: Reader, partition: Partition) -> Looked:
        """Hold the image in a partition against all of them."""
        seen: list[SegmentSeen] = []
        try:
            for segment in self._run(read, partition):
                seen.append(segment)
        except _Refused as refused:
            return tuple(seen), refused.problem
        return tuple(seen), None

    def _run(self, read: Reader, partition: Partition) -> Iterator[SegmentSeen]:
        """Yield each segment that is logged. Raises _Refused."""
        if partition.size > MAX_PARTITION_BYTES:
            text = f"partition size 0x{partition.size:x} invalid, larger than 16MB"
            raise _Refused("too_long", text)
        start = partition.offset
        header = _read(read, start, HEADER.size)
        count, hash_appended = self._check_header(header, start)
        digest, total, place = hashlib.sha256(header), CHECKSUM_SEED, start + HEADER.size
        for number in range(count):
            head = _read(read, place, SEGMENT.size)
            address, size = SEGMENT.unpack(head)
            place += SEGMENT.size
            self._check_segment(number, address, size, place)
            yield SegmentSeen(number, place, address, size, self._how(address))
            self._check_target(number, address, size)
            data = _read(read, place, size)
            if number == 0 and size:
                self._check_block(read, place)
            digest.update(head)
            digest.update(data)
            total ^= xor(data)
            place += size
        end = start + checksum_at(place - start) + 1
        tail = _read(read, place, end - place)
        if tail[-1] != total:
            text = f"Checksum failed. Calculated 0x{total:x} read 0x{tail[-1]:x}"
            raise _Refused("checksum", text)
        digest.update(tail)
        stored = _read(read, end, HASH_BYTES) if hash_appended else b""
        length = end - start + len(stored)
        if length > partition.size:
            text = f"Image length {length} doesn't fit in partition length {partition.size}"
            raise _Refused("too_long", text)
        if hash_appended and stored != digest.digest():
            raise _Refused("image_hash", "Image hash failed - image is corrupt")

    def _check_header(self, header: bytes, start: int) -> tuple[int, bool]:
        """Number of segments, and whether a hash follows."""
        magic, count, *_, chip_id, major, least, most, _, appended = HEADER.unpack(header)
        if magic != MAGIC:
            text = f"image at 0x{start:x} has invalid magic byte (nothing flashed here?)"
            raise _Refused("bad_magic", text)
        if chip_id != self.chip.image_id:
            text = f"mismatch chip ID, expected {self.chip.image_id}, found {chip_id}"
            raise _Refused("chip_id", text, "boot_comm")
        self._check_revision(major, least, most)
        if count > MAX_SEGMENTS:
            text = f"image at 0x{start:x} segment count {count} exceeds max {MAX_SEGMENTS}"
            raise _Refused("segments", text)
        return count, appended != 0

    def _check_revision(self, wafer: int, least: int, most: int) -> None:
        if not idf_rules.holds(idf_rules.FULL_REVISIONS, self.idf):
            self._check_wafer(wafer)
            return
        known = self.chip.newest_revision if self.revision is None else self.revision
        if least > known:
            raise _Refused("chip_revision", self._requires(">=", least), "boot_comm")
        if most not in REVISION_NOT_SET and (self.revision or 0) > most:
            raise _Refused("chip_revision", self._requires("<=", most), "boot_comm")

    def _check_wafer(self, least: int) -> None:
        """Older ones count revisions by one number: the ESP32's major one, else the minor."""
        known = self.chip.newest_revision if self.revision is None else self.revision
        own = known // 100 if self.chip.image_id == 0 else known % 100
        if own < least:
            text = (
                f"This chip is revision {own} but the application is configured for minimum "
                f"revision {least}. Can't run."
            )
            raise _Refused("chip_revision", text, "boot_comm")

    def _requires(self, sign: str, asked: int) -> str:
        own = "v?" if self.revision is None else _version(self.revision)
        if idf_rules.holds(idf_rules.REVISION_CHECK_FAILED, self.idf):
            asks = f"Required {sign} {_version(asked)}"
            return f"chip revision check failed. {asks}, found {own}."
        return f"Image requires chip rev {sign} {_version(asked)}, but chip is {own}"

    def _check_segment(self, number: int, address: int, size: int, place: int) -> None:
        if size % 4 or size >= MAX_SEGMENT_BYTES:
            raise _Refused("segments", f"invalid segment length 0x{size:x}")
        fits = number > 0 or size >= DESC.size
        if not fits and idf_rules.holds(idf_rules.DESCRIPTION_FITS, self.idf):
            text = f"Segment {number}: length 0x{size:x} is too short for app description"
            raise _Refused("segments", text)
        if self.chip.maps(address) and (place - address) % MAPPED_PAGE_BYTES:
            wrong = f"load address 0x{address:08x}, doesn't match data 0x{place:08x}"
            raise _Refused("segments", f"Segment {number} {wrong}")

    def _check_target(self, number: int, address: int, size: int) -> None:
        """``verify_load_addresses``, as far as it goes by the chip alone."""
        if self._how(address) != "load" or not size or not self.chip.ram:
            return
        end = address + size
        if not any(address in room and end - 1 in room for room in self.chip.ram):
            text = f"Segment {number} 0x{address:08x}-0x{end:08x} invalid: bad load address range"
            raise _Refused("segments", text)

    def _check_block(self, read: Reader, place: int) -> None:
        """``bootloader_common_check_efuse_blk_validity``: whatever stands there, also behind a
        first segment that is too short for it.
        """
        known, end = self.block_revision, BLOCK_REVISIONS_AT + 4
        if known is None or self.chip.image_id == 0:
            return
        first = read(place, end)
        if len(first) < end or not idf_rules.holds(idf_rules.EFUSE_BLOCK, self.idf):
            return
        least, most = (
            int.from_bytes(first[at : at + 2], "little")
            for at in (BLOCK_REVISIONS_AT, BLOCK_REVISIONS_AT + 2)
        )
        for sign, asked, refused in ((">=", least, known < least), ("<=", most, known > most)):
            if refused and asked not in REVISION_NOT_SET:
                text = f"Image requires efuse blk rev {sign} {_version(asked)}, but chip is "
                raise _Refused("chip_revision", text + _version(known), "boot_comm")

    def _how(self, address: int) -> str:
        """What the log says becomes of a segment."""
        if self.chip.maps(address):
            return "map"
        return "load" if address >= FIRST_LOADED else ""


def check_image(
    read: Reader,
    partition: Partition,
    chip: str,
    revision: int | None = None,
    idf: str | None = None,
) -> Problem | None:
    """The first thing wrong with the image in a partition; ``None``: it would be started.

    Args:
        chip: name of the chip that boots.
        revision: of that chip, major * 100 + minor; ``None``: not known.
        idf: ESP-IDF's version of who looks; ``None``: not known, taken as new.
    """
    return Checks(CHIPS[chip], revision, idf=idf).look(read, partition)[1]


def _read(read: Reader, offset: int, size: int) -> bytes:
    data = read(offset, size)
    if len(data) < size:
        raise _Refused("flash_read", f"bootloader_mmap(0x{offset:x}, 0x{size:x}) failed")
    return data


def _version(revision: int) -> str:
    return f"v{revision // 100}.{revision % 100}"
