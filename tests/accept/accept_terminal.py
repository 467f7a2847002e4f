"""A program that wants a terminal, in one."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import time
from collections.abc import Iterator, Mapping, Sequence

from accept_bench import PATIENCE_S


class Terminal:
    """What a program shows, and a keyboard for it."""

    def __init__(self, pid: int, fd: int) -> None:
        self._pid, self._fd = pid, fd
        self.text = ""

    def until(self, wanted: str, *, after: int = 0, wall_s: float = PATIENCE_S) -> str:
        """What was shown, once ``wanted`` is in it, or when the time is over or it ended."""
        deadline = time.monotonic() + wall_s
        while wanted not in self.text[after:]:
            if not select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            try:
                self.text += os.read(self._fd, 4096).decode(errors="replace")
            except OSError:  # Linux: the other end of a pseudo-terminal is closed
                break
        return self.text[after:]

    def type(self, keys: bytes) -> None:
        """Press these keys."""
        os.write(self._fd, keys)

    def exit_code(self) -> int:
        """How it ended; waits for that."""
        while True:
            try:
                if not os.read(self._fd, 4096):
                    break
            except OSError:
                break
        pid, self._pid = self._pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self) -> None:
        """End it, if it runs."""
        if self._pid:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
        os.close(self._fd)


@contextlib.contextmanager
def in_terminal(command: Sequence[str], env: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command in a terminal of its own."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(command[0], list(command), dict(env))
    terminal = Terminal(pid, fd)
    try:
        yield terminal
    finally:
        terminal.close()
