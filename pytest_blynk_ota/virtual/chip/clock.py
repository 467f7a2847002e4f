"""Device time: a virtual board lives ``speed`` times as fast as the wall clock."""

from __future__ import annotations

import asyncio
import time

FLOOR_S = 0.25  # no scaled time-out falls below this many wall seconds
GRAIN_S = 0.002  # wall seconds of debt that are worth one trip through the event loop
CREDIT_S = 0.02  # wall seconds by which a late wake-up may shorten the spending after it


class DeviceClock:
    """The clock of one board.

    Args:
        speed: device seconds per wall second; more than 0.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be more than 0, not {speed}")
        self.speed = speed
        self._start = time.monotonic()
        self._owed = 0.0

    def now(self) -> float:
        """Device seconds since this clock was made."""
        return (time.monotonic() - self._start) * self.speed

    async def sleep(self, device_s: float) -> None:
        """Wait; the fixed delays of firmware go through here (scaled, no floor)."""
        await asyncio.sleep(max(device_s, 0.0) / self.speed)

    async def spend(self, device_s: float) -> None:
        """Let work take time: small amounts add up and are slept off together."""
        self._owed += device_s / self.speed
        if self._owed < GRAIN_S:
            return
        begun = time.monotonic()
        try:
            await asyncio.sleep(self._owed)
        finally:
            self._owed = max(self._owed - (time.monotonic() - begun), -CREDIT_S)

    def timeout(self, device_s: float) -> float:
        """Wall seconds for ``asyncio.timeout``: scaled, never below 0.25 s."""
        return max(device_s / self.speed, FLOOR_S)
