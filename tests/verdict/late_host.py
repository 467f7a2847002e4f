"""A timeline as a host would have recorded it that was too busy for a while.

What the servers saw, they saw when they had their turn again; what the UART said was read late, but
no later than the servers saw the next thing: they look what waits unread.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from pytest_blynk_ota.evidence.event import Event

SERVERS = ("cloud", "delivery")
TOLD_S = 0.1
"""Servers that stand still for so long say so."""
SAID_S = 0.04
"""What may have waited for so long says so."""
TICK_S = 2e-6


def late(
    events: Sequence[Event], choice: random.Random, longest: float, who: str = "both"
) -> list[Event]:
    """The same events with a stretch that was seen late.

    It ends where we did something ourselves: that the host has had its turn by then is certain.

    Args:
        events: a timeline, in order.
        choice: what chance decides.
        longest: host seconds.
        who: ``servers``, ``uart`` or ``both``.
    """
    seen = [event for event in events if event.source in (*SERVERS, "uart")]
    first = next(e.seq for e in events if (e.source, e.kind) == ("ota", "operation"))
    begin = choice.choice([e for e in seen if e.seq > first]).t - choice.uniform(0, longest / 2)
    ours = (e.t for e in events if e.source not in (*SERVERS, "uart") and e.t > begin)
    stop = min(begin + choice.uniform(0.02, longest), next(ours, float("inf")) - TICK_S)
    rows = [
        _seen_at(e, stop) if begin <= e.t < stop and e.source in SERVERS and who != "uart" else e
        for e in events
    ]
    if who != "servers":
        turns = [event.t for event in rows if event.source in SERVERS]
        rows = [_read_at(e, begin, stop, turns) for e in rows]
    if who != "uart" and stop - begin >= TOLD_S:
        rows.append(Event(0, stop, stop, "rig", "late", None, {"seconds": round(stop - begin, 3)}))
    rows.sort(key=lambda event: event.t)
    return [replace(event, seq=number) for number, event in enumerate(rows, 1)]


def _seen_at(event: Event, stop: float) -> Event:
    """As a server saw it that had its turn again at ``stop``."""
    waited = round(stop - event.t, 3)
    more = {"waited_s": waited} if waited >= SAID_S else {}
    return replace(event, t=stop, data=event.data | more)


def _read_at(event: Event, begin: float, stop: float, turns: Sequence[float]) -> Event:
    """As it was read by a reader that had its turn again at ``stop``."""
    if event.source != "uart" or not begin <= event.t < stop:
        return event
    t = min([stop, *(t for t in turns if t >= event.t)])
    waited = round(t - begin, 3)
    more = {"waited_s": waited} if event.kind == "reset" and waited >= SAID_S else {}
    return replace(event, t=t, data=event.data | more)
