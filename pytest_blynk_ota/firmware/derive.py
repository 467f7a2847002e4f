"""Images made from another one: restamped, or broken in one known way.

What is made from an image ends with right hashes, unless a wrong one is the point: the check that
is meant to refuse it is the only one that can.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import behaviour as behaviours
from pytest_blynk_ota.firmware import blnkopt, texts
from pytest_blynk_ota.firmware import tag as tags
from pytest_blynk_ota.firmware.behaviour import Behaviour
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import (
    HASH_BYTES,
    HEADER,
    MAX_SEGMENTS,
    Image,
    Segment,
    mend,
    parse,
)

ILLEGAL_INSTRUCTION = bytes(4)
"""Zeros are no instruction on either architecture (xtensa ``ill``, RISC-V 0x0000)."""
FLASH_SIZES = ("1MB", "2MB", "4MB", "8MB", "16MB")
"""By the number that a header has for each."""
FLASH_AT = 3
SEGMENTS_AT, CHIP_ID_AT, LEAST_REVISION_AT = 1, 12, 15
"""In the image header."""
VERSION_AT, VERSION_BYTES = 16, 32
"""In the application description."""
IDENTITY = ("kind", "version", "build", "fw_type")
"""What tag and description say too: to change it alone would make the image lie by accident."""


def restamped(data: bytes, version: str) -> bytes:
    """The same firmware under another version: tag, description and behaviour say it.

    Raises:
        FirmwareError: the version does not fit, nothing in the image names one, or it is signed.
    """
    image = _open(data, "cannot be restamped")
    if not 0 < len(version.encode()) < VERSION_BYTES:
        raise FirmwareError(f"version {version!r}: expected 1 to {VERSION_BYTES - 1} characters")
    if image.tag is None and image.app_desc is None:
        raise FirmwareError(
            "cannot be restamped: the image has neither a blnkinf tag nor an app description"
        )
    if image.tag is not None:
        data = tags.restamp(data, version, room=_room(image))
    if image.app_desc is not None:
        data = _put(data, image.segments[0].offset + VERSION_AT, _padded(version))
    data = mend(data)
    return data if image.behaviour is None else _behaving(data, {"version": version})


def wrong_chip(data: bytes) -> bytes:
    """The image with another chip in its header."""
    image = _open(data, "cannot be made for a wrong chip")
    other = next(chip for chip in CHIPS.values() if chip.name != image.chip)
    return mend(_put(data, CHIP_ID_AT, other.image_id.to_bytes(2, "little")))


def bad_hash(data: bytes) -> bytes:
    """The image with one bit of its appended SHA-256 flipped."""
    image = _open(data, "cannot be given a bad hash")
    if not image.hash_appended:
        raise FirmwareError("cannot be given a bad hash: the image has no appended SHA-256")
    return _flipped(data, image.length - HASH_BYTES)


def bad_checksum(data: bytes) -> bytes:
    """The image with one bit of its checksum flipped; the SHA-256 over it is right."""
    image = _open(data, "cannot be given a bad checksum")
    end = image.length - (HASH_BYTES if image.hash_appended else 0)
    broken = _flipped(data, end - 1)
    digest = hashlib.sha256(broken[:end]).digest() if image.hash_appended else b""
    return _put(broken, end, digest)


def cut(data: bytes, keep: int) -> bytes:
    """The first ``keep`` bytes.

    Raises:
        FirmwareError: that is not even the image header, or the whole image.
    """
    image = _open(data, "cannot be cut")
    if not HEADER.size <= keep < image.length:
        raise FirmwareError(
            f"cannot be cut after {keep} bytes: expected {HEADER.size} to {image.length - 1}"
        )
    return data[:keep]


def padded(data: bytes, size: int, fill: int = 0xFF) -> bytes:
    """The image with bytes behind it, up to ``size``: the same firmware in a longer file.

    Args:
        fill: the byte; ones are what erased flash holds.

    Raises:
        FirmwareError: it is as long already, or longer.
    """
    _open(data, "cannot be padded")
    if size <= len(data):
        raise FirmwareError(f"cannot be padded to {size} bytes: it has {len(data)}")
    return data.ljust(size, bytes([fill]))


def retyped(data: bytes, fw_type: str) -> bytes:
    """The same firmware for another product: its tag names another template.

    Raises:
        FirmwareError: it has no tag with a type, or that type has another length.
    """
    image = _open(data, "cannot be made for another template")
    if image.tag is None or image.fw_type is None:
        raise FirmwareError("cannot be made for another template: it has no tag with fw-type")
    if len(fw_type) != len(image.fw_type) or not fw_type.isascii():
        raise FirmwareError(
            f"type {fw_type!r}: expected {len(image.fw_type)} characters, as {image.fw_type!r} has:"
            " code that uses the tag knows its length"
        )
    fresh = tags.Tag({**image.tag.pairs, "fw-type": fw_type}).build_bytes()
    data = mend(_put(data, image.tag.offset, fresh))
    return data if image.behaviour is None else _behaving(data, {"fw_type": fw_type})


def for_revision(data: bytes, least: int) -> bytes:
    """The image for chips of a revision from ``least`` on, in hundredths as 300 for v3.0."""
    _open(data, "cannot be made for another revision")
    return mend(_put(data, LEAST_REVISION_AT, least.to_bytes(2, "little")))


def for_flash(data: bytes, size: str) -> bytes:
    """The image for a flash of another size; bootloaders look at their own header alone.

    Raises:
        FirmwareError: no header can name that size.
    """
    image = _open(data, "cannot be made for another flash")
    if size not in FLASH_SIZES:
        raise FirmwareError(f"flash size {size!r}: expected one of {', '.join(FLASH_SIZES)}")
    low = image.data[FLASH_AT] & 0x0F
    return mend(_put(data, FLASH_AT, bytes([FLASH_SIZES.index(size) << 4 | low])))


def without_description(data: bytes) -> bytes:
    """The image with a wrong magic word in its application description."""
    image = _open(data, "cannot lose its description")
    if image.app_desc is None:
        raise FirmwareError("cannot lose its description: it has none")
    return mend(_flipped(data, image.segments[0].offset))


def wrong_segment(data: bytes) -> bytes:
    """The image with a first segment that ends far behind the file."""
    image = _open(data, "cannot be given a wrong segment")
    return _put(data, image.segments[0].offset - 4, (1 << 24).to_bytes(4, "little"))


def too_many_segments(data: bytes) -> bytes:
    """The image with a header that counts one segment more than a loader takes."""
    _open(data, "cannot be given too many segments")
    return _put(data, SEGMENTS_AT, bytes([MAX_SEGMENTS + 1]))


def crash_at_start(data: bytes) -> bytes:
    """The image with an illegal instruction at its entry."""
    image = _open(data, "cannot be made to crash")
    size = len(ILLEGAL_INSTRUCTION)
    for segment in image.segments:
        start = image.entry - segment.address
        if segment.address and 0 <= start <= len(segment.data) - size:
            return mend(_put(data, segment.offset + start, ILLEGAL_INSTRUCTION))
    raise FirmwareError(
        f"cannot be made to crash: its entry 0x{image.entry:08x} lies in no segment"
    )


def with_behaviour(data: bytes, **changes: Any) -> bytes:
    """A fixture image that behaves otherwise; keys as in the recipes' ``behaviour``.

    Raises:
        FirmwareError: the image has no behaviour, or a change is unknown or changes what it is.
    """
    for key in IDENTITY:
        if key in changes:
            raise FirmwareError(
                f"behaviour: {key} is what the image is, not what it does; restamp it, or make "
                "another one from a recipe"
            )
    return _behaving(data, changes)


def provisioned(
    data: bytes, *, ssid: str, passphrase: str, token: str, host: str, port: int
) -> bytes:
    """Old Edgent with these settings in its ``blnkopt`` section.

    Raises:
        FirmwareError: it has no such section, they do not fit in, or the image is signed.
    """
    _open(data, "cannot be given settings")
    return mend(
        blnkopt.patched(data, ssid=ssid, passphrase=passphrase, token=token, host=host, port=port)
    )


def pointed(data: bytes, *, default_host: str, host: str, ca: str = "") -> bytes:
    """The image that dials another host than it was built for, and trusts one CA alone.

    Args:
        default_host: what it was built for.
        ca: in PEM; "": its roots stay.

    Raises:
        FirmwareError: its host or roots are not found, the new ones are longer, or it is signed.
    """
    _open(data, "cannot be pointed elsewhere")
    texts.with_text(data, default_host, host, "host")  # or it raises
    data = blnkopt.rehosted(data, default_host, host)
    if texts.places_of(data, default_host):
        data = texts.with_text(data, default_host, host, "host")
    return mend(texts.with_roots(data, ca) if ca else data)


def _behaving(data: bytes, changes: dict[str, Any]) -> bytes:
    image = _open(data, "cannot behave otherwise")
    place = behaviours.segment_of(image.segments)
    if image.behaviour is None or place is None:
        raise FirmwareError(
            "cannot behave otherwise: the image has no behaviour segment; only images made from "
            "recipes have one"
        )
    fresh = Behaviour.from_data({**image.behaviour.to_data(), **changes}).to_segment()
    room = len(place.data)
    if len(fresh) > room:
        raise FirmwareError(f"behaviour: {len(fresh)} bytes, its segment has room for {room}")
    return mend(_put(data, place.offset, fresh.ljust(room, b"\0")))


def _open(data: bytes, what: str) -> Image:
    """The image, if a change could go unnoticed.

    Raises:
        FirmwareError: it is damaged, or signed: any change breaks its signature.
    """
    image = parse(data, what)
    if image.signed:
        raise FirmwareError(f"{what}: it is signed, and a change breaks the signature")
    if image.problems:
        raise FirmwareError(f"{what}: it is damaged already: {'; '.join(image.problems)}")
    return image


def _room(image: Image) -> int:
    """Zeros behind the tag that are kept free for longer versions: in our own images only."""
    if image.tag is None or image.behaviour is None:
        return 0
    end = image.tag.offset + image.tag.size
    tail: Segment | None = next(
        (part for part in image.segments if 0 <= end - part.offset < len(part.data)), None
    )
    if tail is None:
        return 0
    rest = tail.data[end - tail.offset :]
    return len(rest) - len(rest.lstrip(b"\0"))


def _padded(version: str) -> bytes:
    return version.encode().ljust(VERSION_BYTES, b"\0")


def _flipped(data: bytes, place: int) -> bytes:
    return _put(data, place, bytes([data[place] ^ 0x01]))


def _put(data: bytes, place: int, fresh: bytes) -> bytes:
    return data[:place] + fresh + data[place + len(fresh) :]
