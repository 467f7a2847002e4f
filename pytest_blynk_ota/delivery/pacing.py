"""When the pieces of a slow answer are due, and how large they are. Pure: the clock is given."""

from __future__ import annotations

import random

from pytest_blynk_ota.delivery.steps import Pace

TICK_WALL_S = 0.01
"""A steady line sends a piece this often."""

PIECE_BYTES = 64 * 1024
"""No piece is larger."""

LATE_WALL_S = 0.25
"""A line that fell behind by more was blocked by the device: it does not catch up."""


class Pacer:
    """Times the pieces of one stretch of bytes, in wall seconds.

    Moments are counted from the beginning, so that no rounding adds up.

    Args:
        speed: device seconds in a wall second.
        now: the time on the clock.
    """

    def __init__(self, pace: Pace, speed: float, now: float) -> None:
        self.pace = pace
        self._rate = pace.rate * speed if pace.rate is not None else None
        self._gap = pace.gap / speed
        self._dice = random.Random(pace.seed)
        self._begun = self._due = now
        self._sent = 0
        self._steps = 0.0

    def next(self, left: int) -> tuple[int, float]:
        """How many of ``left`` bytes the next piece has, and when it is due."""
        if self._rate is None:
            count = min(left, max(1, round((self.pace.piece or left) * self._off())))
            self._due = self._begun + self._steps
            self._steps += self._gap * self._off()
            return count, self._due
        count = min(left, self.pace.piece or self._tick_bytes())
        self._sent += count
        # Its last byte is due: a rate of 1 byte/s sends the first after a second.
        self._due = self._begun + (self._sent + count * (self._off() - 1)) / self._rate
        return count, self._due

    def held_up(self, now: float) -> None:
        """The device has taken the last piece only now. A host that was late itself catches up."""
        late = now - self._due
        if late > LATE_WALL_S:
            self._begun += late

    def _off(self) -> float:
        """1, or by the dice so much more or less."""
        jitter = self.pace.jitter
        return 1 + self._dice.uniform(-jitter, jitter) if jitter else 1.0

    def _tick_bytes(self) -> int:
        assert self._rate is not None
        return min(PIECE_BYTES, max(1, round(self._rate * TICK_WALL_S)))
