"""A test beside the last good run of it: figures, and what came first differently. Pure.

Witnesses that differ by less than their clocks have no order, so each is compared with itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.story import Story, number
from pytest_blynk_ota.report.visible import line
from pytest_blynk_ota.report.words import Words

STEPS: dict[tuple[str, str], str] = {
    ("cloud", "login"): "login",
    ("cloud", "report"): "reports version {version}",
    ("cloud", "refused"): "refuses: {why}",
    ("cloud", "ota_sent"): "sends the OTA request",
    ("cloud", "fault"): "fault begins: {text}",
    ("delivery", "request"): "{method} {range}",
    ("delivery", "response"): "answers HTTP {status}, {announced} bytes",
    ("delivery", "fault"): "fault {phase}: {fault}",
    ("delivery", "ended"): "download ended: {how} by {by}",
    ("uart", "reset"): "reset: {cause}",
    ("uart", "slot"): "loads the slot at {offset}",
    ("uart", "crash"): "crash: {what}",
    ("uart", "boot_error"): "boot error: {what}",
    ("uart", "firmware"): "{what} {from} {to}",
    ("uart", "port_lost"): "port lost",
    ("ota", "operation"): "{op} begins",
    ("ota", "closed"): "closed: {why}",
    ("ota", "watch_ended"): "watch ends: {why}",
    ("test", "action"): "{what} {text}",
    ("power", "off"): "off",
    ("power", "on"): "on",
    ("flash", "read"): "read: {running} runs",
}
"""What of an event is the same in two runs that go the same way."""
WITNESSES = {
    "uart": "UART",
    "cloud": "cloud",
    "delivery": "firmware server",
    "ota": "operation",
    "test": "test",
    "power": "power",
    "flash": "flash",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number here and there."""

    name: str
    here: str
    there: str
    change: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a witness first saw something else.

    Attributes:
        at: device seconds since the test began, here; None where nothing more came.
        seq: the event here.
        before: the last thing that was the same.
    """

    witness: str
    at: float | None
    seq: int | None
    here: str
    there: str
    before: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A test beside a good run of it."""

    run: str
    figures: tuple[Figure, ...]
    difference: Difference | None


def steps(story: Story) -> dict[str, list[tuple[str, Event]]]:
    """What each witness saw since the first operation began, in words that runs share."""
    found: dict[str, list[tuple[str, Event]]] = {}
    first = next(story.of("ota", "operation"), None)
    for event in story.events:
        form = STEPS.get((event.source, event.kind))
        if form is None or first is None or event.t < first.t:
            continue
        words = form.format_map(Words(event.data)).strip()
        found.setdefault(event.source, []).append((words, event))
    return found


def first_difference(here: Story, there: Story) -> Difference | None:
    """The earliest point, by the time here, at which a witness saw something else."""
    ours, theirs = steps(here), steps(there)
    rows = [
        found
        for witness in WITNESSES
        if (found := _parted(witness, ours.get(witness, []), theirs.get(witness, []), here))
    ]
    return min(rows, key=lambda row: row.at if row.at is not None else float("inf"), default=None)


def _parted(
    witness: str,
    ours: Sequence[tuple[str, Event]],
    theirs: Sequence[tuple[str, Event]],
    here: Story,
) -> Difference | None:
    before = "the beginning"
    for mine, other in zip_longest(ours, theirs):
        if mine is not None and other is not None and mine[0] == other[0]:
            before = mine[0]
            continue
        return Difference(
            WITNESSES[witness],
            here.at(mine[1]) if mine else None,
            mine[1].seq if mine else None,
            mine[0] if mine else "nothing more",
            other[0] if other else "nothing more",
            before,
        )
    return None


def figures(verdicts: Sequence[Mapping[str, Any]], story: Story) -> dict[str, tuple[float, str]]:
    """The figures of a test: name to value and unit."""
    found: dict[str, tuple[float, str]] = {}
    seconds = [number(one.get("seconds")) for one in verdicts]
    known = [one for one in seconds if one is not None]
    if known:
        found["Duration"] = (sum(known), "s")
    downloads = [
        row
        for one in verdicts
        if isinstance(one.get("downloads"), list)
        for row in one["downloads"]
        if isinstance(row, Mapping)
    ]
    if verdicts:
        found["Downloads"] = (len(downloads), "")
    rate = _rate(downloads)
    if rate is not None:
        found["Download rate, stalls included"] = (rate / 1000, "kB/s")
    boots = [number(one.get("boots")) for one in verdicts]
    if any(one is not None for one in boots):
        found["Boots"] = (sum(one or 0 for one in boots), "")
    boot = boot_seconds(story)
    if boot is not None:
        found["Reset to login"] = (boot, "s")
    return found


def _rate(downloads: Sequence[Mapping[str, Any]]) -> float | None:
    """Acknowledged bytes in a device second, of the best download."""
    rates = []
    for row in downloads:
        acked, seconds = number(row.get("acked")), number(row.get("seconds"))
        if acked and seconds and seconds > 0:
            rates.append(acked / seconds)
    return max(rates, default=None)


def boot_seconds(story: Story) -> float | None:
    """Device seconds from the last reset that led to a login to that login."""
    reset: Event | None = None
    found = None
    for event in story.events:
        if (event.source, event.kind) == ("uart", "reset") and not event.data.get("download"):
            reset = event
        elif (event.source, event.kind) == ("cloud", "login") and reset is not None:
            found = (event.t - reset.t) * story.speed
            reset = None
    return found


def compare(
    run: str,
    here: tuple[Story, Sequence[Mapping[str, Any]]],
    there: tuple[Story, Sequence[Mapping[str, Any]]],
) -> Comparison:
    """A test here beside the same test in ``run``, which passed."""
    ours, theirs = figures(here[1], here[0]), figures(there[1], there[0])
    rows = tuple(
        Figure(name, _shown(ours.get(name)), _shown(theirs.get(name)), _change(name, ours, theirs))
        for name in dict.fromkeys([*ours, *theirs])
    )
    return Comparison(line(run, 200), rows, first_difference(here[0], there[0]))


def _shown(value: tuple[float, str] | None) -> str:
    if value is None:
        return "–"
    amount, unit = value
    return f"{amount:,.1f} {unit}" if unit else f"{amount:,.0f}"


def _change(
    name: str, ours: Mapping[str, tuple[float, str]], theirs: Mapping[str, tuple[float, str]]
) -> str:
    if name not in ours or name not in theirs:
        return ""
    here, there = ours[name][0], theirs[name][0]
    if ours[name][1] == "":
        return f"{here - there:+.0f}" if here != there else "same"
    if there == 0:
        return ""
    percent = (here / there - 1) * 100
    return f"{percent:+.0f} %" if abs(percent) >= 1 else "same"
