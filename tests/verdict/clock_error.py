"""A timeline as it would be, had each witness's clock been wrong by up to half the skew."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from pytest_blynk_ota.evidence.event import Event

WITNESSES = ("uart", "cloud", "delivery")
"""What others say is what we did ourselves: its place in the timeline is certain."""

TICK_S = 2e-6
"""Closest to what we did ourselves: two of the digits that are stored."""


def with_clock_error(events: Sequence[Event], skew: float, choice: random.Random) -> list[Event]:
    """The same events, each witness's moved as a whole and each of them a little more.

    Each witness keeps its own order, and what was seen before we did something stays before it.

    Args:
        events: a timeline.
        skew: by how much two witnesses may be apart, in host seconds.
        choice: what chance decides.
    """
    constant = {one: choice.uniform(-skew / 4, skew / 4) for one in WITNESSES}
    rows: list[Event] = []
    for seen, group in groupby(events, lambda event: event.source in WITNESSES):
        part = list(group)
        if not seen:
            rows += part
            continue
        low = rows[-1].t if rows else float("-inf")
        after = next((e for e in events[len(rows) + len(part) :]), None)
        high = after.t if after else float("inf")
        rows += _moved(part, low, high, constant, skew / 4, choice)
    return [replace(event, seq=number) for number, event in enumerate(rows, 1)]


def _moved(
    part: Sequence[Event],
    low: float,
    high: float,
    constant: dict[str, float],
    jitter: float,
    choice: random.Random,
) -> list[Event]:
    last = dict.fromkeys(WITNESSES, float("-inf"))
    moved = []
    for event in part:
        t = event.t + constant[event.source] + choice.uniform(-jitter, jitter)
        t = max(t, last[event.source], min(event.t, low + TICK_S))
        t = min(t, max(event.t, high - TICK_S))
        last[event.source] = t
        moved.append(replace(event, t=t))
    return sorted(moved, key=lambda event: event.t)
