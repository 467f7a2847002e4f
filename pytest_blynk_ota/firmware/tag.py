"""The ``blnkinf`` tag: how a Blynk firmware says in its binary what it will report.

Layout: ``blnkinf NUL (key NUL value NUL)* NUL`` (blynk_tag.py of blynk-library takes the first
match in the file).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_blynk_ota.errors import FirmwareError

MAGIC = b"blnkinf\0"
VERSION_KEY = "mcu"
MAX_TAG_BYTES = 1024
"""A tag is sent as one message after login: no longer than a device's ``buff-in``."""
VALUE = re.compile(r"[\w .,:()/+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tag:
    """The pairs of a tag, in order, and where it lies.

    Attributes:
        offset: of the magic in the file.
        size: from the magic to the closing NUL, both included.
    """

    pairs: Mapping[str, str]
    offset: int = field(default=0, compare=False)
    size: int = field(default=0, compare=False)

    def build_bytes(self) -> bytes:
        """The tag as it stands in a binary.

        Raises:
            FirmwareError: a key or value is empty or holds characters that a tag cannot.
        """
        for key, value in self.pairs.items():
            for text in (key, value):
                if not VALUE.fullmatch(text):
                    raise FirmwareError(
                        f"blnkinf tag: {key!r} = {value!r}: expected letters, digits, space "
                        "and . , : ( ) / + - _"
                    )
        body = b"".join(f"{key}\0{value}\0".encode() for key, value in self.pairs.items())
        return MAGIC + body + b"\0"

    @property
    def version(self) -> str | None:
        """What the firmware calls its version."""
        return self.pairs.get(VERSION_KEY)

    @property
    def build(self) -> str | None:
        """When it was built, as ``Nov 23 2026 17:29:49``."""
        return self.pairs.get("build")

    @property
    def fw_type(self) -> str | None:
        """The template id, or what the product calls this firmware."""
        return self.pairs.get("fw-type")


def find(data: bytes) -> Tag | None:
    """The first tag in ``data`` that can be read."""
    start = data.find(MAGIC)
    while start >= 0:
        tag = _read(data, start)
        if tag is not None:
            return tag
        start = data.find(MAGIC, start + 1)
    return None


def _read(data: bytes, start: int) -> Tag | None:
    pairs: dict[str, str] = {}
    place = start + len(MAGIC)
    limit = min(len(data), start + MAX_TAG_BYTES)
    while place < limit:
        if data[place] == 0:
            return Tag(pairs, start, place + 1 - start) if pairs else None
        texts = []
        for _ in range(2):
            end = data.find(0, place, limit)
            if end < 0:
                return None
            texts.append(data[place:end])
            place = end + 1
        if not all(text.isascii() for text in texts):
            return None
        pairs[texts[0].decode()] = texts[1].decode()
    return None


def restamp(data: bytes, version: str, *, room: int = 0) -> bytes:
    """The same bytes with another version in the tag; what follows the tag does not move.

    A shorter version leaves NULs behind the tag. Hashes are not mended.

    Args:
        room: bytes behind the tag that nothing else uses.

    Raises:
        FirmwareError: there is no tag or no version in it, or the version is longer than the old
            one and there is no room: code that uses the tag knows its length.
    """
    tag = find(data)
    if tag is None or tag.version is None:
        raise FirmwareError("the image has no blnkinf tag with a version (key mcu) to restamp")
    most = len(tag.version) + room
    if len(version) > most:
        raise FirmwareError(
            f"version {version!r} has {len(version)} characters, the tag has room for {most} "
            f"(it holds {tag.version!r}); choose a shorter one, or build a firmware of that version"
        )
    stamped = Tag({**tag.pairs, VERSION_KEY: version}).build_bytes().ljust(tag.size, b"\0")
    return data[: tag.offset] + stamped + data[tag.offset + len(stamped) :]
