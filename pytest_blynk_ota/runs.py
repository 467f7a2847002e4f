"""A run's folder, its run.json and results, and what its tests came to. Light: knows no rig."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_blynk_ota.board.naming import label_of, names_a_port
from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.agree import RUN
from pytest_blynk_ota.evidence.bundle import EVENTS
from pytest_blynk_ota.evidence.chain import DIGEST, of_logs, of_run
from pytest_blynk_ota.evidence.files import read_json
from pytest_blynk_ota.evidence.manifest import MANIFEST, RACK_LOGS, manifest_of
from pytest_blynk_ota.evidence.results import RESULTS, WORST_FIRST, TestResult, counted, result_of
from pytest_blynk_ota.evidence.writer import Results, write_json

PREFIX = "blynk_ota_"
"""Our properties of a report begin so; JUnit XML shows them under the same names."""
RIG = PREFIX + "rig"
RIG_KIND = PREFIX + "rig_kind"
"""What the board of the test is made of, by what it says itself."""
UNKNOWN, MIXED = "unknown", "mixed"
"""No board has been asked; not all are of one kind."""
RIG_ERROR = PREFIX + "rig_error"
"""The rack's fault: the class of the error."""
USAGE_ERROR = PREFIX + "usage_error"
"""The test asked for something that cannot be done, or is written wrongly: the error's class."""
RERUN = PREFIX + "rerun"
"""The command that runs the test again, with the same seed."""
RACK_SECTION = "rack error"
"""The section of a report that says which error of the rack it was."""
SAID = PREFIX + "said"
"""What a failed assert about a result expected, and what came."""

TOLD = "blynk_ota_told"
"""The attribute of a report by which the process that ran the test says more of it, redacted."""

ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
"""Exit codes of a pytest that was not stopped on its way."""


def first_line(text: str) -> str:
    """The first line that says something; with the next one where it ends in a colon."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])


def words_of(report: pytest.TestReport) -> str:
    """What a report has to say, be it of a failure or of a skip; "" if nothing."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if report.skipped:
        where = report.longrepr  # a skip: path, line, reason
        return str(where[2] if isinstance(where, tuple) else where).removeprefix("Skipped: ")
    if not report.failed:
        return ""
    rack = dict(report.sections).get(RACK_SECTION)
    told = dict(report.user_properties).get(SAID) if report.when == "call" else None
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", None)
    return str(rack or told or crash or report.longreprtext)


def names(root: Path, rig: str, now: datetime) -> Iterator[Path]:
    """Folders for a run, named by time and rig, the first free one first."""
    word = label_of(rig) if names_a_port(rig) else Path(rig).stem
    name = f"{now:%Y%m%dT%H%M%S}-{word}"
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


