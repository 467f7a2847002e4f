"""ESP images: read them, build them, make their checksum and hash right again.

Layout (esptool bin_image.py, ESP-IDF esp_app_format.h)::

    0    E9, segment count, flash mode, size and clock, u32 entry
    8    extended header: chip id @12, revisions @14 to @18, hash appended @23
    24   per segment: u32 address, u32 length, data
    end  zeros up to the checksum, the last byte of a 16-byte block; then SHA-256 of all before it
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import behaviour as behaviours
from pytest_blynk_ota.firmware import tag as tags
from pytest_blynk_ota.firmware.behaviour import Behaviour
from pytest_blynk_ota.firmware.chips import IMAGE_IDS, MAPPED_PAGE_BYTES, Chip
from pytest_blynk_ota.firmware.strangers import what_else
from pytest_blynk_ota.firmware.tag import Tag

MAGIC = 0xE9
HEADER = struct.Struct("<BBBBIB3sHBHH4sB")
SEGMENT = struct.Struct("<II")
HASH_BYTES = 32
CHECKSUM_SEED = 0xEF
CHECKSUM_BLOCK_BYTES = 16
XOR_PIECE_BYTES = 16384
"""A power of two, of a size at which whole numbers are quick to make."""
MAX_SEGMENTS = 16
MAX_SEGMENT_BYTES = 16 << 20

MODE_DIO = 2
SIZE_4MB_CLOCK_40MHZ = 0x20
WP_PIN_DISABLED = 0xEE
MAX_REVISION_ANY = 0xFFFF
HASH_APPENDED_AT = 23

DESC = struct.Struct("<II8x32s32s16s16s32s32s2xHB75x")
DESC_MAGIC = 0xABCD5432
DESC_TEXTS = (("version", 32), ("project", 32), ("time", 16), ("date", 16), ("idf", 32))
EFUSE_BLOCK_ANY, MMU_PAGE_LOG2 = 0xFFFF, 16
DESC_AT = HEADER.size + SEGMENT.size
"""``esp_app_desc_t`` stands at the start of the first segment of an application."""

SIGNATURE_SECTOR_BYTES = 0x1000
SIGNATURE_V2_MAGIC = b"\xe7\x02"
SIGNATURE_V1_BYTES = 68
"""espsecure sign-data: version 2 is a sector of its own, version 1 stands right behind."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of an image.

    Attributes:
        address: where it is loaded or mapped; 0: it is padding and goes nowhere.
        offset: of its data in the file.
    """

    address: int
    data: bytes
    offset: int = 0


@dataclass(frozen=True, slots=True)
class AppDesc:
    """ESP-IDF's application description."""

    version: str
    project: str
    time: str
    date: str
    idf: str
    secure_version: int = 0
    elf_sha256: bytes = bytes(HASH_BYTES)

    def build(self) -> bytes:
        """The 256 bytes of ``esp_app_desc_t``.

        Raises:
            FirmwareError: a text does not fit.
        """
        texts = []
        for name, room in DESC_TEXTS:
            raw = getattr(self, name).encode()
            if len(raw) >= room:
                raise FirmwareError(
                    f"app description: {name} {raw.decode()!r} is longer than {room - 1} bytes"
                )
            texts.append(raw)
        return DESC.pack(
            DESC_MAGIC, self.secure_version, *texts, self.elf_sha256, EFUSE_BLOCK_ANY, MMU_PAGE_LOG2
        )


