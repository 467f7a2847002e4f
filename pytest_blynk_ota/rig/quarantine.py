"""Boards that do not come back: refused at once, with the reason, until the doctor was there.

A wedged board costs each test that gets it half a minute, and each of those tests is red. So a
board that fails when it is handed out is counted, in a file beside its lease; after STRIKES in a
row nobody gets it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pytest_blynk_ota.rig.lease import (
    file_of,
    lock_folder,
    make_shared,
    remove_shared,
    write_shared,
)

STRIKES = 2
"""Failures in a row, each behind resets and a power cycle: one may be a cable in a hand."""


@dataclass(frozen=True, slots=True)
class Wedged:
    """What is held against a board.

    Attributes:
        board: its name in the rig file.
        reason: of the last failure, one line.
        count: failures in a row.
        since: ISO time of the first of them.
    """

    board: str
    reason: str
    count: int
    since: str

    @property
    def is_refused(self) -> bool:
        """Whether it is in quarantine."""
        return self.count >= STRIKES

    def __str__(self) -> str:
        return (
            f"board {self.board} is in quarantine: it failed {self.count} times in a row since "
            f"{self.since}, the last time: {self.reason}"
        )


class Ward:
    """The record of one board, kept on the host; of a virtual one, which ends with its run, here.

    Args:
        board: its name.
        port: what its files are named by; None for a virtual board.
    """

    def __init__(self, board: str, port: str | None) -> None:
        self._board = board
        self._file = None if port is None else file_of(port, ".wedged")
        self._kept: Wedged | None = None

    def look(self) -> Wedged | None:
        """What is held against it; None if nothing is."""
        return self._kept if self._file is None else _read(self._file)

    def strike(self, reason: str) -> Wedged:
        """One more failure."""
        line = " ".join(reason.split())
        old = self.look()
        if old is None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            new = Wedged(self._board, line, 1, now)
        else:
            new = replace(old, board=self._board, reason=line, count=old.count + 1)
        self._kept = new
        if self._file is not None:
            make_shared(lock_folder())
            write_shared(self._file, asdict(new))
        return new

    def lift(self) -> None:
        """It works: nothing is held against it any more."""
        self._kept = None
        if self._file is not None:
            remove_shared(self._file)


def _read(file: Path) -> Wedged | None:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        row = json.loads(file.read_text())
        return Wedged(str(row["board"]), str(row["reason"]), int(row["count"]), str(row["since"]))
    return None
