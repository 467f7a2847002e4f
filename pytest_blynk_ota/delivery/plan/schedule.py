"""When what is sent: waits, rates, ends, chunks, and where each fault fires. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.kinds import Offset, seconds_of
from pytest_blynk_ota.delivery.plan.content import Content
from pytest_blynk_ota.delivery.plan.framing import Chunks, last_chunk
from pytest_blynk_ota.delivery.plan.head import SPLITS, Head
from pytest_blynk_ota.delivery.plan.idle import Idle
from pytest_blynk_ota.delivery.plan.ledger import Ledger
from pytest_blynk_ota.delivery.plan.made import filling, makes
from pytest_blynk_ota.delivery.plan.offsets import locate
from pytest_blynk_ota.delivery.plan.track import Mark, Move, Rank, Track, combined, say, send
from pytest_blynk_ota.delivery.steps import (
    Cut,
    Due,
    End,
    Fire,
    Hold,
    Later,
    Over,
    Pace,
    Say,
    Step,
)

BY_CLOCK = -1
"""The ``at`` of what comes by the clock: wherever the answer is then."""

ENDS: Mapping[str, End] = {
    "truncate": "fin",
    "reset": "rst",
    "half_close": "half",
    "vanish": "vanish",
}
TLS_ENDS: Mapping[str, End] = {
    "record-cut": "record",
    "bad-record": "bad-record",
    "no-close-notify": "no-close-notify",
}
REACHES_END = ("stall", "reset", "half_close", "vanish", "tls no-close-notify")
"""Faults that make sense after the last byte; for the others there must be a byte left."""

PACES: Mapping[str, Callable[[Mapping[str, Any]], Pace]] = {
    "drip": lambda values: Pace(rate=values["bytes_per_s"], piece=1),
    "bandwidth": lambda values: Pace(
        rate=values["bytes_per_s"], jitter=values["jitter"], seed=values["seed"]
    ),
    "segments": lambda values: Pace(
        piece=values["bytes"], gap=values["gap"], jitter=values["jitter"], seed=values["seed"]
    ),
    "slow_headers": lambda values: Pace(rate=values["bytes_per_s"], piece=1),
}


def end_of(fault: Fault) -> End | None:
    """How a fault ends the connection in an answer; None: it does not."""
    return TLS_ENDS.get(fault.values["how"]) if fault.kind == "tls" else ENDS.get(fault.kind)


def pace_of(one: Due) -> Pace:
    """How a fault slows the bytes down."""
    return replace(PACES[one.fault.kind](one.fault.values), until=one.fault.when.until)


class Schedule:
    """The marks of an answer, row by row.

    Attributes:
        before, head, body: the marks of each row.
        clock: what comes by the clock: seconds, the fault, its steps, its pace.
    """

    def __init__(self, made: Content, top: Head, ledger: Ledger, name: str, attempt: int) -> None:
        self.before: list[Mark] = []
        self.head: list[Mark] = []
        self.body: list[Mark] = []
        self.clock: list[tuple[float, Due, tuple[Step, ...], Pace | None]] = []
        self._made, self._top, self._ledger = made, top, ledger
        self._name, self._attempt = name, attempt
        self._move: Move = send

    def fill(self) -> Schedule:
        """Find the place of each fault; what has none does not act."""
        self._shown()
        self._chunks()
        for one in self._ledger.of(*PLACED):
            try:
                PLACED[one.fault.kind](self, one)
            except Idle as idle:
                self._ledger.rest(one, idle)
        return self

    def _shown(self) -> None:
        """Where faults of the head fire, and changed bytes."""
        end = len(self._top.data)
        for one in self._ledger.line:
            if one.index not in self._ledger.idle:
                self.head.append(Mark(0, Rank.CHANGED, one, (Fire(one),)))
        for one in self._ledger.head:
            if one.index not in self._ledger.idle:
                self.head.append(Mark(end, Rank.CHANGED, one, (Fire(one),)))
        for one in self._ledger.of(*{one.fault.kind for one in self._ledger.due}):
            what = self._made.touched.get(one.index)
            if what is not None:
                more = {"offsets": list(what.only)} if what.only else {}
                fire = Fire(one, what.first, more)
                self.body.append(Mark(what.first + 1, Rank.CHANGED, one, (fire,)))
                self.body.append(Mark(what.stop, Rank.OVER, one, (Over(one),)))

    def _chunks(self) -> None:
        """What frames the body."""
        one = self._top.chunks
        if one is None or self._made.bare:
            return
        self._move = Chunks.of(one.fault, len(self._made.body)).move
        self.body += last_chunk(one, self._made)

    def latency(self, one: Due) -> None:
        values = one.fault.values
        dice = random.Random(f"{values['seed']}/{self._attempt}")
        if values["spread"] == "lognormal":
            seconds = values["seconds"] * dice.lognormvariate(0.0, values["jitter"])
        else:
            seconds = values["seconds"] + values["jitter"] * dice.uniform(-1, 1)
        steps = (Fire(one), Hold(max(seconds, 0.0), one.fault.when.until), Over(one))
        self.before.append(Mark(0, Rank.WAIT, one, steps))

    def early(self, one: Due) -> None:
        code, count = one.fault.values["code"], one.fault.values["count"]
        word = {100: "Continue", 102: "Processing", 103: "Early Hints"}.get(code, "Status")
        told = Say(f"HTTP/1.1 {code} {word}\r\n\r\n".encode() * count)
        gap = one.fault.values["gap"]
        wait = (Hold(gap, one.fault.when.until),) if gap else ()
        self.head.append(Mark(0, Rank.EARLY, one, (Fire(one), told, *wait, Over(one))))

    def slow_headers(self, one: Due) -> None:
        end = len(self._top.data)
        self.head.append(Mark(0, Rank.PACE, one, (Fire(one),), pace_of(one)))
        self.head.append(Mark(end, Rank.OVER, one, (Over(one),)))

    def split_headers(self, one: Due) -> None:
        at = SPLITS[one.fault.values["at"]](self._top.data)
        steps = (Fire(one), Hold(one.fault.values["gap"], one.fault.when.until), Over(one))
        self.head.append(Mark(at, Rank.WAIT, one, steps))

    def stall(self, one: Due) -> None:
        seconds, until = one.fault.values.get("seconds"), one.fault.when.until
        bounded = seconds is not None or until is not None
        rank = Rank.WAIT if bounded else Rank.END

        def steps(at: int) -> tuple[Step, ...]:
            over = (Over(one),) if bounded else ()
            return (Fire(one, at), Hold(seconds, until), *over)

        self._place(one, rank, steps, ends=not bounded)

    def end(self, one: Due) -> None:
        how = end_of(one.fault)
        if how is not None:
            cut: End = how
            self._place(one, Rank.END, lambda at: (Cut(one, cut, at),), ends=True)

    def pace(self, one: Due) -> None:
        self._place(one, Rank.PACE, lambda at: (Fire(one, at),), pace=pace_of(one))

    def pad(self, one: Due) -> None:
        if makes(one.fault):
            return
        made = self._made
        if not made.carries_file:
            raise Idle("no byte of the file is sent")
        if made.start + len(made.body) < made.size:
            raise Idle("the part that is asked for ends before the file does")
        size = len(made.body)
        steps = (Fire(one, size), Say(filling(one.fault.values)))
        self.body.append(Mark(size, Rank.EXTRA, one, steps))

    def _place(
        self,
        one: Due,
        rank: Rank,
        steps: Callable[[int], tuple[Step, ...]],
        *,
        pace: Pace | None = None,
        ends: bool = False,
    ) -> None:
        """Put a fault where its ``after`` says. Raises Idle."""
        after = one.fault.values["after"]
        if after == "request":
            self.before.append(Mark(0, rank, one, steps(0), pace, ends))
        elif after == "status":
            if not self._top.data:
                raise Idle("what is sent has no status line")
            self.head.append(Mark(self._top.line, rank, one, steps(0), pace, ends))
        elif not self._made.carries_file:
            raise Idle("no byte of the file is sent")
        elif (seconds := seconds_of(after)) is not None:
            self.clock.append((seconds, one, steps(BY_CLOCK), pace))
        else:
            at = self._in_body(one.fault, after, from_start=pace is not None)
            self.body.append(Mark(at, rank, one, steps(at), pace, ends))

    def _in_body(self, fault: Fault, after: Offset, *, from_start: bool) -> int:
        """The place in the body of a place in the file. Raises Idle."""
        made, word = self._made, f"{fault.kind} {fault.values.get('how', '')}".strip()
        reaches = word in REACHES_END
        at = locate(after, made.size, self._name, end=reaches) - made.start
        if from_start:
            at = max(at, 0)
        if not 0 <= at < len(made.body) + reaches:
            stop = made.start + len(made.body)
            raise Idle(f"it lies outside of the part {made.start}..{stop} that is asked for")
        return at

    def laters(self, late: dict[int, int | None]) -> tuple[Later, ...]:
        """What comes by the clock, in its order; a rate joins those that hold by the byte."""
        paces = [mark.pace for mark in self.body if mark.pace is not None]
        rows: list[Later] = []
        for seconds, one, steps, pace in sorted(self.clock, key=lambda row: (row[0], row[1].index)):
            if pace is not None:
                paces.append(pace)
            rows.append(Later(seconds, steps, combined(paces) if pace is not None else None))
            late[one.index] = None
        return tuple(rows)

    def track(self) -> Track:
        """The steps, in the order of the wire."""
        track = Track(self._ledger)
        track.run(self.before, 0, say(b""))
        track.run(self.head, len(self._top.data), say(self._top.data))
        size = 0 if self._made.bare else len(self._made.body)
        track.run(self.body, size, self._move, body=True)
        return track


PLACED: Mapping[str, Callable[[Schedule, Due], None]] = {
    "latency": Schedule.latency,
    "early": Schedule.early,
    "slow_headers": Schedule.slow_headers,
    "split_headers": Schedule.split_headers,
    "stall": Schedule.stall,
    "drip": Schedule.pace,
    "bandwidth": Schedule.pace,
    "segments": Schedule.pace,
    "pad": Schedule.pad,
    "tls": Schedule.end,
    **dict.fromkeys(ENDS, Schedule.end),
}
