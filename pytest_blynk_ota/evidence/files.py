"""Files of a run, read with care: a run may come from anywhere, and anything may lie in it.

Links are never followed inside a run, and pipes and devices never opened: a bundle that was
unpacked from an archive could point at any file of the host, or hang its reader.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.marks import Flaw

KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class NoSuchFile(EvidenceError):
    """Raised when a file of a run is not there."""


class Foreign(EvidenceError):
    """Raised when something else stands where a file of a run is expected."""


def flaw_of(error: EvidenceError) -> Flaw:
    """What an error of this module says of the file."""
    if isinstance(error, NoSuchFile):
        return Flaw.MISSING
    return Flaw.FOREIGN if isinstance(error, Foreign) else Flaw.UNREADABLE


def kind_of(path: Path) -> str:
    """What stands at a path, itself and not where it leads: "" for a file.

    Raises:
        NoSuchFile: nothing does.
        EvidenceError: it cannot be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        raise _error(path, error) from error
    if stat.S_ISREG(mode):
        return ""
    return next((name for holds, name in KINDS if holds(mode)), "a device")


def is_folder(path: Path) -> bool:
    """Whether a folder stands at a path, and no link to one."""
    try:
        return kind_of(path) == "a folder"
    except EvidenceError:
        return False


def is_file(path: Path) -> bool:
    """Whether a file stands at a path, and no link to one."""
    try:
        return kind_of(path) == ""
    except EvidenceError:
        return False


def is_there(path: Path) -> bool:
    """Whether anything stands at a path; what it is, is another question."""
    try:
        kind_of(path)
    except EvidenceError:
        return False
    return True


def read_bytes(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        NoSuchFile: it is not there.
        Foreign: it is no file.
        EvidenceError: it cannot be read.
    """
    kind = kind_of(path)
    if kind:
        raise Foreign(f"{path}: is {kind}, expected a file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise _error(path, error) from error


def read_text(path: Path) -> str:
    """A whole text file. Raises as :func:`read_bytes`, and EvidenceError if it is no UTF-8."""
    return decoded(read_bytes(path), path)


def decoded(data: bytes, path: Path) -> str:
    """Bytes of a file as text. Raises EvidenceError, which names the line of a bad byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EvidenceError(
            f"{path}: line {line}: byte 0x{data[error.start]:02x} is no UTF-8"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object. Raises as :func:`read_text`."""
    text = read_text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{path}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise EvidenceError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found


def folders_in(path: Path) -> list[Path]:
    """The folders in a folder, by name, links left out; none if it is not there."""
    try:
        return sorted(entry for entry in path.iterdir() if is_folder(entry))
    except OSError:
        return []


def walk(root: Path) -> Iterator[str]:
    """Each thing in a folder that is no folder, as a path relative to it; links are named."""
    cut = len(str(root).rstrip("/")) + 1
    for folder, names, files in os.walk(root, followlinks=False):
        names.sort()
        links = [name for name in names if Path(folder, name).is_symlink()]
        inside = folder[cut:] + "/" if folder[cut:] else ""
        for name in sorted([*files, *links]):
            yield inside + name


def _error(path: Path, error: OSError) -> EvidenceError:
    kind = NoSuchFile if error.errno in (errno.ENOENT, errno.ENOTDIR) else EvidenceError
    return kind(f"{path}: {error.strerror or error}")


def write_text(path: Path, text: str) -> None:
    """Write a text file and have it on the disk; half a pair of UTF-16, which is no UTF-8, is
    written as its escape."""
    with path.open("wb") as file:
        file.write(text.encode("utf-8", "backslashreplace"))
        file.flush()
        os.fsync(file.fileno())
