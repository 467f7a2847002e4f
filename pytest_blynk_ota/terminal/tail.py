"""The events of a running test, read from its file as they are written, by whichever process."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from pytest_blynk_ota.evidence.event import Event

UNREAD = b'"kind": "line"'
"""Most lines are of the serial log, and say nothing of how far a test is."""
HEAD_BYTES = 160
"""The kind of an event stands in these first bytes of its line."""
CHUNK_BYTES = 1 << 20


class Tail:
    """Follows one file; it may not be there yet, or be replaced by another.

    Args:
        path: of ``events.jsonl``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._inode = 0
        self._rest = b""

    def read(self) -> list[Event]:
        """The events that have come whole since the last time; what is no event is left out."""
        self._follow()
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read(CHUNK_BYTES)).split(b"\n")
        found = (_event(line) for line in lines if UNREAD not in line[:HEAD_BYTES])
        return [event for event in found if event is not None]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._rest = b""

    def _follow(self) -> None:
        try:
            inode = self._path.stat().st_ino
            if self._file is not None and inode == self._inode:
                return
            self.close()
            self._file, self._inode = self._path.open("rb"), inode
        except OSError:  # not yet, or not any more
            self.close()


def _event(line: bytes) -> Event | None:
    try:
        return Event.from_json(line.decode("utf-8", "replace"))
    except (ValueError, KeyError, TypeError):
        return None