@dataclass(frozen=True)
class Image:
    """A parsed image.

    Attributes:
        data: the whole file.
        chip: name of the chip it is for, ``chip id N`` for one that nobody knows.
        checksum_ok, hash_ok: whether they fit; ``hash_ok`` is true where no hash is appended.
        length: without what follows the image (signature, rest of the slot).
        problems: what is wrong with it, one phrase each; empty for a good image.
    """

    data: bytes
    chip: str
    segments: tuple[Segment, ...]
    entry: int
    app_desc: AppDesc | None
    tag: Tag | None
    behaviour: Behaviour | None
    checksum_ok: bool
    hash_ok: bool
    hash_appended: bool
    length: int
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        what = f"{self.fw_type or 'firmware'} {self.version or 'without a version'}"
        state = f", {'; '.join(self.problems)}" if self.problems else ""
        return f"<image {what} for {self.chip}, {len(self.data)} bytes{state}>"

    @property
    def malformed_behaviour(self) -> str | None:
        """What is wrong with its behaviour segment, which matters to virtual boards only."""
        return next((text for text in self.problems if text.startswith("behaviour segment")), None)

    @property
    def version(self) -> str | None:
        """What the device is to report: the tag's version, else the app description's."""
        if self.tag is not None and self.tag.version is not None:
            return self.tag.version
        return self.app_desc.version if self.app_desc else None

    @property
    def build(self) -> str | None:
        """The tag's build time. The app description's is that of another source file."""
        return self.tag.build if self.tag else None

    @property
    def fw_type(self) -> str | None:
        """The tag's firmware type."""
        return self.tag.fw_type if self.tag else None

    @cached_property
    def sha256(self) -> str:
        """Of the whole file, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def md5(self) -> str:
        """Of the whole file, in hex."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()

    @property
    def elf_sha256(self) -> str | None:
        """Of the ELF file that it was made from, in hex."""
        return self.app_desc.elf_sha256.hex() if self.app_desc else None

    @property
    def signed(self) -> bool:
        """Whether a secure boot signature follows the image."""
        return is_signed(self.data, self.length)


def image_bytes(segments_end: bytes) -> int:
    """Length of an image with checksum and hash, by its bytes up to the end of its segments."""
    appended = segments_end[HASH_APPENDED_AT] != 0
    return checksum_at(len(segments_end)) + 1 + (HASH_BYTES if appended else 0)


def is_signed(data: bytes, length: int) -> bool:
    """Whether an image of ``length`` bytes is followed by a secure boot signature."""
    sector = length + -length % SIGNATURE_SECTOR_BYTES
    if data[sector : sector + 2] == SIGNATURE_V2_MAGIC:
        return True
    rest = data[length:]
    return len(rest) == SIGNATURE_V1_BYTES and rest[:4] == bytes(4)


def xor(data: bytes) -> int:
    """All bytes XORed: pieces upon each other, then what is left folded in halves."""
    value, bits = 0, 8 * XOR_PIECE_BYTES
    for place in range(0, len(data), XOR_PIECE_BYTES):
        value ^= int.from_bytes(data[place : place + XOR_PIECE_BYTES], "little")
    while bits > 8:
        bits //= 2
        value = (value >> bits) ^ (value & ((1 << bits) - 1))
    return value


def checksum(blocks: Iterable[bytes]) -> int:
    """The image checksum over the data of all segments, padding included."""
    value = CHECKSUM_SEED
    for block in blocks:
        value ^= xor(block)
    return value


def checksum_at(end_of_segments: int) -> int:
    """Where the checksum byte stands behind segments that end there."""
    return end_of_segments | (CHECKSUM_BLOCK_BYTES - 1)


def parse(data: bytes, name: str = "image") -> Image:
    """Read an image; a damaged one is read as far as it goes, see ``problems``.

    Raises:
        FirmwareError: it is no ESP image at all; names ``name``.
    """
    if len(data) < HEADER.size or data[0] != MAGIC:
        raise FirmwareError(f"{name}: {what_else(data, HEADER.size)}")
    _, count, _, _, entry, _, _, chip_id, _, _, _, _, appended = HEADER.unpack_from(data)
    segments, end, problems = _segments(data, count)
    checksum_place = checksum_at(end)
    hash_appended = appended == 1
    length = checksum_place + 1 + (HASH_BYTES if hash_appended else 0)
    checksum_ok = hash_ok = False
    if not problems and length > len(data):
        problems.append(f"cut: {len(data)} of {length} bytes")
    if not problems:
        checksum_ok = data[checksum_place] == checksum(part.data for part in segments)
        hash_ok = not hash_appended or _hash_fits(data, checksum_place + 1)
        if not checksum_ok:
            problems.append("checksum is wrong")
        if not hash_ok:
            problems.append("appended SHA-256 is wrong")
    behaviour = _behaviour(segments, problems)
    return Image(
        data=data,
        chip=IMAGE_IDS.get(chip_id, f"chip id {chip_id}"),
        segments=segments,
        entry=entry,
        app_desc=app_desc(data),
        tag=tags.find(data),
        behaviour=behaviour,
        checksum_ok=checksum_ok,
        hash_ok=hash_ok,
        hash_appended=hash_appended,
        length=min(length, len(data)),
        problems=tuple(problems),
    )


