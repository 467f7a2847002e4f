"""The folders of runs on disk: which are ours, how large they are, and how one is removed.

Nothing is removed that is not known through and through: a folder with one thing in it that no run
writes is left alone. ``run.json`` goes last, so that what a kill leaves is still known as ours.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.agree import RESULT_WORDS, RUN
from pytest_blynk_ota.evidence.bundle import EVENTS
from pytest_blynk_ota.evidence.files import (
    NoSuchFile,
    is_folder,
    is_there,
    kind_of,
    read_json,
    walk,
)
from pytest_blynk_ota.evidence.manifest import MANIFEST, PAGE
from pytest_blynk_ota.evidence.results import RESULTS
from pytest_blynk_ota.evidence.run import is_a_run
from pytest_blynk_ota.history.fresh import goes_on, last_written
from pytest_blynk_ota.history.line import seconds_of
from pytest_blynk_ota.history.retention import Stored

TESTS = "tests"
FILES = frozenset({RUN, RESULTS, MANIFEST, "report.html", "summary.md"})
OTHERS = re.compile(r"virtual-rack[\w-]*\.log|[\w.-]+\.part|run\.json\.\d+\.begun")
"""What stands in a run beside them: logs of the virtual rack, and what a kill left half written."""
REMOVED = ".removed-"
"""A folder is called so while it is removed: no half of a run is taken for a run."""
KEYS = ("rig", "rig_kind", "started", "complete", "command")
"""Keys of run.json in every version: without them it is somebody else's."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A folder that is left alone, and why."""

    path: Path
    why: str


def scan(folder: Path, now: float) -> tuple[Sequence[Stored], Sequence[Stranger]]:
    """The runs that lie directly in a folder, by name, and what else does.

    Args:
        folder: where pytest leaves its runs.
        now: seconds since 1970.

    Raises:
        UsageError: it is no folder, or itself a run.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder; expected one of runs")
    if is_a_run(folder):
        raise UsageError(f"{folder}: is a run itself; name the folder that it lies in")
    runs: list[Stored] = []
    strangers: list[Stranger] = []
    for path in sorted(folder.iterdir()):
        why = stranger(path)
        if why:
            strangers.append(Stranger(path, why))
        else:
            found = _stored(path, now)
            runs.append(replace(found, goes_on=found.goes_on or _is_held(path)))
    return runs, strangers


def stranger(path: Path) -> str:
    """Why something is no run of ours; "" if it is one."""
    try:
        kind = kind_of(path)
        if kind != "a folder":
            return f"is {kind or 'a file'}, no folder"
        data = read_json(path / RUN)
    except EvidenceError as error:
        return str(error).removeprefix(f"{path}/").removeprefix(f"{path}: ")
    missing = [key for key in KEYS if key not in data]
    if missing or type(data.get("schema")) is not int:
        return f"{RUN} has no {(missing or ['schema'])[0]}: it is of something else"
    return next(_unknown(path), "")


def _unknown(run: Path) -> Iterator[str]:
    """What stands in a run that no run of ours writes."""
    for path in sorted(run.iterdir()):
        ours = path.name in FILES or OTHERS.fullmatch(path.name)
        if path.name == TESTS and is_folder(path):
            yield from _unknown_tests(path)
            yield from _added(run)
        elif not ours or is_folder(path):
            yield f"{path.name} in it is no part of a run"


def _unknown_tests(tests: Path) -> Iterator[str]:
    for path in sorted(tests.iterdir()):
        if not is_folder(path):
            yield f"{TESTS}/{path.name} is no folder of a test"
        elif not is_there(path / EVENTS) and any(path.iterdir()):  # a kill may leave it empty
            yield f"{TESTS}/{path.name} has no {EVENTS}"


def _added(run: Path) -> Iterator[str]:
    """What was put into the folder of a test after the run ended. Without a manifest, as after a
    kill, that is known of links alone: no run writes one."""
    known = _sealed(run)
    for name in walk(run / TESTS):
        path = run / TESTS / name
        late = known is not None and f"{TESTS}/{name}" not in known
        with suppress(NoSuchFile):  # a run that goes on takes its half-written files away
            if kind_of(path) or (late and path.name != PAGE and path.suffix != ".part"):
                yield f"{TESTS}/{name} was not there when the run ended"


def _sealed(run: Path) -> Collection[str] | None:
    """The files that a run's manifest names; None without one."""
    try:
        files = read_json(run / MANIFEST).get("files")
    except EvidenceError:
        return None
    return files if isinstance(files, dict) else None


def _stored(path: Path, now: float) -> Stored:
    data = read_json(path / RUN)
    ended = data.get("finished")
    result = data.get("result")
    found = data.get("id")
    counts = data.get("counts")
    return Stored(
        path=path,
        id=found if isinstance(found, str) else None,
        rig=str(data["rig"]),
        result=result if result in RESULT_WORDS else "incomplete",
        complete=data["complete"] is True,
        written=_seconds(ended) if isinstance(ended, str) else last_written(path),
        bytes=size_of(path),
        goes_on=goes_on(path, now),
        leftover=path.name.startswith(REMOVED),
        passed=not isinstance(counts, dict) or bool(counts.get("passed")),
    )


def _seconds(text: str) -> float:
    try:
        return seconds_of(text)
    except (ValueError, OverflowError):
        return float("inf")  # never old enough


def size_of(root: Path) -> int:
    """Bytes of all files in a folder; links count as nothing."""
    total = 0
    for name in walk(root):
        with suppress(FileNotFoundError):
            total += (root / name).lstat().st_size
    return total


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Whether nobody else holds a folder; as long as this lasts, nobody can."""
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    free = True
    try:
        with suppress(OSError):  # no locks here, as on some network drives
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free = False
        yield free
    finally:
        os.close(held)


def _is_held(path: Path) -> bool:
    """Whether a run that has not ended holds its folder, as it does one that the user named."""
    with _lock(path) as free:
        return not free


def remove(run: Stored, now: float) -> None:
    """Remove the folder of a run.

    Raises:
        EvidenceError: it is no more what it was when it was looked at; nothing was removed.
        OSError: not all of it could be removed; a later call goes on.
    """
    with _lock(run.path) as free:
        why = stranger(run.path) or _changed(run, now, free)
        if why:
            raise EvidenceError(f"{run.path}: was not removed: {why}")
        gone = run.path
        if not run.leftover:
            gone = run.path.with_name(f"{REMOVED}{run.path.name}")
            run.path.rename(gone)
        for path in sorted(gone.iterdir(), key=lambda path: path.name == RUN):
            if is_folder(path):
                shutil.rmtree(path)
            else:
                path.unlink()
        gone.rmdir()


def _changed(run: Stored, now: float, free: bool) -> str:
    after = _stored(run.path, now)
    if not free or after.goes_on:
        return "a run goes on in it"
    if after.id != run.id or after.written != run.written:
        return "another run is in it now"
    return ""
