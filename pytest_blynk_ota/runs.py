"""A run's folder, its run.json, and what its tests came to. Light: no rig is known here."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_blynk_ota.evidence.bundle import write_json

PREFIX = "blynk_ota_"
"""Our properties of a report begin so; JUnit XML shows them under the same names."""
RIG = PREFIX + "rig"
RIG_ERROR = PREFIX + "rig_error"
"""The rack's fault: the class of the error."""
USAGE_ERROR = PREFIX + "usage_error"
"""The test asked for something that cannot be done, or is written wrongly: the error's class."""
RERUN = PREFIX + "rerun"
"""The command that runs the test again, with the same seed."""
SAID = PREFIX + "said"
"""What a failed assert about a result expected, and what came."""

ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
"""Exit codes of a pytest that was not stopped on its way."""
WORST_FIRST = ("firmware", "rig", "error", "xpassed", "passed", "xfailed", "skipped")
"""What one test can come to; of two phases of a test the worse word counts.

``error``: neither the firmware nor the rack: a fixture that raised, a request that cannot be
carried out, a worker that died.
"""


def names(root: Path, rig: str, now: datetime) -> Iterator[Path]:
    """Folders for a run, named by time and rig, the first free one first."""
    name = f"{now:%Y%m%dT%H%M%S}-{Path(rig).stem}"
    base = root / ".blynk-ota" / "runs"
    yield base / name
    for count in range(2, 1000):
        yield base / f"{name}-{count}"


def claim(root: Path, rig: str, now: datetime) -> Path:
    """Make a new folder for the run of one process; two runs never share one."""
    for folder in names(root, rig, now):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{root}: a thousand runs in one second")


def shared(root: Path, rig: str, now: datetime) -> Path:
    """A folder for several workers, made when the first of them needs it; told by our pid."""
    folder = next(names(root, rig, now))
    return folder.with_name(f"{folder.name}-{os.getpid()}")


def renew(folder: Path) -> Path:
    """Use a folder that the user named: an earlier run in it is replaced, nothing else.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "run.json").exists():
        (folder / "run.json").unlink()
        shutil.rmtree(folder / "tests", ignore_errors=True)
    return folder


def begin(folder: Path, data: Mapping[str, Any]) -> None:
    """Write run.json, once; until the end it says ``complete: false``."""
    path = folder / "run.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {**data, "started": _now()})


def end(folder: Path, tally: Tally, *, complete: bool) -> None:
    """Complete run.json with what came out."""
    path = folder / "run.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    counts = tally.counts()
    data |= {
        "complete": complete,
        "result": result_of(counts, complete),
        "counts": dict(counts),
        "finished": _now(),
    }
    write_json(path, data)


def report(folder: Path) -> str:
    """Write report.html and summary.md beside the evidence; returns what to say of it.

    The evidence is safe by now, and no fault of ours in showing it may lose the run.
    """
    from pytest_blynk_ota.report import write

    try:
        path = write.write_beside(folder)
    except Exception as error:
        return f"warning: no report was written: {type(error).__name__}: {error}"
    return f"report: {os.path.relpath(path)}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def result_of(counts: Mapping[str, int], complete: bool) -> str:
    """The word in run.json: a firmware failure outweighs a rack error, and both a stopped run."""
    if counts.get("firmware"):
        return "firmware"
    if counts.get("rig"):
        return "rig"
    return "incomplete" if counts.get("error") or not complete else "ok"


def word(report: pytest.TestReport) -> str | None:
    """What a report says of its test; None if nothing yet, or if the test uses no rig."""
    properties = dict(report.user_properties)
    if report.when not in ("setup", "call", "teardown"):  # pytest-xdist: the worker died
        return "error"
    if not {RIG, RIG_ERROR}.intersection(properties):
        return None
    if report.failed:
        if RIG_ERROR in properties:
            return "rig"
        return "firmware" if report.when == "call" and USAGE_ERROR not in properties else "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.skipped:
        return "skipped"
    return "passed" if report.when == "call" else None


class Tally:
    """A pytest plugin that keeps what each test on the rig came to, where all reports arrive."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one report."""
        said = word(report)
        if said is None:
            return
        before = self._words.get(report.nodeid, said)
        self._words[report.nodeid] = min(said, before, key=WORST_FIRST.index)

    def counts(self) -> Counter[str]:
        """Tests by what they came to."""
        return Counter(self._words.values())
