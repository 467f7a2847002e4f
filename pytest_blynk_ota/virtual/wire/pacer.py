"""One direction of a serial line, on which a byte takes ten bit times."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from pytest_blynk_ota.virtual.wire.baud import FRAME_BITS

MAX_WAITING = 1 << 20
"""Bytes; what would make more wait is lost. Firmware prints no megabyte in one go."""
GRAIN_S = 0.002
"""Wall seconds whose bytes are handed on together."""


class Pacer:
    """Hands bytes on in order: each when its time has passed, or all at once.

    Args:
        deliver: takes bytes and the baud rate that they were sent at.
        speed: device seconds in a wall second; ``None``: bytes take no time.
    """

    def __init__(self, deliver: Callable[[bytes, int], None], speed: float | None) -> None:
        self._deliver = deliver
        self._speed = speed
        self._queue: deque[tuple[bytes, int]] = deque()
        self._passed = 0  # bytes of the first piece that have been handed on
        self._free_at = 0.0  # when the line has done with them
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None
        self.waiting = 0

    def put(self, data: bytes, baud: int) -> None:
        """Send bytes; those for which there is no room are lost."""
        if self._speed is None:
            self._deliver(data, baud)
            return
        data = data[: MAX_WAITING - self.waiting]
        if not data:
            return
        loop = asyncio.get_running_loop()
        if not self._queue:
            self._free_at = max(self._free_at, loop.time())
        self._queue.append((data, baud))
        self.waiting += len(data)
        if self._timer is None:
            self._timer = loop.call_later(GRAIN_S, self._tick)

    def clear(self) -> None:
        """Nothing of what waits will arrive."""
        self._queue.clear()
        self.waiting = self._passed = 0
        self._rest()

    async def empty(self) -> None:
        """Wait until nothing waits."""
        if self._queue:
            self._empty = self._empty or asyncio.Event()
            await self._empty.wait()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        while self._queue and (piece := self._next(now)):
            self._deliver(*piece)
        if self._queue and self._timer is None:
            self._timer = loop.call_at(max(self._free_at, now) + GRAIN_S, self._tick)
        elif not self._queue:
            self._rest()

    def _next(self, now: float) -> tuple[bytes, int] | None:
        """What of the first piece has passed by now; ``None`` if nothing has."""
        assert self._speed is not None
        data, baud = self._queue[0]
        byte_s = FRAME_BITS / baud / self._speed
        count = min(int((now - self._free_at) / byte_s + 1e-6), len(data) - self._passed)
        if count <= 0:
            return None
        passed = data[self._passed : self._passed + count]
        self._free_at += count * byte_s
        self._passed += count
        self.waiting -= count
        if self._passed == len(data):
            self._queue.popleft()
            self._passed = 0
        return passed, baud

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._empty is not None:
            self._empty.set()
            self._empty = None
