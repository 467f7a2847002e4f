"""What a test did to the network while something went on: no firmware's doing. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_blynk_ota.verdict.sightings import AIRWAYS, Sightings

NEVER = float("inf")


def network_trouble(seen: Sightings, start: float, end: float) -> tuple[str, ...]:
    """What was wrong with the network between two host times, by the test, in words."""
    spans = [*_bad(seen), *_away(seen)]
    return tuple(dict.fromkeys(text for begin, stop, text in spans if begin < end and stop > start))


def _bad(seen: Sightings) -> Iterator[tuple[float, float, str]]:
    """The times in which a link or names were bad."""
    begun: dict[str, tuple[float, str]] = {}
    for t, _, part, text in sorted(seen.troubles):
        if part in begun:
            since, was = begun.pop(part)
            yield since, t, f"{part}: {was}"
        if text:
            begun[part] = (t, text)
    for part, (since, was) in begun.items():
        yield since, NEVER, f"{part}: {was}"


def _away(seen: Sightings) -> Iterator[tuple[float, float, str]]:
    """The times in which there was no network."""
    begun: dict[str, float] = {}
    for t, where, holds in sorted(one for one in seen.held if one[1] in AIRWAYS):
        if holds:
            begun.setdefault(where, t)
        elif where in begun:
            yield begun.pop(where), t, f"{where} off"
    for where, since in begun.items():
        yield since, NEVER, f"{where} off"
