"""Numbers of an operation: what the firmware printed, and what follows from the evidence. Pure.

Printed ones are ``uart/metric`` events (board/metric_patterns.py, and the rig file's own); the
others are worked out here from boots, sessions and downloads:

=============  ====  ==================================================================
boot time      s     from each reset to the login that followed it in that boot
offline time   s     each time between two logins in which the board was away
download rate  B/s   bytes that the device acknowledged in each download, over the time from its
                     first connection to the last byte
=============  ====  ==================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from pytest_blynk_ota.verdict.outcome import Metric
from pytest_blynk_ota.verdict.story import Story

BOOT_TIME, OFFLINE_TIME, DOWNLOAD_RATE = "boot time", "offline time", "download rate"
DERIVED = {BOOT_TIME: "s", OFFLINE_TIME: "s", DOWNLOAD_RATE: "B/s"}
"""Names and units of what is worked out here."""
DIGITS = 3
"""Decimals of a value: what is worked out is no better known."""
MAX_EVENTS = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, with the event that it rests on; ``t`` in host seconds."""

    name: str
    value: float
    unit: str
    t: float
    event: int


def metrics_of(story: Story) -> Mapping[str, Metric]:
    """All metrics of an operation by name, in the order in which they were first seen."""
    by_name: dict[str, list[Sample]] = {}
    for sample in sorted(samples_of(story), key=lambda one: (one.t, one.event)):
        by_name.setdefault(sample.name, []).append(sample)
    return {name: _summed(rows) for name, rows in by_name.items()}


def samples_of(story: Story) -> Iterator[Sample]:
    """Each value that was seen in an operation."""
    yield from _printed(story)
    yield from _boot_times(story)
    yield from _absences(story)
    yield from _rates(story)


def _summed(rows: list[Sample]) -> Metric:
    values = [row.value for row in rows]
    return Metric(
        unit=rows[-1].unit,
        count=len(values),
        first=values[0],
        last=values[-1],
        least=min(values),
        most=max(values),
        mean=round(sum(values) / len(values), DIGITS),
        events=tuple(dict.fromkeys(row.event for row in rows))[:MAX_EVENTS],
    )


def _printed(story: Story) -> Iterator[Sample]:
    for mark in story.seen.marks:
        if mark.kind == "metric" and story.operation.t <= mark.t <= story.until:
            data = mark.data
            yield Sample(str(data["name"]), data["value"], str(data["unit"]), mark.t, mark.seq)


def _derived(name: str, value: float, t: float, event: int) -> Sample:
    return Sample(name, round(value, DIGITS), DERIVED[name], t, event)


def _boot_times(story: Story) -> Iterator[Sample]:
    """Of a boot whose reset somebody saw, and that the test did not keep away."""
    for boot in story.started:
        login = min((visit.login for visit in story.visits_in(boot)), default=None)
        if login is not None and login >= boot.start:
            took = story.device(boot.start, login)
            yield _derived(BOOT_TIME, took, login, boot.seq)


def _absences(story: Story) -> Iterator[Sample]:
    """Between two logins, and at the end where the board did not come back."""
    begin = story.operation.t
    logged_in = [v for v in story.visits if v.login <= story.until]
    for before, visit in pairwise(logged_in):
        if before.end <= visit.login and visit.login > begin:
            away = story.device(max(before.end, begin), visit.login)
            yield _derived(OFFLINE_TIME, away, visit.login, visit.session.seq)
    if logged_in and logged_in[-1].end <= story.until:
        last = logged_in[-1]
        away = story.device(max(last.end, begin), story.until)
        seq = last.session.closed_seq or last.session.seq
        yield _derived(OFFLINE_TIME, away, story.until, seq)


def _rates(story: Story) -> Iterator[Sample]:
    for one in story.downloads:
        got = sum(get.acked for get in one.gets if get.status and 200 <= get.status < 300)
        took = story.device(one.start, one.moved)
        if got and took > 0:
            yield _derived(DOWNLOAD_RATE, got / took, one.moved, one.seq)
