"""Images made from another one: restamped, or broken in one known way."""

from __future__ import annotations

import dataclasses
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import tag
from pytest_blynk_ota.firmware.behaviour import Behaviour
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import HASH_BYTES, Image, mend, parse

ENTRY_BYTES = 4
"""Zeros are an illegal instruction on both architectures."""
CHIP_ID_OFFSET = 12
VERSION_OFFSET, VERSION_BYTES = 16, 32


def _open(data: bytes, what: str) -> Image:
    """Read the image; refuse what could not pass for its maker's after a change."""
    image = parse(data, f"{what}: the given image")
    if image.signed:
        raise FirmwareError(f"{what}: the image is signed; any change breaks its signature")
    return image


def restamped(data: bytes, version: str) -> bytes:
    """The same firmware under another version: tag, descriptor and behaviour, hashes right.

    Raises:
        FirmwareError: no tag, no room, signed, encrypted, or the version is empty or too long.
    """
    if not version or len(version) >= VERSION_BYTES:
        raise FirmwareError(f"version {version!r}: expected 1 to {VERSION_BYTES - 1} characters")
    image = _open(data, "restamp")
    fresh = tag.restamp(data, version)
    if image.app_desc:
        at = image.segments[0].offset + VERSION_OFFSET
        raw = version.encode().ljust(VERSION_BYTES, b"\0")
        fresh = fresh[:at] + raw + fresh[at + VERSION_BYTES :]
    fresh = mend(fresh)
    if image.behaviour:
        return with_behaviour(fresh, version=version)
    return fresh


def wrong_chip(data: bytes) -> bytes:
    """The image with another chip in its header, hashes right."""
    image = _open(data, "wrong chip")
    others = [chip.image_id for chip in CHIPS.values() if chip.name != image.chip]
    raw = others[0].to_bytes(2, "little")
    return mend(data[:CHIP_ID_OFFSET] + raw + data[CHIP_ID_OFFSET + 2 :])


def bad_hash(data: bytes) -> bytes:
    """The image with one bit of its appended SHA-256 flipped."""
    image = _open(data, "bad hash")
    if not image.hash_appended:
        raise FirmwareError("bad hash: the image has no appended SHA-256")
    return _flip(data, image.length - HASH_BYTES)


def bad_checksum(data: bytes) -> bytes:
    """The image with one bit of its checksum byte flipped; the hash stays as it was."""
    image = _open(data, "bad checksum")
    return _flip(data, image.length - 1 - (HASH_BYTES if image.hash_appended else 0))


def cut(data: bytes, keep: int) -> bytes:
    """The first ``keep`` bytes."""
    _open(data, "cut")
    if not 0 < keep < len(data):
        raise FirmwareError(f"cut: keep is 1 to {len(data) - 1} bytes, got {keep}")
    return data[:keep]


def crash_at_start(data: bytes) -> bytes:
    """The image with an illegal instruction at its entry, hashes right."""
    image = _open(data, "crash at start")
    for segment in image.segments:
        at = image.entry - segment.address
        if segment.address and 0 <= at <= len(segment.data) - ENTRY_BYTES:
            start = segment.offset + at
            return mend(data[:start] + b"\0" * ENTRY_BYTES + data[start + ENTRY_BYTES :])
    raise FirmwareError(f"crash at start: the entry 0x{image.entry:08x} is in no segment")


def with_behaviour(data: bytes, **changes: Any) -> bytes:
    """A fixture image with other behaviour, hashes right.

    Raises:
        FirmwareError: the image carries no behaviour, or a change is unknown.
    """
    image = _open(data, "behaviour")
    if image.behaviour is None:
        raise FirmwareError(
            "this image carries no behaviour: only a fixture image can be told to misbehave"
        )
    current = {key: value for key, value in dataclasses.asdict(image.behaviour).items()}
    fresh = Behaviour.from_data({**current, **changes}).to_segment()
    segment = next(
        part for part in image.segments if part.address == 0 and part.data.startswith(b"BOTABEHV")
    )
    if len(fresh) > len(segment.data):
        raise FirmwareError(
            f"behaviour: needs {len(fresh)} bytes, the segment has {len(segment.data)}"
        )
    fresh = fresh.ljust(len(segment.data), b"\0")
    start = segment.offset
    return mend(data[:start] + fresh + data[start + len(fresh) :])


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]
