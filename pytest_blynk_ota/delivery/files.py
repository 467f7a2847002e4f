"""Files to send: what is read of a path, and what is refused before it is."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

MOST_BYTES = 64 * 2**20
"""No ESP32 has so much flash: what is larger is no firmware, and would fill the host's memory."""

KINDS: Sequence[tuple[Callable[[int], bool], str]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class Unfit(Exception):
    """Raised for a path that is nothing to send; says why, in words that go behind the path."""


def look(path: Path) -> None:
    """Whether it can be sent, without opening it: a pipe would be waited for.

    Raises:
        Unfit: it is missing, no regular file, or larger than any flash.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise Unfit(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for holds, words in KINDS:
        if holds(found.st_mode):
            raise Unfit(f"is {words}, no regular file")
    if found.st_size > MOST_BYTES:
        raise Unfit(
            f"has {found.st_size} bytes; no ESP32 has flash for more than {MOST_BYTES} (64 MB)"
        )


def read(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        Unfit: as :func:`look`, or it may not be read.
    """
    look(path)
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise Unfit(f"cannot be read: {error.strerror}") from None
