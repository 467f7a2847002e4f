"""Lines under pytest's own on a terminal: drawn at any time, gone before anybody else writes.

They stand below the cursor, and the cursor goes back to where pytest left it. So whatever happens
to them, erasing to the end of the screen takes them away, and what is above is never touched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

ERASE_BELOW = "\x1b[J"
ERASE_LINE = "\x1b[K"
UP = "\x1b[{}A"
RIGHT = "\x1b[{}C"


class Screen:
    """The lines, and the lock that all writing to the terminal goes under.

    Args:
        fd: of the terminal; a copy of it is kept, which no capturing redirects.
    """

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._lock = threading.RLock()
        self._held = 0
        self._shown = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        try:
            return os.get_terminal_size(self._fd)
        except OSError:  # the terminal has gone: nobody looks any more
            return 80, 24

    def draw(self, lines: Sequence[str], column: Callable[[], int | None]) -> None:
        """Show these lines in place of those before; nothing while somebody else writes.

        Args:
            column: tells, under the lock, where in its line pytest's cursor is; None: not now.
        """
        with self._lock:
            at = column()
            if self._held or at is None:
                return
            if not lines:
                self.clear()
                return
            text = "".join(f"\r\n{line}{ERASE_LINE}" for line in lines)
            back = UP.format(len(lines)) + "\r" + (RIGHT.format(at) if at else "")
            self._write(text + ERASE_BELOW + back)
            self._shown = True

    def clear(self) -> None:
        """Take the lines away."""
        with self._lock:
            if self._shown:
                self._write(ERASE_BELOW)
                self._shown = False

    def say(self, text: str) -> None:
        """Write something that stays."""
        with self._lock:
            self.clear()
            self._write(text)

    @contextmanager
    def others(self) -> Iterator[None]:
        """While somebody else writes: nothing is shown, nothing is drawn."""
        with self._lock:
            self.clear()
            yield

    def hold(self) -> None:
        """Draw nothing until :meth:`release`: others write, and do not tell when."""
        with self._lock:
            self.clear()
            self._held = 1

    def release(self) -> None:
        """Draw again."""
        with self._lock:
            self._held = 0

    def close(self) -> None:
        """Take the lines away, for good."""
        with self._lock:
            self.hold()
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data and self._fd >= 0:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError:  # the terminal has gone: nobody looks any more
                return


class Guarded:
    """pytest's output with the lines taken away before each write.

    Args:
        file: what pytest writes to.
        screen: the lines.
    """

    def __init__(self, file: TextIO, screen: Screen) -> None:
        self._file = file
        self._screen = screen

    def write(self, text: str) -> int:
        """Write and flush, so that the cursor is where pytest thinks it is."""
        with self._screen.others():
            written = self._file.write(text)
            self._file.flush()
            return written

    def flush(self) -> None:
        """The same."""
        with self._screen.others():
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
