"""What the evidence of a probe says about a firmware: keys of a profile. Pure: events in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict import Outcome

MARGIN, MORE_S = 1.5, 1.0
"""A limit of ours is the time that it took once, half as much again, and a second."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One update, and what it came to.

    Attributes:
        outcome: of the judge.
        events: of the operation and what followed it.
        speed: device seconds in a second of the host.
    """

    outcome: Outcome
    events: Sequence[Event]
    speed: float

    def times(self, source: str, kind: str, **data: Any) -> list[float]:
        """When this was seen, in device seconds."""
        return [
            event.t * self.speed
            for event in self.events
            if (event.source, event.kind) == (source, kind)
            and all(event.data.get(key) == value for key, value in data.items())
        ]

    def between(self, first: Sequence[float], second: Sequence[float]) -> float | None:
        """From the first of these to the next of those; None if one of them never came."""
        if not first:
            return None
        return next((t - first[0] for t in second if t >= first[0]), None)


def limit(seconds: float) -> float:
    """The limit of a profile for what took so long once."""
    return float(math.ceil(seconds * MARGIN + MORE_S))


def of_clean_update(probe: Probe) -> Iterator[tuple[str, Any]]:
    """Times of an update in which nothing goes wrong."""
    sent, asked = probe.times("cloud", "ota_sent"), probe.times("delivery", "request")
    done, reset = probe.times("delivery", "ended"), probe.times("uart", "reset")
    for key, seconds in (
        ("request_s", probe.between(sent, asked)),
        ("apply_s", probe.between(done, reset)),
        ("boot_s", probe.between(reset, probe.times("cloud", "login"))),
    ):
        if seconds is not None:
            yield key, limit(seconds)
    yield "prints_progress", bool(probe.times("uart", "firmware", what="progress"))


def of_refused_download(probe: Probe) -> Iterator[tuple[str, Any]]:
    """What follows a download that failed: another one in this boot, a restart, or nothing."""
    ended, reset = probe.times("delivery", "ended"), probe.times("uart", "reset")
    asked = probe.times("delivery", "request")
    yield "tries", max(1, len([t for t in asked if not reset or t < reset[0]]))
    after = probe.between(ended[-1:], reset)
    yield "error_restart_s", 0.0 if after is None else limit(after)


def of_stall(probe: Probe) -> Iterator[tuple[str, Any]]:
    """How long it waits for the next byte. Nothing where it never gives up."""
    stalled = probe.times("delivery", "fault", phase="fired")
    gave_up = probe.between(stalled, probe.times("delivery", "ended", by="device"))
    if gave_up is not None:
        yield "stall_s", limit(gave_up)


def of_crash(probe: Probe) -> Iterator[tuple[str, Any]]:
    """Whether the bootloader goes back to Old."""
    if probe.outcome in (Outcome.REVERTED, Outcome.ROLLED_BACK):
        yield "rollback", True
    elif probe.outcome in (Outcome.BOOT_LOOP, Outcome.BRICKED):
        yield "rollback", False


def of_digests(wrong: Mapping[str, Probe], missing: Probe) -> Iterator[tuple[str, Any]]:
    """Which digest headers the file is held against, and whether one has to be there.

    Args:
        wrong: for each header, the update in which it did not fit.
        missing: the update in which there was none.
    """
    held = [name for name, probe in wrong.items() if probe.outcome is not Outcome.UPGRADED]
    yield "digests", held
    yield "digest_needed", bool(held) and missing.outcome is not Outcome.UPGRADED


def weaknesses(ways: Mapping[str, Any]) -> Iterator[str]:
    """Protections that the firmware lacks, in sentences."""
    if ways.get("rollback") is False:
        yield "no rollback: an update that crashes leaves the device dead until somebody comes"
    if "stall_s" not in ways:
        yield "no limit on a stall: a download that stands still is waited for without an end"
    if not ways.get("digests"):
        yield "no digest header is looked at: only the image's own checks guard the file"


def line(base: str, ways: Mapping[str, Any]) -> str:
    """The ways as the ``profile`` of a board in a rig file."""
    pairs = [f'base = "{base}"', *(f"{key} = {_value(value)}" for key, value in ways.items())]
    return f"profile = {{ {', '.join(pairs)} }}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"
