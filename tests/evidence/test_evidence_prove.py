"""A verdict from stored evidence that differs from the run's own is told loudly."""

import gzip
import json
from pathlib import Path

import pytest

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.event import read_events
from pytest_blynk_ota.prove import prove, said

RECORDED = (
    Path(__file__).parents[1] / "data" / "timelines" / "upgraded-edgent_old-power_cut.jsonl.gz"
)


@pytest.fixture
def told(tmp_path):
    """A folder as a finished test leaves it, and its events."""
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        events, _ = read_events(lines)
    (tmp_path / "events.jsonl").write_text("".join(e.to_json() + "\n" for e in events))
    rows = [{"operation": n, **said(events, n)} for n in numbers(events)]
    (tmp_path / "verdict.json").write_text(json.dumps({"schema": 1, "verdicts": rows}))
    return tmp_path, events


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
    with pytest.raises(EvidenceError, match="outcome: 'REVERTED', now 'UPGRADED'"):
        prove(folder, events)


def test_events_that_the_disk_lacks_are_told(told):
    folder, events = told
    path = folder / "events.jsonl"
    rows = path.read_text().splitlines(True)
    path.write_text("".join(row for row in rows if '"delivery"' not in row))
    with pytest.raises(EvidenceError, match="its live verdict"):
        prove(folder, events)
