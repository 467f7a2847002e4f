"""How far long work on a flash is, told now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_S = 1.0
"""Work that is over sooner is not told of."""
EVERY_S = 0.5


class Told:
    """Passes on of many steps those that somebody may want to see.

    Args:
        tell: gets what is done, how many bytes are, and of how many.
        clock: seconds.
    """

    def __init__(
        self, tell: Callable[[str, int, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell, self._clock = tell, clock
        self._what: tuple[str, int] | None = None
        self._next = 0.0
        self._done = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """A step; work begins where the words or the total change, or less is done than before."""
        now = self._clock()
        if self._what != (what, total) or done < self._done:
            self._what, self._next = (what, total), now + FIRST_S
        self._done = done
        if now >= self._next:
            self._next = now + EVERY_S
            self._tell(what, done, total)
