"""A body in chunks (RFC 9112, 7.1), well and badly framed. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan.content import Content
from pytest_blynk_ota.delivery.plan.track import Mark, Rank
from pytest_blynk_ota.delivery.steps import Due, Endless, Pace, Say, Send, Step

NO_SIZE = b"no-size\r\n"
"""The size line of a malformed chunk."""

LAST = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Chunks:
    """Where the chunks of a body begin and end.

    Attributes:
        edges: the beginning of each, and the end of the last.
        bad: the beginning of the one whose size is none.
    """

    edges: Sequence[int]
    bad: int | None

    @classmethod
    def of(cls, fault: Fault, size: int) -> Chunks:
        """The chunks that a fault makes of a body of ``size`` bytes."""
        edges = {*range(0, size, fault.values["bytes"]), size}
        bad = size // 2 if fault.values["how"] == "malformed" else None
        if bad is not None:
            edges.add(bad)
        return cls(sorted(edges), bad)

    def move(self, begin: int, end: int, pace: Pace | None) -> list[Step]:
        """The body from one place to another. What ends a chunk follows its last byte, and a size
        line stands before the first of the next, so that a stall between two has the one and not
        the other."""
        steps: list[Step] = []
        edges = self.edges
        first, last = bisect_right(edges, begin), bisect_left(edges, end)
        if edges[first - 1] == begin:
            steps.append(Say(self._size(first - 1), pace))
        for place in range(first, last):
            steps.append(Send(edges[place], pace))
            steps.append(Say(b"\r\n" + self._size(place), pace))
        steps.append(Send(end, pace))
        if edges[last] == end:
            steps.append(Say(b"\r\n", pace))
        return steps

    def _size(self, place: int) -> bytes:
        begin = self.edges[place]
        return NO_SIZE if begin == self.bad else b"%x\r\n" % (self.edges[place + 1] - begin)


def is_unfinished(one: Due | None) -> bool:
    """Whether a body ends without the chunk that says so."""
    return one is not None and one.fault.values["how"] == "unfinished"


def last_chunk(one: Due, made: Content) -> list[Mark]:
    """What comes after all chunks."""
    how, size = one.fault.values["how"], len(made.body)
    if how == "unfinished":
        return []
    if how == "endless":
        again = bytes(made.body[: one.fault.values["bytes"]]) or b"\0"
        chunk = b"%x\r\n%b\r\n" % (len(again), again)
        return [Mark(size, Rank.CHUNK, one, (Endless(chunk),), ends=True)]
    empty = NO_SIZE if how == "malformed" and size == 0 else b""
    return [Mark(size, Rank.CHUNK, None, (Say(empty + LAST),))]
