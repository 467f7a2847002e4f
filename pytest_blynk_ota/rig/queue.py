"""Who waits for which board: those who came first get it first.

A waiter leaves a ticket that it keeps locked, so that the ticket of one that died counts no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pytest_blynk_ota.rig.lease import lock_folder, locked, make_shared, write_shared


@dataclass(frozen=True, slots=True)
class Ticket:
    """One who waits.

    Attributes:
        ports: of the boards any of which will do.
        run: pid of its run.
    """

    file: Path
    ports: Sequence[str]
    run: int

    def is_before(self, other: Path) -> bool:
        return self.file.name < other.name


def folder() -> Path:
    """Where the tickets lie."""
    return lock_folder() / "queue"


def waiting() -> list[Ticket]:
    """Those who wait, in the order in which they came."""
    return [ticket for file in sorted(folder().glob("*.json")) if (ticket := _read(file))]


def _read(file: Path) -> Ticket | None:
    if not locked(file.with_suffix(".lock")):
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        row = json.loads(file.read_text())
        return Ticket(file, tuple(str(port) for port in row["ports"]), int(row["run"]))
    return None


def others_first(port: str) -> bool:
    """Whether one who does not wait may take a board: nobody waits for it."""
    return not any(port in one.ports for one in waiting())


class Turn:
    """A place in the queue."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def has_come_for(self, port: str) -> bool:
        """Whether nobody who came before wants that board."""
        return not any(port in one.ports for one in waiting() if one.is_before(self._file))


@contextmanager
def standing_in_line(ports: Sequence[str], run: int) -> Iterator[Turn]:
    """Wait among others for any of some boards; the place is given up at the end.

    Args:
        ports: of the boards.
        run: pid of the run that waits.
    """
    make_shared(lock_folder())
    make_shared(folder())
    file = folder() / f"{time.monotonic_ns():020d}-{os.getpid()}.json"
    lock = FileLock(file.with_suffix(".lock"), mode=0o666)
    with lock:
        write_shared(file, {"ports": list(ports), "run": run})
        try:
            yield Turn(file)
        finally:
            file.unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)
