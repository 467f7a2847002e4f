"""Leases: one board, one holder on a host. The operating system's lock is the truth.

Beside the lock lies a label that says who holds it. It is for people: it may be stale, as after a
kill, and nothing is ever decided by it while the lock says otherwise.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from pytest_blynk_ota.errors import LeaseHeld

LOCKS = Path("/proc/locks")
SHARED = 0o777
NAME_BYTES = 16
"""Hex digits of a port's hash: the name of its files."""


def lock_folder() -> Path:
    """Host-wide, shared by all users; ``BLYNK_OTA_LOCKS`` names another one."""
    return Path(os.environ.get("BLYNK_OTA_LOCKS", Path(tempfile.gettempdir()) / "blynk-ota-locks"))


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a lease, as its label says.

    Attributes:
        pid: of the process that has the lock.
        run: pid of the process to ask for it: of pytest-xdist's controller, where a worker has it.
        user, host: whose process it is, and where.
        since: ISO time.
        until: ISO time at which it will be given back; None: when its run ends.
    """

    pid: int
    run: int
    user: str
    host: str
    since: str
    until: str | None = None

    def __str__(self) -> str:
        until = f" until {self.until}" if self.until else ""
        return f"pid {self.pid} of {self.user} on {self.host} since {self.since}{until}"

    @classmethod
    def of_this_process(cls, run: int | None = None, until: datetime | None = None) -> Self:
        """This process, from now on; it is its own run if none is given."""
        return cls(
            pid=os.getpid(),
            run=run or os.getpid(),
            user=_user(),
            host=socket.gethostname(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            until=until.isoformat(timespec="seconds") if until else None,
        )

    @classmethod
    def read(cls, label: Path) -> Self | None:
        """What a label says; None if there is none, or none that can be read."""
        try:
            row = json.loads(label.read_text())
            return cls(
                pid=int(row["pid"]),
                run=int(row["run"]),
                user=str(row["user"]),
                host=str(row["host"]),
                since=str(row["since"]),
                until=row["until"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Lease:
    """The right to use one board; freed when closed, and by the system when the holder dies.

    Args:
        board: its name, for messages.
        port: as the rig file names it: what is leased.
        run: pid of the process that is to be asked for it; this one's if None.
        until: when it will be given back, for others to read.

    Attributes:
        left_by: the holder that died with it, and left undone what it would have done; "" if none.

    Raises:
        LeaseHeld: another process has the board; says who, where and since when.
    """

    def __init__(
        self, board: str, port: str, *, run: int | None = None, until: datetime | None = None
    ) -> None:
        make_shared(lock_folder())
        self._label = _label_of(port)
        self._lock = FileLock(_lock_of(port), mode=0o666)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LeaseHeld(f"board {board} ({port}) is held by {_named(self._label)}") from None
        self.left_by = _named(self._label) if left_behind(port) else ""
        write_shared(self._label, asdict(Holder.of_this_process(run, until)))

    def close(self, *, done: bool = True) -> None:
        """Give the board back. Not ``done``: as if its holder had died with it."""
        if self._lock.is_locked:
            if done:
                remove_shared(self._label)
            with contextlib.suppress(OSError):
                self._lock.release()


@dataclass(frozen=True, slots=True)
class State:
    """A board's lease at this moment.

    Attributes:
        held: whether a process has its lock.
        holder: what the label says; of a holder that died, if not ``held``.
        pid: of the process that has the lock, as the system says; None where it does not say.
    """

    held: bool
    holder: Holder | None
    pid: int | None

    def __str__(self) -> str:
        return str(self.holder or "another process, which left no label")

    @property
    def is_sure(self) -> bool:
        """Whether the label is of the process that has the lock."""
        return self.held and self.holder is not None and self.holder.pid == self.pid


def state_of(port: str) -> State:
    """Look at a lease without taking it."""
    pid = _locker(_lock_of(port))
    return State(pid is not None, Holder.read(_label_of(port)), pid or None)


def locked(file: Path) -> bool:
    """Whether a process has locked a file."""
    return _locker(file) is not None


def left_behind(port: str) -> bool:
    """Whether there is a lease that somebody holds, or that its holder died with."""
    with contextlib.suppress(OSError):
        return _label_of(port).stat().st_size > 0
    return False


def _locker(lock: Path) -> int | None:
    """The process that has locked a file; 0 if one of another container has, None if none has.

    Looked up rather than tried: a try would hold the lock for a moment, and somebody who wants
    the board in that moment would be sent away.
    """
    try:
        seen, rows = lock.stat(), LOCKS.read_text().splitlines()
    except FileNotFoundError:
        if LOCKS.exists() or not lock.exists():
            return None
        return _tried(lock)
    here = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}:{seen.st_ino}"
    for row in rows:
        words = row.split()
        if here in words and "FLOCK" in words and "->" not in words:
            return max(int(words[words.index(here) - 1]), 0)
    return None


def _tried(lock: Path) -> int | None:
    """As ``_locker``, where the system keeps no list."""
    probe = FileLock(lock, mode=0o666)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return 0
    probe.release()
    return None


def _named(label: Path) -> str:
    return str(Holder.read(label) or "another process, which left no label")


def file_of(port: str, suffix: str) -> Path:
    """One of a port's files in the shared folder."""
    return lock_folder() / f"{hashlib.sha256(port.encode()).hexdigest()[:NAME_BYTES]}{suffix}"


def _label_of(port: str) -> Path:
    """Who has it, for people: it goes when the lease is given back."""
    return file_of(port, ".json")


def _lock_of(port: str) -> Path:
    return file_of(port, ".lock")


def _user() -> str:
    """The user's name; in a container it may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12
        return f"user {os.getuid()}"


def make_shared(folder: Path) -> None:
    """A folder that every user may lock in.

    Without the sticky bit that /tmp has: with it filelock takes no lock of a third user's file, for
    that user might put another one in its place.
    """
    with contextlib.suppress(PermissionError):  # somebody else's: it is as it was made
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o7777 != SHARED:
            folder.chmod(SHARED)


def write_shared(file: Path, row: Mapping[str, object]) -> None:
    """Write a small file that any user may write over. One that cannot be written is left out.

    It is opened without O_CREAT if it is there: Linux refuses that flag for another user's file in
    a folder with the sticky bit (fs.protected_regular).
    """
    text = json.dumps(row).encode()
    with contextlib.suppress(OSError):
        new = not file.exists()
        handle = os.open(file, os.O_WRONLY | os.O_TRUNC | (os.O_CREAT if new else 0), 0o666)
        try:
            if new:
                os.fchmod(handle, 0o666)  # whatever the umask
            os.write(handle, text)
        finally:
            os.close(handle)


def remove_shared(file: Path) -> None:
    """Take a file of the shared folder away; another user's is made empty, which is the same."""
    try:
        file.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(file, 0)
