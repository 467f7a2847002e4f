"""When the bytes of a serial port came, on a host that is too busy to read them at once.

What is read late looks younger than it is: a boot would seem to begin after its own login. So
whoever sees something of the same board elsewhere looks first how many bytes wait unread: they came
before it. And the reader knows when it last had all that there was: they came after that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that came together, not before ``since`` and by ``t`` (host seconds)."""

    since: float
    t: float
    data: bytes


class Arrivals:
    """Counts the bytes of one port, and keeps by when those that were unread had come.

    :meth:`unread` may be called in another thread than the reader's methods.

    Args:
        now: host seconds.

    Attributes:
        read: bytes that have been read.
    """

    def __init__(self, now: float) -> None:
        self.read = 0
        self._empty = now
        self._known: deque[tuple[int, float]] = deque()

    def unread(self, upto: int, t: float) -> None:
        """The bytes before number ``upto`` had come by ``t`` (host seconds). A number that is too
        small tells less and nothing wrong: take ``read`` before the count of those that wait."""
        if upto > max(self.read, self._known[-1][0] if self._known else 0):
            self._known.append((upto, t))

    def dated(self, data: bytes, began: float, now: float, *, rest: bool) -> Iterator[Piece]:
        """The bytes that have just been read, in pieces.

        Args:
            began: when the read began.
            now: when it ended.
            rest: whether it may have left bytes that were there when it began.
        """
        since, at = self._empty, 0
        if not rest:
            self._empty = began
        while self._known and at < len(data):
            upto, t = self._known[0]
            piece = data[at : at + max(0, upto - self.read)]
            if piece:
                yield Piece(min(since, t), min(t, now), piece)
            at += len(piece)
            self.read += len(piece)
            if upto <= self.read:
                self._known.popleft()
        if at < len(data):
            self.read += len(data) - at
            yield Piece(since, now, data[at:])

    def forget(self, now: float) -> None:
        """What waited is read by somebody else, or by nobody."""
        self._empty = now
        self._known.clear()
