"""Files to send: what is read of a path, and what is refused before it is."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.errors import FaultError

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


def others_of(faults: Sequence[Fault]) -> Mapping[str, bytes]:
    """The files that ``other`` names. They are read once: what becomes of them later changes
    nothing.

    Raises:
        FaultError: one cannot be read.
    """
    found: dict[str, bytes] = {}
    for fault in faults:
        if fault.kind != "other":
            continue
        path = fault.values["path"]
        try:
            found[path] = read(Path(path))
        except Unfit as why:
            raise FaultError(f"{fault}: {path} {why}; name a file") from None
    return found
