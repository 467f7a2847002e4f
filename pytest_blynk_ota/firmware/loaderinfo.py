"""What a second-stage bootloader says of itself: its ESP-IDF, when it was built, its log.

From IDF 5.2 on it begins with a description (``esp_bootloader_desc_t``); older ones have the same
in their strings, which also show what their log was built like.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image

DESC = struct.Struct("<B3xI32s24s16x")
DESC_MAGIC = 0x50
DESC_FROM = (5, 2)
"""The first release of ESP-IDF with a description (esp_bootloader_format)."""

GREETING = b"ESP-IDF %s 2nd stage bootloader"
COMPILED = b"compile time "
LOADED = b"Loaded app from partition at offset"
"""In the strings of a bootloader that logs at INFO; at WARN it is not compiled in."""
COLOUR = b"\x1b[0;3"

_VERSION = re.compile(rb"\0v?(\d+\.\d+(?:[.-][\w.-]+)?)\0")
_COMPILED = re.compile(COMPILED + rb"((?:[A-Z][a-z]{2} [ \d]\d \d{4} )?\d\d:\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class LoaderInfo:
    """One bootloader.

    Attributes:
        idf: ESP-IDF's version; ``None``: it does not say.
        built: date and time, or the time alone; ``None``: a reproducible build.
        verbose: whether it logs at INFO.
        coloured: whether its log has colours; ``None``: its strings are none of ESP-IDF's.
    """

    idf: str | None
    built: str | None
    verbose: bool
    coloured: bool | None


def read(image: Image) -> LoaderInfo:
    """What is known of a bootloader from its bytes alone."""
    data = image.data
    verbose = LOADED in data
    coloured = COLOUR in data if verbose else None
    described = _description(image)
    if described is not None:
        return LoaderInfo(*described, verbose, coloured)
    version, built = _VERSION.search(data), _COMPILED.search(data)
    return LoaderInfo(
        f"v{version[1].decode()}" if version else None,
        built[1].decode() if built else None,
        verbose,
        coloured,
    )


def _description(image: Image) -> tuple[str, str | None] | None:
    data = image.segments[0].data if image.segments else b""
    if len(data) < DESC.size or data[0] != DESC_MAGIC:
        return None
    _, _, idf, built = DESC.unpack_from(data)
    if not idf.startswith(b"v"):
        return None
    return _text(idf), _text(built) or None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def build(idf: str, built: str) -> bytes:
    """What a bootloader of this version begins with, so that :func:`read` finds it again."""
    number = re.match(r"v?(\d+)\.(\d+)", idf)
    if number and (int(number[1]), int(number[2])) >= DESC_FROM:
        return DESC.pack(DESC_MAGIC, 1, idf.encode(), built.encode())
    text = GREETING + b"\0" + idf.encode() + b"\0" + COMPILED + built.encode() + b"\0"
    return text + bytes(-len(text) % 4)
