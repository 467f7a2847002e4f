"""Runs for the gate, read from the disk: each file compared with the manifest, each claim taken
from the bytes of its events."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.bundle import EVENTS, VERDICT, many_objects, read_test
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.files import is_there, read_bytes
from pytest_blynk_ota.evidence.manifest import MANIFEST
from pytest_blynk_ota.evidence.run import Run, StoredTest, find_runs, read_run
from pytest_blynk_ota.gate.claims import RunSeen, TestSeen, epoch, parts_of, run_seen

MARKS = (b'"kind": "operation"', b'"kind": "identity"')
"""One of these stands in each line that the gate needs, beside the first and the last; inside of a
text its quotes would be escaped."""
MANY_BYTES = 4 << 20
"""From so much evidence on several processes read it."""
FINISHED = ("test", "finished")


def read_runs(folders: Sequence[Path], *, judge_again: bool) -> list[RunSeen]:
    """The runs in folders, each as often as it is given.

    Args:
        judge_again: whether each stored verdict is decided again from its events.

    Raises:
        UsageError: a folder holds no run.
        EvidenceError: a run is of a version that is not known here.
    """
    found = [run for folder in folders for run in _runs_in(folder)]
    work = partial(_read, judge_again=judge_again)
    workers = min(len(found), os.cpu_count() or 1)
    if workers < 2 or not judge_again or _bytes(found) < MANY_BYTES:
        return [work(one) for one in enumerate(found)]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(work, enumerate(found)))


def _runs_in(folder: Path) -> list[Path]:
    if is_there(folder / EVENTS):
        raise UsageError(f"{folder}: is the folder of one test; give that of its run")
    runs = find_runs(folder)
    if not runs:
        raise UsageError(f"{folder}: no run in it; expected the folder of a run, or of several")
    return runs


def _bytes(runs: Sequence[Path]) -> int:
    """About how much there is: the sizes of the manifests, which name each file, tell of it."""
    return sum((run / MANIFEST).stat().st_size * 100 for run in runs if is_there(run / MANIFEST))


def _read(numbered: tuple[int, Path], *, judge_again: bool) -> RunSeen:
    number, folder = numbered
    run = read_run(folder)
    with many_objects():
        tests = [_seen(run, test, judge_again) for test in run.tests]
    return run_seen(
        number,
        str(folder),
        run.data,
        tests,
        marks=[str(mark) for mark in run.marks],
        manifest_sha256=_digest_of(folder / MANIFEST),
    )


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except EvidenceError:
        return ""


def _seen(run: Run, test: StoredTest, judge_again: bool) -> TestSeen:
    result, folder = test.result, test.folder
    digest = first = last = None
    events: Sequence[Event] = ()
    verdicts: Sequence[Mapping[str, Any]] | None = None
    flaws: list[str] = []
    if folder is not None:
        try:
            data = read_bytes(folder / EVENTS)
            digest = hashlib.sha256(data).hexdigest()
            if judge_again:
                events, verdicts = _judged(folder, data, flaws)
            else:
                events, verdicts = _skimmed(folder, data, flaws)
        except (EvidenceError, ValueError, RecursionError) as error:
            flaws.append(str(error).removeprefix(f"{folder}/"))
    if events:
        first, last = (events[0].t, events[0].wall), (events[-1].t, events[-1].wall)
    identities, operations, apart = parts_of(events, verdicts)
    return TestSeen(
        id=test.id,
        word=test.word,
        message=test.message,
        folder=folder.relative_to(run.folder).as_posix() if folder else "",
        scenarios=result.scenarios if result else (),
        boards=result.boards if result else (),
        began=epoch(result.started) if result else None,
        digest=digest,
        first=first,
        last=last,
        identities=identities,
        operations=operations,
        flaws=(*flaws, *apart),
    )


def _skimmed(
    folder: Path, data: bytes, flaws: list[str]
) -> tuple[Sequence[Event], Sequence[Mapping[str, Any]]]:
    """The events that the gate needs, and the verdicts as stored.

    Raises:
        ValueError: a line is no event.
    """
    lines = data.rstrip(b"\n").split(b"\n")
    needed = [
        line
        for at, line in enumerate(lines)
        if at in (0, len(lines) - 1) or any(mark in line for mark in MARKS)
    ]
    events = [Event.of(json.loads(line)) for line in needed]
    verdicts = json.loads(read_bytes(folder / VERDICT)).get("verdicts")
    last = events[-1]
    if (last.source, last.kind) != FINISHED:
        flaws.append(f"{EVENTS}: the end of the test is missing")
    elif not isinstance(verdicts, list) or last.data.get("verdicts") != len(verdicts):
        flaws.append(f"{VERDICT}: it does not hold what the test ended with")
    if last.seq != len(lines):
        flaws.append(f"{EVENTS}: it has {len(lines)} lines, the last is #{last.seq}")
    return events, [one for one in verdicts or () if isinstance(one, dict)]


def _judged(
    folder: Path, data: bytes, flaws: list[str]
) -> tuple[Sequence[Event], Sequence[Mapping[str, Any]]]:
    """All events, and the verdicts, which are decided again and have to be the same.

    Raises:
        EvidenceError: they cannot be read.
    """
    from pytest_blynk_ota.verdict.again import judge_again

    bundle = read_test(folder)
    flaws += [str(mark) for mark in bundle.marks]
    for again in judge_again(bundle.events, bundle.verdicts, ended=bundle.ended):
        if not again.same:
            why = next(iter(again.differs.values()), again.error or "no verdict was stored")
            flaws.append(f"operation {again.number}, judged again: {why}")
    return bundle.events, bundle.verdicts or ()
