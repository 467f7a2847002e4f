"""What evidence costs: to write it during a run, to judge it afterwards, to watch it as it grows.

Writing: the CPU time of redaction, JSON and the file for the events of real runs, against the time
that these runs took. Judging and watching: recorded runs made long, with many events inside one
operation (a soak), and with many operations (a long test); their outcomes have to stay.

    python benchmarks/bench_evidence.py [--events 100000] [--secrets 100]
"""

from __future__ import annotations

import argparse
import gzip
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_blynk_ota.evidence.bundle import many_objects
from pytest_blynk_ota.evidence.event import Event, parse_events
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Timeline
from pytest_blynk_ota.verdict import judge
from pytest_blynk_ota.verdict.decide import Judge
from pytest_blynk_ota.verdict.watch import Watcher

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "timelines"
SOAK = "upgraded-edgent_new-three_times"
WRITING_SHARE, JUDGING_S = 0.03, 1.0
GAP_S = 10.0
"""Between two copies of a run in a long test."""


def recorded(path: Path) -> list[Event]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return parse_events(lines.read())


def soak(events: Sequence[Event], count: int) -> list[Event]:
    """The first operation with so many events more: of the download, of the log, and signs of life
    of the session, each kind at a place where it may stand."""
    first = {key: at for at, one in reversed(list(enumerate(events))) if (key := _key(one))}
    begun = first["ota", "operation"]
    progress = next(at for at in range(begun, len(events)) if _key(events[at]) == _PROGRESS)
    report = next(at for at in range(progress, len(events)) if _key(events[at]) == _REPORT)
    session = events[report].data["session"]
    heard = replace(events[report], kind="heard", data={"session": session, "what": "ping"})
    line = replace(events[progress], source="uart", kind="line", data={"text": "I (1) main: ok"})
    rows: list[Event] = []
    for at, event in enumerate(events):
        rows.append(event)
        if at == progress:
            rows += _between([event, line], event.t, events[at + 1].t, count // 2)
        if at == report:
            rows += _between([heard, line], event.t, events[at + 1].t, count - count // 2)
    return _numbered(rows)


_PROGRESS, _REPORT = ("delivery", "progress"), ("cloud", "report")


def _key(event: Event) -> tuple[str, str]:
    return event.source, event.kind


def _between(what: Sequence[Event], begin: float, end: float, count: int) -> Iterator[Event]:
    for n in range(count):
        one = what[n % len(what)]
        yield replace(one, t=begin + (end - begin) * n / count, board=what[0].board)


def long_test(events: Sequence[Event], count: int) -> tuple[list[Event], list[int]]:
    """The same run again and again up to so many events, and the numbers of its operations."""
    span = events[-1].t - events[0].t + GAP_S
    rows: list[Event] = []
    numbers: list[int] = []
    for again in range(max(1, count // len(events))):
        for event in events:
            data = dict(event.data)
            for key in ("session", "conn"):
                if isinstance(data.get(key), int):
                    data[key] += 1000 * again
            if isinstance(data.get("number"), int):
                data["number"] += 1000 * again
            if "offer" in data:
                data["offer"] = f"{data['offer']}-{again}"
            rows.append(replace(event, t=event.t + again * span, data=data))
            if _key(event) == ("ota", "operation"):
                numbers.append(data["number"])
    return _numbered(rows), numbers


def _numbered(events: Sequence[Event]) -> list[Event]:
    """With the numbers and the times that they would have on the disk."""
    return [replace(one, seq=seq, t=round(one.t, 6)) for seq, one in enumerate(events, 1)]


def writing(known: int) -> None:
    """The share of a run's time that its evidence takes."""
    redactor = Redactor()
    for number in range(known):
        redactor.learn(secrets.token_hex(16), f"token of board {number}")
    took = lasted = 0.0
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(sorted(FOLDER.glob("*.jsonl.gz"))):
            events = recorded(path)
            begun = time.process_time()
            timeline = Timeline(redactor=redactor, path=Path(folder) / f"{number}.jsonl")
            for event in events:
                timeline.add(event.source, event.kind, event.board, t=event.t, **event.data)
            timeline.close()
            took += time.process_time() - begun
            lasted += events[-1].t - events[0].t
            count += len(events)
    share = took / lasted
    print(
        f"writing, {known} secrets known: {count} events in {took:.3f} s CPU "
        f"({took / count * 1e6:.1f} us each) of runs of {lasted:.0f} s at their real rate: "
        f"{share:.2%} {_well(share <= WRITING_SHARE)} (at most {WRITING_SHARE:.0%})"
    )


def judging(count: int) -> None:
    short = recorded(FOLDER / f"{SOAK}.jsonl.gz")
    first = next(e.data["number"] for e in short if _key(e) == ("ota", "operation"))
    events = soak(short, count)
    took = _judged("a soak", events, [first], short)
    assert took >= 0
    events, numbers = long_test(short, count)
    _judged(f"a test of {len(numbers)} operations", events, numbers, short)


def _judged(name: str, events: list[Event], numbers: list[int], short: list[Event]) -> float:
    begun = time.process_time()
    with many_objects():
        judged = Judge(events)
        outcomes = [judged(number).outcome for number in numbers]
    took = time.process_time() - begun
    for number, outcome in zip(numbers, outcomes, strict=True):
        assert outcome is judge(short, number % 1000).outcome, f"operation {number}: {outcome}"
    print(
        f"judging {name}, {len(events)} events: {took:.2f} s CPU "
        f"{_well(took <= JUDGING_S)} (at most {JUDGING_S:g} s)"
    )
    return took


def watching(count: int) -> None:
    """A look at each event of the soak's operation, at half the events and at all."""
    short = recorded(FOLDER / f"{SOAK}.jsonl.gz")
    costs = []
    for many in (count // 2, count):
        timeline = Timeline()
        watcher = Watcher()
        begun, started, looks = time.process_time(), False, 0
        for event in soak(short, many):
            timeline.add(event.source, event.kind, event.board, t=event.t, **event.data)
            started = started or _key(event) == ("ota", "operation")
            looks += started
            if started and watcher(timeline.events(), event.t).over:
                break
        assert looks > many, f"the watch ended after {looks} looks, before the soak was over"
        costs.append((time.process_time() - begun) / many * 1e6)
    print(
        f"watching a soak: {costs[0]:.0f} us an event of {count // 2}, {costs[1]:.0f} us an event "
        f"of {count} {_well(costs[1] <= 1.5 * costs[0])} (no more each, the longer it lasts)"
    )


def _well(well: bool) -> str:
    return "OK" if well else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--watched", type=int, default=24_000)
    parser.add_argument("--secrets", type=int, default=100)
    told = parser.parse_args()
    for known in (2, told.secrets):
        writing(known)
    judging(told.events)
    watching(told.watched)


if __name__ == "__main__":
    main()
