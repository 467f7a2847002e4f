"""Real runs on the virtual rack, their witnesses' clocks put wrong: the verdict stays.

Each file of ``tests/data/timelines`` is the ``events.jsonl`` of one test; its name begins with the
outcome that the firmware was made, or the server told, to end in.
"""

from __future__ import annotations

import gzip
import random
from functools import cache
from pathlib import Path

import pytest
from clock_error import with_clock_error
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.evidence.event import Event, parse_events
from pytest_blynk_ota.verdict import Outcome, Verdict, judge

FILES = sorted((Path(__file__).parents[1] / "data" / "timelines").glob("*.jsonl.gz"))

READ_LATE = 0.5
"""Of the skew, what the recording itself may have used up: it was made on a busy host."""


@cache
def recorded(path: Path) -> tuple[Event, ...]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        events = parse_events(lines.read())
    assert events
    return tuple(events)


def operations(events: tuple[Event, ...]) -> list[Event]:
    return [event for event in events if (event.source, event.kind) == ("ota", "operation")]


def essence(verdict: Verdict) -> tuple[object, ...]:
    return (verdict.outcome, verdict.air_status, verdict.running_image, verdict.boots,
            verdict.partial, verdict.crashes, tuple(d.ended for d in verdict.downloads),
            sorted((f.name, f.severity) for f in verdict.findings))  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
def test_a_recorded_run_ends_as_its_firmware_was_made_to(path):
    events = recorded(path)
    expected = Outcome(path.name.split("-")[0].upper())
    found = [judge(events, event.data["number"]).outcome for event in operations(events)]
    assert expected in found
    assert set(found) <= {expected, Outcome.UPGRADED}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_clocks_wrong_within_the_skew_change_no_verdict(path, seed):
    events = recorded(path)
    for begin in operations(events):
        skew = begin.data["skew_s"] / begin.data["speed"] * READ_LATE
        number = begin.data["number"]
        moved = with_clock_error(events, skew, random.Random(seed))
        assert essence(judge(moved, number)) == essence(judge(events, number))


def test_clocks_put_wrong_do_change_the_order_of_the_witnesses():
    for path in FILES:
        events = recorded(path)
        moved = with_clock_error(events, 0.05, random.Random(1))
        kinds = [(event.source, event.kind, event.data) for event in events]
        assert [(event.source, event.kind, event.data) for event in moved] != kinds
        for source in ("uart", "cloud", "delivery", "ota"):
            own = [event.data for event in events if event.source == source]
            assert [event.data for event in moved if event.source == source] == own
