"""Ending with whoever started us: signals, a pipe that closes, a parent that has died."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys

from pytest_blynk_ota.errors import UsageError

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PARENT_CHECK_S = 0.5


class Lifeline:
    """Tells when to end; ``reason`` says why.

    SIGTERM and SIGINT always count. The death of the parent is seen at once on Linux, by a look
    twice a second elsewhere. The kernel sends its signal when the *thread* that started us ends,
    too, so it is only taken as a reason to look.

    Args:
        stdin: whether the end of standard input counts as well.

    Raises:
        UsageError: standard input is nothing that can be waited for.
    """

    def __init__(self, *, stdin: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._parent = os.getppid()
        self._timer: asyncio.TimerHandle | None = None
        self.reason = ""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end, signal.Signals(number).name)
        if sys.platform == "linux":
            self._loop.add_signal_handler(signal.SIGUSR1, self._look)
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1)
        self._watch()
        if stdin:
            try:
                self._loop.add_reader(sys.stdin.fileno(), self._read)
            except OSError as error:  # epoll takes no regular file
                raise UsageError("--lifeline: standard input is no pipe") from error

    async def ended(self) -> None:
        """Return when it is time."""
        await self._ended.wait()

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._ended.set()

    def _look(self) -> None:
        if os.getppid() != self._parent:
            self._end("the parent process has ended")

    def _watch(self) -> None:
        self._look()
        self._timer = self._loop.call_later(PARENT_CHECK_S, self._watch)

    def _read(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            self._loop.remove_reader(sys.stdin.fileno())
            self._end("standard input was closed")
