"""A verdict from stored evidence that differs from the run's own is told loudly."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.event import parse_events
from pytest_blynk_ota.session import _prove
from pytest_blynk_ota.verdict import judge

RECORDED = (
    Path(__file__).parents[1] / "data" / "timelines" / "upgraded-edgent_old-power_cut.jsonl.gz"
)


@pytest.fixture
def told(tmp_path):
    """A folder as a finished test leaves it, and its events."""
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        events = parse_events(lines.read())
    (tmp_path / "events.jsonl").write_text("".join(e.to_json() + "\n" for e in events))
    rows = [{"operation": n, **judge(events, n).to_json()} for n in numbers(events)]
    (tmp_path / "verdict.json").write_text(json.dumps({"schema": 1, "verdicts": rows}))
    return tmp_path, events


def prove(folder, events):
    timeline = SimpleNamespace(events=lambda: events)
    _prove(SimpleNamespace(folder=folder, timeline=timeline))


def numbers(events):
    return [e.data["number"] for e in events if (e.source, e.kind) == ("ota", "operation")]


def test_the_same_verdict_is_proved(told):
    folder, events = told
    assert numbers(events)
    prove(folder, events)


def test_another_stored_verdict_is_told_with_both(told):
    folder, events = told
    stored = folder / "verdict.json"
    stored.write_text(stored.read_text().replace('"UPGRADED"', '"REVERTED"'))
    with pytest.raises(EvidenceError, match=r"outcome: .*REVERTED"):
        prove(folder, events)


def test_events_that_the_disk_lacks_are_told(told):
    folder, events = told
    path = folder / "events.jsonl"
    rows = path.read_text().splitlines(True)
    path.write_text("".join(row for row in rows if '"delivery"' not in row))
    with pytest.raises(EvidenceError, match="not those that were seen"):
        prove(folder, events)
