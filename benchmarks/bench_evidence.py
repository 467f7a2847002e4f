"""What evidence costs: writing it, against the run it is of; and judging 100,000 events again.

    python benchmarks/bench_evidence.py [RUN]

RUN is the folder of a run; without it, the stored one of the tests is used. Writing is timed by
adding its events once more, redacted, with as many secrets as a rack of eight boards has. Exit
code 1: a figure is missed.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_blynk_ota.evidence.bundle import TestBundle, read_test
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.run import read_run
from pytest_blynk_ota.verdict.again import judge_again

STORED = Path(__file__).parents[1] / "tests" / "data" / "evidence" / "schema1" / "run"
SECRETS = 16
MAX_SHARE = 0.03
EVENTS = 100_000
MAX_JUDGE_S = 1.0


def writing(run: Path) -> float:
    """The share of a run's time that writing its evidence takes."""
    redactor = Redactor()
    for number in range(SECRETS):
        redactor.learn(secrets.token_hex(16), f"token of {number}")
    spent = lasted = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for test in read_run(run).tests:
            stored = test.read()
            lasted += stored.events[-1].wall - stored.events[0].wall
            start = time.perf_counter()
            bundle = TestBundle(Path(folder), test.id, redactor)
            for event in stored.events[1:-1]:
                bundle.timeline.add(event.source, event.kind, event.board, t=event.t, **event.data)
            bundle.finish(stored.verdicts or ())
            spent += time.perf_counter() - start
        start = time.perf_counter()
        manifest_of(Path(folder))
        spent += time.perf_counter() - start
    print(f"writing: {1000 * spent:.1f} ms of {lasted:.1f} s: {spent / lasted:.2%}")
    return spent / lasted


def long_events(run: Path) -> list[Event]:
    """An operation of a run that has 100,000 events, as a long soak has: most are log lines."""
    test = next(test for test in read_run(run).tests if test.verdicts())
    events = list(test.events())
    at = next(n for n, one in enumerate(events) if (one.source, one.kind) == ("ota", "watch_ended"))
    line = next(one for one in events if (one.source, one.kind) == ("uart", "line"))
    before = events[at - 1]
    more = EVENTS - len(events)
    step = (events[at].t - before.t) / (more + 1)
    noise = [
        replace(line, t=before.t + (n + 1) * step, data={**line.data, "text": f"[{n}] heap 181264"})
        for n in range(more)
    ]
    return [
        replace(event, seq=n) for n, event in enumerate([*events[:at], *noise, *events[at:]], 1)
    ]


def judging(events: Sequence[Event], run: Path) -> float:
    """Wall seconds to read and judge a bundle of 100,000 events."""
    test = next(test for test in read_run(run).tests if test.verdicts())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.joinpath("events.jsonl").write_text("".join(one.to_json() + "\n" for one in events))
        path.joinpath("verdict.json").write_text(json.dumps({"verdicts": list(test.verdicts())}))
        start = time.perf_counter()
        bundle = read_test(path)
        read = time.perf_counter() - start
        again = list(judge_again(bundle.events, bundle.verdicts, ended=bundle.ended))
        whole = time.perf_counter() - start
    print(
        f"judging {len(events)} events: {whole:.2f} s, {read:.2f} s of it reading: "
        f"{again[0].now and again[0].now['outcome']}"
    )
    return whole


def main() -> int:
    run = Path(sys.argv[1]) if sys.argv[1:] else STORED
    share = writing(run)
    events = long_events(run)
    seconds = min(judging(events, run) for _ in range(3))
    return int(share > MAX_SHARE or seconds > MAX_JUDGE_S)


if __name__ == "__main__":
    sys.exit(main())
