"""A test's events as the page tells of them: found by number, timed in seconds of the device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.visible import said
from pytest_blynk_ota.report.words import in_words

MAX_SPEED = 10_000.0
MAX_CITED = 12
"""A reason that rests on more events shows the first of them."""


@dataclass(frozen=True, slots=True)
class Cited:
    """An event that a sentence rests on.

    Attributes:
        at: device seconds since the test began; None if the evidence holds no such event.
        text: the event in words.
    """

    seq: int
    at: float | None
    source: str
    text: str


@dataclass
class Story:
    """Events in the order of their time, with what is asked of them again and again."""

    events: Sequence[Event]

    @cached_property
    def by_seq(self) -> Mapping[int, Event]:
        """Each event by its number; of two with one number the first."""
        found: dict[int, Event] = {}
        for event in self.events:
            found.setdefault(event.seq, event)
        return found

    @cached_property
    def speed(self) -> float:
        """Device seconds in a second of the host, as the first operation says."""
        for event in self.of("ota", "operation"):
            speed = event.data.get("speed")
            if isinstance(speed, int | float) and 0 < speed < MAX_SPEED:
                return float(speed)
        return 1.0

    @cached_property
    def seconds(self) -> float:
        """Device seconds from the first event to the last."""
        return self.at(self.events[-1]) if self.events else 0.0

    def at(self, event: Event) -> float:
        """Device seconds since the first event."""
        return (event.t - self.events[0].t) * self.speed

    def of(self, source: str, *kinds: str) -> Iterator[Event]:
        """The events of a witness that have one of these kinds."""
        return (event for event in self.events if event.source == source and event.kind in kinds)

    def operation(self, number: Any) -> Event | None:
        """The event with which an operation began."""
        for event in self.of("ota", "operation"):
            if event.data.get("number") == number:
                return event
        return None

    def cite(self, numbers: Iterable[int]) -> tuple[Cited, ...]:
        """What a sentence rests on, in the order of time; numbers that the evidence does not hold
        are kept, at the end. A crash is told at its end, behind the dump: its first line comes
        with it, for that is where one sees what came before."""
        given = list(numbers)[:MAX_CITED]
        seqs = dict.fromkeys(seq for number in given for seq in (self.first_line(number), number))
        found = [self._cited(seq) for seq in seqs]
        return tuple(sorted(found, key=lambda one: (one.at is None, one.at or 0.0, one.seq)))

    def first_line(self, seq: int) -> int:
        """The line of the log that a crash began with; any other event is its own first line."""
        event = self.by_seq.get(seq)
        if event is None or (event.source, event.kind) != ("uart", "crash"):
            return seq
        return self._lines.get((event.t, event.board, said(event.data.get("text"))), seq)

    @cached_property
    def _lines(self) -> Mapping[tuple[float, str | None, str], int]:
        """The lines of the log by time, board and text; of two alike the first."""
        found: dict[tuple[float, str | None, str], int] = {}
        for event in self.of("uart", "line"):
            found.setdefault((event.t, event.board, said(event.data.get("text"))), event.seq)
        return found

    def _cited(self, seq: int) -> Cited:
        event = self.by_seq.get(seq)
        if event is None:
            return Cited(seq, None, "", "the evidence holds no such event")
        return Cited(seq, self.at(event), said(event.source, 20), in_words(event))

    def first_of(self, numbers: Iterable[int]) -> Event | None:
        """The first of these events that was seen."""
        events = [self.by_seq[number] for number in numbers if number in self.by_seq]
        return min(events, key=lambda event: event.t, default=None)


def numbers(value: Any) -> list[int]:
    """The whole numbers of a list; nothing of anything else."""
    if not isinstance(value, list | tuple):
        return []
    return [one for one in value if isinstance(one, int) and not isinstance(one, bool)]


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def rows_of(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; nothing of anything else."""
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
