"""A verdict does not depend on how much of the past was told for it."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tale import Tale
from test_verdict_properties import VERBS, boards
from test_verdict_properties import told as told_tale

from pytest_blynk_ota.errors import BlynkOtaError
from pytest_blynk_ota.evidence.event import Event, parse_events
from pytest_blynk_ota.verdict import decide
from pytest_blynk_ota.verdict.decide import Judge
from pytest_blynk_ota.verdict.past import WHOLE, Past

FOLDER = Path(__file__).parents[1] / "data" / "timelines"
BOARD = "c3-a"
BETWEEN: dict[str, tuple[str, str, dict[str, object]]] = {
    "nothing": ("test", "action", {"what": "note"}),
    "Wi-Fi off": ("test", "action", {"what": "wifi.off"}),
    "a bad link": ("test", "action", {"what": "link.shaped", "text": "loss 5%"}),
    "the loader": ("rig", "reset", {"by": "test", "mode": "loader"}),
    "a reset": ("rig", "reset", {"by": "test", "mode": "run"}),
    "no power": ("power", "off", {"by": "test"}),
    "no port": ("uart", "port_lost", {"why": "gone"}),
    "a ping of the first session": ("cloud", "heard", {"session": 1, "what": "PING"}),
    "a ping of an unknown session": ("cloud", "heard", {"session": 999, "what": "PING"}),
    "a number": ("uart", "metric", {"name": "free heap", "value": 9, "unit": "bytes"}),
}  # fmt: skip


def recorded(name: str) -> list[Event]:
    with gzip.open(FOLDER / name, "rt", encoding="utf-8") as lines:
        return parse_events(lines.read())


NAMES = sorted(path.name for path in FOLDER.glob("*.jsonl.gz"))


def joined(names: Sequence[str], between: Sequence[str], gap: float) -> list[Event]:
    """One test of many runs, of one board; what happens between them reaches over."""
    rows: list[Event] = []
    now = 0.0
    for turn, name in enumerate(names):
        events = recorded(name)
        for event in events:
            data = dict(event.data)
            for key in ("session", "conn", "number"):
                if isinstance(data.get(key), int):
                    data[key] += 1000 * turn
            board = BOARD if event.board else None
            rows.append(replace(event, t=now + event.t - events[0].t, board=board, data=data))
        now = max(row.t for row in rows) + gap
        source, kind, data = BETWEEN[between[turn % len(between)]]
        rows.append(Event(0, now - gap / 2, 0.0, source, kind, BOARD, data))
    return [replace(one, seq=seq, t=round(one.t, 6)) for seq, one in enumerate(rows, 1)]


def verdicts(events: Sequence[Event]) -> list[object]:
    judge = Judge(events)
    return [told(judge, e.data["number"]) for e in events if (e.source, e.kind) == OPERATION]


OPERATION = ("ota", "operation")


def told(judge: Judge, number: int) -> object:
    try:
        return judge(number).to_json()
    except BlynkOtaError as error:
        return f"{type(error).__name__}: {error}"


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=4),
    between=st.lists(st.sampled_from(sorted(BETWEEN)), min_size=1, max_size=3),
    gap=st.sampled_from([0.02, 1.0, 20.0]),
)
def test_a_verdict_is_the_same_with_all_of_the_past_told(names, between, gap):
    events = joined(names, between, gap)
    short = verdicts(events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Past, "begins", lambda *_: iter([WHOLE]))
        assert verdicts(events) == short


SANE = {
    "stalled": ["offered", "stalls", "old", "login old"],
    "refused": ["offered", "404", "old", "login old"],
    "updated": ["offered", "whole", "new", "login new"],
    "nothing": [],
}
"""Operations as devices go through them; between them anything may happen, lies included."""
waits = st.sampled_from([0.0, 0.3, 3.0, 12.0, 70.0])
trouble = st.lists(st.tuples(st.sampled_from(sorted(VERBS)), waits), max_size=3)
turns = st.lists(st.tuples(st.sampled_from(sorted(SANE)), waits, trouble), min_size=2, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(boards, turns)
@example(
    {"op": "ship", "info": False, "uart": True, "flash": True, "online": True, "faults": ()},
    [
        ("nothing", 0.0, [("watchdog", 0.0), ("login", 0.0)]),
        (
            "nothing",
            0.0,
            [("offered", 0.0), ("old", 0.0), ("shut", 70.0), ("half", 0.0), ("login old", 70.0)],
        ),
        ("nothing", 0.0, []),
    ],
)
def test_an_outcome_is_the_same_with_all_of_a_past_told_that_was_full_of_lies(board, turns):
    verbs = []
    for name, wait, more in turns:
        verbs += [*((verb, 3.0) for verb in SANE[name]), *more, ("next", wait)]
    events = told_tale(board, verbs).over().events
    short = [outcome_of(one) for one in verdicts(events)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Past, "begins", lambda *_: iter([WHOLE]))
        assert [outcome_of(one) for one in verdicts(events)] == short


def outcome_of(verdict: object) -> object:
    if not isinstance(verdict, dict):
        return str(verdict).partition(":")[0]
    return verdict["outcome"], verdict["air_status"], verdict["running"]


@pytest.mark.parametrize("what", sorted(BETWEEN))
def test_what_reaches_over_has_the_same_verdicts(what):
    names = random.Random(what).choices(NAMES, k=3)
    events = joined(["upgraded-edgent_new-three_times.jsonl.gz", *names], [what, "nothing"], 20.0)
    short = verdicts(events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Past, "begins", lambda *_: iter([WHOLE]))
        assert verdicts(events) == short


def test_a_number_that_was_printed_long_ago_still_says_that_lines_are_not_searched():
    tale = Tale(op="offer")
    tale.add("uart", "metric", name="free heap", value=9, unit="bytes")
    for _ in range(3):
        tale.offered().stalls().comes_back("old").wait(120).over().begins("offer")
    for size in (90_000, 80_000, 70_000, 60_000, 50_000, 40_000):
        tale.add("uart", "line", text=f"free heap: {size}").wait(1)
    verdict = tale.offered().stalls().comes_back("old").over().judged()
    assert "heap falling" not in [finding.name for finding in verdict.findings]


def test_of_a_long_test_no_operation_has_all_of_the_past_told(monkeypatch):
    events = joined(["upgraded-edgent_new-three_times.jsonl.gz"] * 8, ["nothing"], 20.0)
    read: list[int] = []
    case = decide._case
    monkeypatch.setattr(
        decide, "_case", lambda one, rows, begin: read.append(begin.at) or case(one, rows, begin)
    )
    verdicts(events)
    begun = [event.seq for event in events if (event.source, event.kind) == OPERATION]
    assert all(begun[at] - read[at] < 1000 for at in range(len(begun)))
    assert len(read) == len(begun)
