"""Runs for the gate, read from the disk: each file compared with the manifest, each claim taken
from the bytes of its events."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.bundle import EVENTS, VERDICT, many_objects
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.files import is_there, read_bytes
from pytest_blynk_ota.evidence.manifest import MANIFEST
from pytest_blynk_ota.evidence.run import StoredTest, find_runs, read_run
from pytest_blynk_ota.gate.claims import RunSeen, TestSeen, epoch, parts_of, run_seen, wavered

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
    if workers < 2 or _bytes(found) < MANY_BYTES:
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
    found: dict[str, _Found] = {}
    look = partial(_look, found)
    with many_objects():
        run = read_run(folder, look=look)
        tests = [_seen(test, _found_of(found, test), judge_again) for test in run.tests]
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


@dataclass(slots=True)
class _Found:
    """What the gate needs of a test's files, from the bytes that the manifest vouches for."""

    digest: str | None = None
    events: Sequence[Event] = ()
    verdicts: Sequence[Mapping[str, Any]] | None = None
    flaws: list[str] = field(default_factory=list)


def _look(found: dict[str, _Found], name: str, data: bytes, digest: str) -> None:
    folder, _, file = name.rpartition("/")
    reads = READS.get(file)
    if reads is None:
        return
    of_test = found.setdefault(folder, _Found())
    try:
        reads(of_test, data, digest)
    except (ValueError, RecursionError) as error:
        of_test.flaws.append(f"{file}: {error}")


def _skim(found: _Found, data: bytes, digest: str) -> None:
    """Keep the events that the gate needs: the first, the last, and those with one of ``MARKS``.

    Raises:
        ValueError: a line is no event.
    """
    found.digest = digest
    body = data.rstrip(b"\n")
    ends = {body.find(b"\n") if b"\n" in body else len(body), len(body)}
    for mark in MARKS:
        at = body.find(mark)
        while at >= 0:
            end = body.find(b"\n", at)
            end = len(body) if end < 0 else end
            ends.add(end)
            at = body.find(mark, end)
    lines = [body[body.rfind(b"\n", 0, end) + 1 : end] for end in sorted(ends)]
    found.events = events = [Event.of(json.loads(line)) for line in lines]
    last, count = events[-1], body.count(b"\n") + 1
    if (last.source, last.kind) != FINISHED:
        found.flaws.append(f"{EVENTS}: the end of the test is missing")
    if last.seq != count:
        found.flaws.append(f"{EVENTS}: it has {count} lines, the last is #{last.seq}")


def _stored(found: _Found, data: bytes, _: str) -> None:
    """Keep the stored verdicts.

    Raises:
        ValueError: they are none.
    """
    rows = json.loads(data)
    verdicts = rows.get("verdicts") if isinstance(rows, dict) else None
    if not isinstance(verdicts, list) or not all(isinstance(one, dict) for one in verdicts):
        raise ValueError("verdicts: expected a list of objects")
    found.verdicts = verdicts


READS: Mapping[str, Callable[[_Found, bytes, str], None]] = {EVENTS: _skim, VERDICT: _stored}


def _found_of(found: Mapping[str, _Found], test: StoredTest) -> _Found:
    """What was found in a test's folder; it has to be as much as the test says of itself."""
    if test.folder is None:
        return _Found()
    of_test = found.get(
        f"tests/{test.folder.name}", _Found(flaws=["its files are not vouched for"])
    )
    said = of_test.events[-1].data.get("verdicts") if of_test.events else None
    if said != (None if of_test.verdicts is None else len(of_test.verdicts)):
        of_test.flaws.append(f"{VERDICT}: it does not hold the {said} that the test ended with")
    return of_test


def _seen(test: StoredTest, found: _Found, judge_again: bool) -> TestSeen:
    result, events = test.result, found.events
    flaws, verdicts = found.flaws, found.verdicts
    if judge_again and test.folder is not None:
        apart, verdicts = _judged(test)
        flaws = [*flaws, *apart]
    identities, operations, apart = parts_of(events, verdicts)
    return TestSeen(
        id=test.id,
        word=test.word,
        message=test.message,
        folder=f"tests/{test.folder.name}" if test.folder else "",
        scenarios=result.scenarios if result else (),
        boards=result.boards if result else (),
        began=epoch(result.started) if result else None,
        digest=found.digest,
        first=(events[0].t, events[0].wall) if events else None,
        last=(events[-1].t, events[-1].wall) if events else None,
        identities=identities,
        operations=operations,
        flaws=(*flaws, *apart),
    )


def _judged(test: StoredTest) -> tuple[list[str], list[Mapping[str, Any]]]:
    """What is wrong with a test's verdicts, decided again from its events; and the verdicts of
    today, which may hold findings that nobody looked for then."""
    from pytest_blynk_ota.verdict.again import judge_again

    try:
        bundle = test.read()
    except EvidenceError as error:
        return [str(error)], []
    flaws = [str(mark) for mark in bundle.marks]
    if jumped := wavered(bundle.events):
        flaws.append(jumped)
    verdicts: list[Mapping[str, Any]] = []
    for again in judge_again(bundle.events, bundle.verdicts, ended=bundle.ended):
        if again.now is not None:
            verdicts.append({**again.now, "operation": again.number})
        if not again.same:
            why = next(iter(again.differs.values()), again.error or "no verdict was stored")
            flaws.append(f"operation {again.number}, judged again: {why}")
    return flaws, verdicts
