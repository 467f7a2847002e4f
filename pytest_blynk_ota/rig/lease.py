"""Leases: one board, one holder on a host. The operating system's lock is the truth."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pytest_blynk_ota.errors import LeaseHeld


def lock_folder() -> Path:
    """Host-wide, shared by all users; ``BLYNK_OTA_LOCKS`` names another one."""
    return Path(os.environ.get("BLYNK_OTA_LOCKS", Path(tempfile.gettempdir()) / "blynk-ota-locks"))


class Lease:
    """The right to use one board; freed when closed, and by the system when the holder dies.

    Attributes:
        left_by: the holder that died with it, and left undone what it would have done; "" if none.

    Raises:
        LeaseHeld: another process has the board; says who, where and since when.
    """

    def __init__(self, board: str, port: str) -> None:
        folder = lock_folder()
        make_shared(folder)
        self._label = _label_of(port)
        self._lock = FileLock(self._label.with_suffix(".lock"), mode=0o666)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LeaseHeld(f"board {board} ({port}) is held by {self._holder()}") from None
        self.left_by = self._holder() if self._label.exists() else ""
        self._write_label()

    def _write_label(self) -> None:
        """Say who holds the lock. For people only: a label that cannot be written is left out."""
        row = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "user": _user(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with contextlib.suppress(OSError):  # another user's, left by a holder that was killed
            self._label.write_text(json.dumps(row))

    def _holder(self) -> str:
        try:
            row = json.loads(self._label.read_text())
            return f"pid {row['pid']} of {row['user']} on {row['host']} since {row['since']}"
        except (OSError, ValueError, KeyError):
            return "another process, which left no label"

    def close(self, *, done: bool = True) -> None:
        """Give the board back. Not ``done``: as if its holder had died with it."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                if done:
                    self._label.unlink(missing_ok=True)
            self._lock.release()


def left_behind(port: str) -> bool:
    """Whether there is a lease that somebody holds, or that its holder died with."""
    return _label_of(port).exists()


def _label_of(port: str) -> Path:
    """Who has it, for people: it goes when the lease is given back."""
    return lock_folder() / f"{hashlib.sha256(port.encode()).hexdigest()[:16]}.json"


def _user() -> str:
    """The user's name; in a container it may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError up to Python 3.12
        return f"user {os.getuid()}"


def make_shared(folder: Path) -> None:
    """A folder that every user may lock in, with the sticky bit, as /tmp has it."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
