"""Whether a bootloader would start the image in a partition: its checks, in its order.

Source: ESP-IDF esp_image_format.c, bootloader_common_loader.c::

    magic -> chip id -> chip revision -> segment count
          -> each segment: length, room for the description, mapping
          -> checksum -> fits the partition -> appended SHA-256
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
"""Revision fields of a header that ask for nothing (``IS_FIELD_SET``)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an image is refused.

    Attributes:
        what: a word for programs: ``bad_magic``, ``chip_id``, ``chip_revision``, ``segments``,
            ``checksum``, ``too_long``, ``image_hash``, ``flash_read``.
        tag, text: the line that the bootloader logs at ERROR.
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


class _Refused(Exception):
    """Carries the problem out of the checks."""

    def __init__(self, what: str, text: str, tag: str = "esp_image") -> None:
        self.problem = Problem(what, tag, text)


def check_image(
    read: Reader, partition: Partition, chip: str, revision: int | None = None
) -> Problem | None:
    """The first thing wrong with the image in a partition; ``None``: it would be started.

    Args:
        chip: name of the chip that boots.
        revision: of that chip, major * 100 + minor; ``None``: not known, not checked.
    """
    return look_at_image(read, partition, CHIPS[chip], revision)[1]


def look_at_image(
    read: Reader, partition: Partition, chip: Chip, revision: int | None = None
) -> tuple[tuple[SegmentSeen, ...], Problem | None]:
    """Like :func:`check_image`, with the segments that were looked at on the way."""
    seen: list[SegmentSeen] = []
    try:
        for segment in _checks(read, partition, chip, revision):
            seen.append(segment)
    except _Refused as refused:
        return tuple(seen), refused.problem
    return tuple(seen), None


def _checks(
    read: Reader, partition: Partition, chip: Chip, revision: int | None
) -> Iterator[SegmentSeen]:
    """Yield each segment before its own checks. Raises _Refused."""
    start = partition.offset
    header = _read(read, start, HEADER.size)
    count, hash_appended = _check_header(header, start, chip, revision)
    digest, total, place = hashlib.sha256(header), CHECKSUM_SEED, start + HEADER.size
    for number in range(count):
        head = _read(read, place, SEGMENT.size)
        address, size = SEGMENT.unpack(head)
        place += SEGMENT.size
        mapped = chip.maps(address)
        yield SegmentSeen(number, place, address, size, _how(address, mapped))
        _check_segment(number, address, size, place, mapped)
        data = _read(read, place, size)
        digest.update(head)
        digest.update(data)
        total ^= xor(data)
        place += size
    end = start + checksum_at(place - start) + 1
    tail = _read(read, place, end - place)
    if tail[-1] != total:
        text = f"Checksum failed. Calculated 0x{total:x} read 0x{tail[-1]:x}"
        raise _Refused("checksum", text)
    length = end - start + (HASH_BYTES if hash_appended else 0)
    if length > partition.size:
        text = f"Image length {length} doesn't fit in partition length {partition.size}"
        raise _Refused("too_long", text)
    digest.update(tail)
    if hash_appended and _read(read, end, HASH_BYTES) != digest.digest():
        raise _Refused("image_hash", "Image hash failed - image is corrupt")


def _read(read: Reader, offset: int, size: int) -> bytes:
    data = read(offset, size)
    if len(data) < size:
        raise _Refused("flash_read", f"bootloader_mmap(0x{offset:x}, 0x{size:x}) failed")
    return data


def _check_header(header: bytes, start: int, chip: Chip, revision: int | None) -> tuple[int, bool]:
    """Number of segments, and whether a hash follows."""
    magic, count, *_, chip_id, _, least, most, _, appended = HEADER.unpack(header)
    if magic != MAGIC:
        text = f"image at 0x{start:x} has invalid magic byte (nothing flashed here?)"
        raise _Refused("bad_magic", text)
    if chip_id != chip.image_id:
        text = f"mismatch chip ID, expected {chip.image_id}, found {chip_id}"
        raise _Refused("chip_id", text, "boot_comm")
    if revision is not None:
        _check_revision(revision, least, most)
    if count > MAX_SEGMENTS:
        text = f"image at 0x{start:x} segment count {count} exceeds max {MAX_SEGMENTS}"
        raise _Refused("segments", text)
    return count, appended == 1


def _check_revision(revision: int, least: int, most: int) -> None:
    for asked, sign, broken in ((least, ">=", revision < least), (most, "<=", revision > most)):
        if broken and asked not in REVISION_NOT_SET:
            text = f"Image requires chip rev {sign} {_version(asked)}, but chip is "
            raise _Refused("chip_revision", text + _version(revision), "boot_comm")


def _version(revision: int) -> str:
    return f"v{revision // 100}.{revision % 100}"


def _check_segment(number: int, address: int, size: int, place: int, mapped: bool) -> None:
    if size % 4 or size >= MAX_SEGMENT_BYTES:
        raise _Refused("segments", f"invalid segment length 0x{size:x}")
    if number == 0 and size < DESC.size:
        text = f"Segment 0 length {size} is too short for app description"
        raise _Refused("segments", text)
    if mapped and (place - address) % MAPPED_PAGE_BYTES:
        text = f"Segment {number} load address 0x{address:08x}, doesn't match data 0x{place:08x}"
        raise _Refused("segments", text)


def _how(address: int, mapped: bool) -> str:
    """What the log says becomes of a segment."""
    if mapped:
        return "map"
    return "load" if address else ""