def hold(folder: Path) -> Callable[[], None]:
    """Keep others from using a folder that the user named, until what is returned is called or
    this process ends, however it does. Nothing in it is changed yet. It leaves no file. Where
    nothing can be locked, as on some network drives, nobody is kept out.

    Raises:
        UsageError: a run that has not ended holds it, or what stands where a run has its files is
            no run of ours.
        OSError: it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--evidence {folder}: it is a file, expected a folder; name another")
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise UsageError(
            f"--evidence {folder}: another run writes there, and would lose its evidence; nothing "
            "was removed: wait for its end, or name another folder"
        ) from error
    except OSError:  # no locks here
        pass
    if (stranger := next(_strangers(folder), None)) is not None:
        os.close(held)
        raise UsageError(
            f"--evidence {folder}: {stranger} is no evidence, and a run would be written over it; "
            "nothing was removed: name an empty folder, or one that holds an earlier run alone"
        )
    return lambda: os.close(held)


def renew(folder: Path) -> None:
    """Take an earlier run, and nothing else, out of a folder that this process holds.

    Raises:
        OSError: something cannot be removed.
    """
    if not (folder / RUN).exists():
        return
    shutil.rmtree(folder / "tests", ignore_errors=True)
    for log in folder.glob(RACK_LOGS):
        log.unlink()
    for name in (*BESIDE, RUN):  # the last one says that the others are ours
        (folder / name).unlink(missing_ok=True)


BESIDE = (RESULTS, MANIFEST, "report.html", "summary.md")
"""Files that a run writes beside its run.json."""


def _strangers(folder: Path) -> Iterator[Path]:
    """What is not ours under names that a run uses: a project's own ``tests``, above all; and
    without a run.json, whatever is called as a file of a run."""
    tests = folder / "tests"
    if tests.is_symlink() or (tests.exists() and not tests.is_dir()):
        yield tests
    elif tests.is_dir():
        yield from (path for path in sorted(tests.iterdir()) if not _of_a_test(path))
    try:
        data = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        yield from (folder / name for name in BESIDE if (folder / name).exists())
        yield from sorted(folder.glob(RACK_LOGS))
    except ValueError:  # torn by a kill: it may be ours
        pass
    else:
        if not isinstance(data, dict) or "schema" not in data:
            yield folder / RUN


def _of_a_test(path: Path) -> bool:
    """Whether it is the folder of a test; a kill may have left it empty."""
    if path.is_symlink() or not path.is_dir():
        return False
    return (path / EVENTS).exists() or not any(path.iterdir())


def begin(folder: Path, data: Mapping[str, Any]) -> None:
    """Write run.json, once, by the first worker that comes here; until the end of the run it says
    ``complete: false``."""
    path = folder / RUN
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    mine = folder / f"{RUN}.{os.getpid()}.begun"
    write_json(mine, {**data, "id": secrets.token_hex(8), "started": _now()})
    with contextlib.suppress(FileExistsError):  # another worker was faster
        os.link(mine, path)
    mine.unlink()


def id_of(folder: Path) -> str | None:
    """The id of the run in a folder, which has begun; None if it has none that can be read."""
    with contextlib.suppress(EvidenceError):
        return str(read_json(folder / RUN)["id"])
    return None


def end(folder: Path, tally: Tally, *, complete: bool) -> None:
    """Complete run.json with what came out, and write the manifest of all that is there.

    Raises:
        OSError: one of them cannot be written.
    """
    path = folder / RUN
    data = json.loads(path.read_text(encoding="utf-8"))
    counts = tally.counts()
    data |= {
        "complete": complete,
        "result": result_of(counts, complete),
        "rig_kind": tally.kind,
        "counts": dict(counts),
        **tally.told(),
        "logs": of_logs(folder),
        "finished": _now(),
    }
    write_json(path, data | {DIGEST: of_run(data)})
    write_json(folder / MANIFEST, manifest_of(folder))


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


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")


def word(report: pytest.TestReport) -> str | None:
    """What a report says of its test; None if nothing yet, or if the test uses no rig."""
    properties = dict(report.user_properties)
    if report.when not in PHASES:  # pytest-xdist: the worker died
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


@dataclass
class _Test:
    """One test while its reports come in."""

    started: float
    word: str | None = None
    seconds: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)
    report: pytest.TestReport | None = None

    def take(self, report: pytest.TestReport, said: str | None) -> None:
        """Take one report: of two phases that failed, what the worse one says stays."""
        self.report = report
        self.seconds += report.duration
        told = dict(getattr(report, TOLD, {}))
        if said is not None and (self.word is None or _worse(said, self.word)):
            self.word = said
            self.told |= told
        else:
            self.told = told | {key: value for key, value in self.told.items() if value}

    def result(self, word: str, clean: Callable[[str], str]) -> TestResult:
        """Its line. A worker that died told nothing of its end, so the report speaks for it: in the
        words of pytest-xdist, which name the test with all that its id may hold."""
        told, report = self.told, self.report
        assert report is not None
        name = told.get("id") or clean(report.nodeid)
        died = None
        if report.when not in PHASES:
            died = clean(str(report.longrepr).replace(report.nodeid, name))
        return TestResult(
            id=name,
            folder=told.get("folder"),
            word=word,
            seconds=round(self.seconds, 3),
            started=_iso(self.started) if self.started else None,
            worker=_worker(report),
            boards=tuple(told.get("boards") or ()),
            message=told.get("message") or (died and died.splitlines()[0]),
            text=told.get("text") or died,
            rerun=told.get("rerun"),
            scenarios=tuple(told.get("scenarios") or ()),
        )


PHASES = ("setup", "call", "teardown")
BAD = ("firmware", "rig", "error")
"""What a test came to that its teardown cannot mend."""


def _worse(said: str, before: str) -> bool:
    return WORST_FIRST.index(said) < WORST_FIRST.index(before)


def _worker(report: pytest.TestReport) -> str | None:
    """The worker of pytest-xdist that ran a test; None without."""
    gateway = getattr(getattr(report, "node", None), "gateway", None)
    found = getattr(report, "worker_id", None) or getattr(gateway, "id", None)
    return str(found) if found else None


class Tally:
    """A pytest plugin that keeps what each test on the rig came to, where all reports arrive.

    Args:
        run: gives the folder of the run; None as long as there is none.
        clean: takes secrets out of what no worker has cleaned.

    Attributes:
        trouble: what could not be written, in words.
    """

    def __init__(self, run: Callable[[], Path | None], clean: Callable[[str], str]) -> None:
        self._run = run
        self._clean = clean
        self._results: Results | None = None
        self._open: dict[tuple[str, str | None], _Test] = {}
        self._waiting: list[TestResult] = []
        self.trouble: list[str] = []
        self._kinds: set[str] = set()
        self._collected: set[str] = set()
        self._ended: set[str] = set()

    @property
    def kind(self) -> str:
        """What the boards that were used are made of."""
        return MIXED if len(self._kinds) > 1 else next(iter(self._kinds), UNKNOWN)

    @property
    def all_ended(self) -> bool:
        """Whether each test that was collected came to its end, on the rig or not."""
        return self._collected <= self._ended

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the tests that are to run."""
        self._collected |= {item.nodeid for item in session.items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """The same, of a worker."""
        self._collected |= set(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one report."""
        said = word(report)
        self._kinds |= {str(dict(report.user_properties).get(RIG_KIND, UNKNOWN))} - {UNKNOWN}
        key = report.nodeid, _worker(report)
        test = self._open.setdefault(key, _Test(getattr(report, "start", 0.0)))
        test.take(report, said)
        if report.when in ("setup", "call"):
            return
        del self._open[key]
        self._ended.add(report.nodeid)
        self._keep(test)

    def _keep(self, test: _Test) -> None:
        if test.word is not None:
            self._waiting.append(test.result(test.word, self._clean))
            self.write()

    def write(self) -> None:
        """Append the lines of the tests that ended to results.jsonl, once there is a run."""
        folder = self._run()
        if not self._waiting or folder is None or not (folder / RUN).exists():
            return
        waiting, self._waiting = self._waiting, []
        try:
            self._results = self._results or Results(folder)
            self._results.add(waiting)
        except OSError as error:
            self.trouble.append(f"{folder / RESULTS} is not whole: {error.strerror}")
        except EvidenceError as error:
            self.trouble.append(f"{folder / RESULTS} is not whole: {error}")

    def end(self) -> None:
        """Write what is left. A test that failed, and was stopped before its end, has failed."""
        for (name, _), test in self._open.items():
            if test.word in BAD:
                self._ended.add(name)
                self._keep(test)
        self.write()

    def counts(self) -> Counter[str]:
        """Tests by what they came to."""
        return counted(self._results.told if self._results else ())

    def told(self) -> dict[str, Any]:
        """What run.json holds of them beside the counts."""
        results = {"results": self._results.end()} if self._results else {}
        return {"collected": len(self._collected), "ended": len(self._ended), **results}
