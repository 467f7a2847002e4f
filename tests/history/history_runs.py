"""Folders of runs and lines of a history, for its tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.results import WORST_FIRST, TestResult
from pytest_blynk_ota.history.line import ResultLine, RunLine

OLD, NEW, NEWER = "0d" * 32, "1e" * 32, "2f" * 32
BEGUN = datetime(2026, 11, 20, 2, tzinfo=UTC)
RUN_ID = "0123456789abcdef"


def at(days: float = 0.0) -> str:
    """A time so many days after the first run."""
    return (BEGUN + timedelta(days=days)).isoformat()


def result(word: str = "passed", test: str = "test_it.py::test_it", **more: Any) -> TestResult:
    """What one test came to."""
    told = {"folder": None, "seconds": 2.5, "started": at(), "boards": ("c3-a",)} | more
    return TestResult(id=test, word=word, **told)


def write_run(
    folder: Path,
    results: Iterable[TestResult] = (),
    *,
    seal: bool = True,
    boards: Sequence[str] = ("c3-a", "c3-b"),
    new: str = NEW,
    **head: Any,
) -> Path:
    """The folder of a run; unsealed it has no manifest."""
    folder.mkdir(parents=True)
    both = {"old": {"version": "1.0.0", "sha256": OLD}, "new": {"version": "1.1.0", "sha256": new}}
    data = {
        "schema": 2,
        "id": RUN_ID,
        "rig": "lab1",
        "rig_kind": "real",
        "firmware": dict.fromkeys(boards, both),
        "tools": {"pytest-blynk-ota": "0.1.0"},
        "complete": True,
        "result": "ok",
        "started": at(),
        "finished": at(0.1),
    } | head
    data = {key: value for key, value in data.items() if value is not None}
    (folder / "run.json").write_text(json.dumps(data))
    lines = [f"{one.to_json()}\n" for one in results]
    (folder / "results.jsonl").write_bytes("".join(lines).encode("utf-8", "backslashreplace"))
    if seal:
        (folder / "manifest.json").write_text(json.dumps(manifest_of(folder)))
    return folder


def run_line(run: str = RUN_ID, **more: Any) -> RunLine:
    """A run's own line."""
    told = {
        "run": run,
        "rig": "lab1",
        "rig_kind": "real",
        "name": "20261120T020000-lab1",
        "started": at(),
        "finished": at(0.1),
        "complete": True,
        "result": "ok",
        "tests": 1,
        "images": {OLD: "1.0.0", NEW: "1.1.0"},
        "tool": "0.1.0",
    }
    return RunLine(**told | more)


def result_line(run: str = RUN_ID, word: str = "passed", **more: Any) -> ResultLine:
    """A result's line."""
    told = {
        "run": run,
        "test": "test_it.py::test_it",
        "rig": "lab1",
        "board": "c3-a",
        "attempt": 1,
        "at": at(),
        "word": word,
        "seconds": 2.5,
        "old": OLD,
        "new": NEW,
        "worker": None,
        "message": None,
        "scenarios": [],
    }
    return ResultLine(**told | more)


def text_of(lines: Iterable[RunLine | ResultLine]) -> str:
    """Lines as a file holds them."""
    return "".join(f"{line.to_json()}\n" for line in lines)


RESULTS = st.builds(
    result_line,
    run=st.sampled_from(["a", "b", "c"]),
    word=st.sampled_from(WORST_FIRST),
    test=st.sampled_from(["t.py::one", "t.py::two"]),
    board=st.sampled_from(["c3-a", "c3-b", ""]),
    attempt=st.integers(1, 3),
    at=st.sampled_from([at(days / 4) for days in range(5)]),
    seconds=st.sampled_from([0, 1.5, 100]),
    old=st.sampled_from([None, OLD]),
    new=st.sampled_from([None, NEW, NEWER]),
    message=st.none() | st.text(min_size=1, max_size=3),
)
RUNS = st.builds(
    lambda run, killed, name: run_line(
        run, started=at(ord(run) / 100), name=name, **(KILLED if killed else {})
    ),
    st.sampled_from(["a", "b", "c"]),
    st.booleans(),
    st.sampled_from(["here", "there"]),
)
KILLED = {"finished": None, "complete": False, "tests": 0}
LINES = st.tuples(
    st.lists(RESULTS, max_size=12, unique_by=lambda line: line.key),
    st.lists(RUNS, max_size=3),
).map(lambda both: [*both[1], *both[0]])
"""Lines of a few runs, in which no two contradict each other."""
