"""Marks along a row of bytes, and the steps they come to. Pure.

An answer has three rows: what is before the head, the head, and the body. A mark says what happens
at one place of a row; at one place the lower :class:`Rank` comes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from pytest_blynk_ota.delivery.plan.ledger import Ledger
from pytest_blynk_ota.delivery.steps import Cut, Due, Endless, Fire, Pace, Say, Send, Step


class Rank(IntEnum):
    """What comes first at one place."""

    EARLY = 1
    CHANGED = 2
    OVER = 3
    PACE = 4
    WAIT = 5
    END = 6
    CHUNK = 7
    EXTRA = 8


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happens at a place.

    Attributes:
        due: whose it is; None: part of the framing.
        pace: holds from here on.
        ends: nothing comes after it.
    """

    at: int
    rank: Rank
    due: Due | None
    steps: tuple[Step, ...]
    pace: Pace | None = None
    ends: bool = False


Move = Callable[[int, int, Pace | None], Sequence[Step]]
"""Makes the steps that send a row from one place to another."""


class Track:
    """The steps so far.

    Attributes:
        late: for each fault that fires, the body byte after which it is late.
        ended: the fault after which nothing comes.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.steps: list[Step] = []
        self.late: dict[int, int | None] = {}
        self.ended: Due | None = None
        self._ledger = ledger

    def run(self, marks: Sequence[Mark], end: int, move: Move, *, body: bool = False) -> None:
        """Lay one row: its bytes, and its marks where they belong."""
        here, paces = 0, list[Pace]()
        for mark in sorted(marks, key=_order):
            if self.ended is not None:
                self._never(mark)
                continue
            if mark.at > here:
                self.steps += move(here, mark.at, combined(paces))
                here = mark.at
            for step in mark.steps:
                self._put(step, mark.at if body else 0, combined(paces) if body else None)
            if mark.pace is not None:
                paces.append(mark.pace)
            if mark.ends:
                self.ended = mark.due
        if self.ended is None and here < end:
            self.steps += move(here, end, combined(paces))

    def _put(self, step: Step, at: int, pace: Pace | None) -> None:
        if isinstance(step, Say | Endless) and pace is not None:
            step = replace(step, pace=pace)
        if isinstance(step, Fire | Cut):
            self.late.setdefault(step.due.index, at)
        self.steps.append(step)

    def _never(self, mark: Mark) -> None:
        if mark.due is not None and mark.due.index not in self.late and self.ended is not None:
            self._ledger.rest(mark.due, f"{self.ended.fault} ends the answer first")


def _order(mark: Mark) -> tuple[int, int, int]:
    return mark.at, mark.rank, -1 if mark.due is None else mark.due.index


def say(data: bytes) -> Move:
    """Moves along bytes that are no body."""
    return lambda begin, end, pace: (Say(data[begin:end], pace),)


def send(begin: int, end: int, pace: Pace | None) -> Sequence[Step]:
    """Moves along a body that nothing frames."""
    return (Send(end, pace),)


def combined(paces: Sequence[Pace]) -> Pace | None:
    """The slowest of several, in the smallest pieces of any; what is left when it is over."""
    if not paces:
        return None
    slowest = min(paces, key=bytes_per_s)
    others = [one for one in paces if one is not slowest]
    pieces = [one.piece for one in paces if one.piece is not None]
    made = slowest
    if pieces and min(pieces) != slowest.piece:
        rate = bytes_per_s(slowest)
        made = replace(made, piece=min(pieces), rate=None if math.isinf(rate) else rate)
    return replace(made, then=combined(others)) if made.until is not None else made


def bytes_per_s(pace: Pace) -> float:
    """Bytes in a device second."""
    if pace.rate is not None:
        return pace.rate
    return (pace.piece or 0) / pace.gap if pace.gap > 0 else math.inf