def _segments(data: bytes, count: int) -> tuple[tuple[Segment, ...], int, list[str]]:
    """The segments that are whole, where they end, and what stopped the reading."""
    found: list[Segment] = []
    place = HEADER.size
    if not 1 <= count <= MAX_SEGMENTS:
        return (), place, [f"{count} segments, expected 1 to {MAX_SEGMENTS}"]
    for number in range(count):
        if place + SEGMENT.size > len(data):
            return tuple(found), place, [f"cut: {len(data)} bytes, in front of segment {number}"]
        address, size = SEGMENT.unpack_from(data, place)
        start = place + SEGMENT.size
        if size % 4:
            return tuple(found), place, [f"segment {number} has an impossible length of {size}"]
        if start + size > len(data):
            return tuple(found), place, [f"cut: {len(data)} bytes, in segment {number}"]
        found.append(Segment(address, data[start : start + size], start))
        place = start + size
    return tuple(found), place, []


def _hash_fits(data: bytes, end: int) -> bool:
    return hashlib.sha256(data[:end]).digest() == data[end : end + HASH_BYTES]


def app_desc(data: bytes) -> AppDesc | None:
    """The description at the start of the first segment, of a cut image too."""
    if len(data) < DESC_AT + DESC.size:
        return None
    magic, secure, *raw, elf, _, _ = DESC.unpack_from(data, DESC_AT)
    if magic != DESC_MAGIC:
        return None
    version, project, time, date, idf = map(_text, raw)
    return AppDesc(version, project, time, date, idf, secure, elf)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _behaviour(segments: Sequence[Segment], problems: list[str]) -> Behaviour | None:
    """The behaviour that a segment holds; one that cannot be read is a problem."""
    try:
        return behaviours.find(segments)
    except FirmwareError as error:
        problems.append(str(error))
        return None


def build_image(chip: Chip, segments: Iterable[Segment], entry: int) -> bytes:
    """An image of these segments, with checksum and hash.

    Padding goes in front of a mapped segment that would lie wrongly: its offset in the file must
    equal its address in the last 16 bits.

    Raises:
        FirmwareError: a segment is not whole words, or there are too many.
    """
    parts: list[tuple[int, bytes]] = []
    place = HEADER.size
    for segment in segments:
        if len(segment.data) % 4:
            raise FirmwareError(
                f"segment at 0x{segment.address:08x}: {len(segment.data)} bytes are no whole words"
            )
        start = place + SEGMENT.size
        if chip.maps(segment.address) and (start - segment.address) % MAPPED_PAGE_BYTES:
            padding = (segment.address - start - SEGMENT.size) % MAPPED_PAGE_BYTES
            parts.append((0, bytes(padding)))
            start += SEGMENT.size + padding
        parts.append((segment.address, segment.data))
        place = start + len(segment.data)
    if len(parts) > MAX_SEGMENTS:
        raise FirmwareError(f"{len(parts)} segments with padding, an image holds {MAX_SEGMENTS}")
    body = _header(chip, len(parts), entry) + b"".join(
        SEGMENT.pack(address, len(data)) + data for address, data in parts
    )
    body = body.ljust(checksum_at(len(body)), b"\0") + bytes([checksum(data for _, data in parts)])
    return body + hashlib.sha256(body).digest()


def _header(chip: Chip, count: int, entry: int) -> bytes:
    revisions = (0, 0, MAX_REVISION_ANY)
    fixed = (WP_PIN_DISABLED, bytes(3), chip.image_id, *revisions, bytes(4), 1)
    return HEADER.pack(MAGIC, count, MODE_DIO, SIZE_4MB_CLOCK_40MHZ, entry, *fixed)


def mend(data: bytes, name: str = "image") -> bytes:
    """The same image with checksum and appended hash made right; what follows it stays.

    Raises:
        FirmwareError: it is no image, or so damaged that its end cannot be found.
    """
    image = parse(data, name)
    if image.checksum_ok and image.hash_ok:
        return data
    lasting = [text for text in image.problems if not text.endswith("is wrong")]
    if lasting:
        raise FirmwareError(f"{name}: cannot be mended: {'; '.join(lasting)}")
    end = image.length - (HASH_BYTES if image.hash_appended else 0)
    body = data[: end - 1] + bytes([checksum(part.data for part in image.segments)])
    digest = hashlib.sha256(body).digest() if image.hash_appended else b""
    return body + digest + data[image.length :]
