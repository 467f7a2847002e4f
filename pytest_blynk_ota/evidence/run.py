"""A stored run, read: ``read_run(folder)``. Bad evidence gets a mark, never a guess.

=============  =====================================================================
run.json       what was tested with what; whether the run came to its end
results.jsonl  what each test came to
manifest.json  the digest of each file, so that a change is noticed
tests/NAME     the evidence of one test: :mod:`pytest_blynk_ota.evidence.bundle`
=============  =====================================================================

Runs of schema 1 have neither results nor a manifest: their tests have no words.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence import chain
from pytest_blynk_ota.evidence.agree import RESULT_WORDS, RUN, Line, Said, disagreements, too_new
from pytest_blynk_ota.evidence.bundle import EVENTS, Bundle, first_event, look_at, read_test
from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.evidence.files import (
    NoSuchFile,
    flaw_of,
    folders_in,
    is_folder,
    is_there,
    kind_of,
    read_bytes,
    read_json,
)
from pytest_blynk_ota.evidence.manifest import (
    MANIFEST,
    RACK_LOGS,
    Look,
    changes,
    changes_of,
    files_of,
)
from pytest_blynk_ota.evidence.marks import Flaw, Mark
from pytest_blynk_ota.evidence.results import RESULTS, WORST_FIRST, TestResult

RUN_SCHEMA = 3
LISTED = 2
"""From this schema on a run has results and a manifest."""
MAX_DEPTH = 5
"""How deep below a folder its runs are looked for: artifact/job/.blynk-ota/runs/NAME."""


@dataclass(frozen=True, slots=True)
class StoredTest:
    """One test of a stored run.

    Attributes:
        run: the folder of its run.
        result: its line in ``results.jsonl``; None if there is none.
        id: pytest's node id.
        folder: its evidence; None if it has none, or none that can be read.
        marks: what is wrong with its files, as far as it shows without reading its events.
        running: it was running when the run was cut short.
    """

    run: Path
    result: TestResult | None
    id: str
    folder: Path | None
    marks: tuple[Mark, ...] = ()
    running: bool = False

    @property
    def word(self) -> str | None:
        """What it came to, a word of ``WORST_FIRST``; None where that is not on record."""
        return self.result.word if self.result else None

    @property
    def message(self) -> str | None:
        """First line of the failure, or why it was skipped."""
        return self.result.message if self.result else None

    def read(self) -> Bundle:
        """Its events, verdicts and what is wrong with them, read anew from the disk.

        Raises:
            EvidenceError: it has no evidence, or it cannot be read.
        """
        if self.folder is None:
            raise EvidenceError(f"{self.run}: {self.id}: it has no folder, so there is no evidence")
        return read_test(self.folder)

    def look(self) -> Bundle | None:
        """The same, to show what there is: what cannot be read is a mark. None without evidence."""
        return look_at(self.folder) if self.folder is not None else None


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run.

    Attributes:
        folder: where it is.
        data: what ``run.json`` holds, each known key of the right type or left out.
        tests: its tests in the order in which they ended, then those that did not.
        marks: what is wrong with its files, those of its tests included.
        listed: whether it says what its tests came to (a run of schema 1 does not).
    """

    folder: Path
    data: Mapping[str, Any]
    tests: tuple[StoredTest, ...]
    marks: tuple[Mark, ...] = ()
    listed: bool = True

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def schema(self) -> int:
        """The version of its format."""
        return int(self.data.get("schema", RUN_SCHEMA))

    @property
    def complete(self) -> bool:
        """Whether it came to its end: no kill, no Ctrl-C, no ``-x``."""
        return self.data.get("complete") is True

    @property
    def whole(self) -> bool:
        """Whether it came to its end and nothing is wrong with it, so that its result holds: a
        run that holds no word on any test has none."""
        return self.complete and not self.marks and bool(self.words)

    @property
    def killed(self) -> bool:
        """Whether it ended without a word: what stands on the disk is all there is."""
        return "finished" not in self.data

    @property
    def rig(self) -> str:
        """The rig's name; "" if it is not known."""
        return str(self.data.get("rig", ""))

    @property
    def started(self) -> str:
        """When it began, ISO 8601 in UTC; "" if that is not known."""
        return str(self.data.get("started", ""))

    @property
    def id(self) -> str | None:
        """Told apart from any other run by it; None in a run of schema 1."""
        found = self.data.get("id")
        return found if isinstance(found, str) else None

    @property
    def own_marks(self) -> Sequence[Mark]:
        """Those marks that belong to none of its tests."""
        told = {mark for test in self.tests for mark in test.marks}
        return [mark for mark in self.marks if mark not in told]

    @property
    def words(self) -> Mapping[str, int]:
        """How many of its tests came to what, the worst first."""
        found = [test.word for test in self.tests]
        return {word: found.count(word) for word in WORST_FIRST if word in found}


MISSING = {MANIFEST: "nothing says whether the files of the run are as they were written"}


@dataclass(slots=True)
class _Reader:
    """Gathers marks while a run is read."""

    root: Path
    marks: list[Mark] = field(default_factory=list)

    def mark(self, file: str, flaw: Flaw, text: str) -> None:
        self.marks.append(Mark(file, flaw, text))

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the run; None, with a mark, if it is not as it must be."""
        try:
            return read_json(self.root / name)
        except NoSuchFile:
            self.mark(name, Flaw.MISSING, MISSING.get(name, "there is no such file"))
        except EvidenceError as error:
            self.mark(name, flaw_of(error), _without(error, self.root / name))
        return None


def read_run(folder: Path, *, check: bool = True, look: Look | None = None) -> Run:
    """Read the folder of a run.

    Args:
        folder: what pytest called its evidence.
        check: whether each file is compared with the manifest, which reads all of them.
        look: is shown each file that is as the manifest says, so that none is read twice.

    Raises:
        EvidenceError: it is no folder of a run.
    """
    _must_be_a_run(folder)
    reader = _Reader(folder)
    data, said = _both(reader)
    listed = said.schema >= LISTED
    if said.data and said.schema <= RUN_SCHEMA:  # of a later one that mark is enough
        reader.marks += disagreements(said)
    results = _paired(folder, [line.result for line in said.lines]) if listed else []
    same = _compare(reader, look, killed="finished" not in data) if check and listed else {}
    if check and said.schema >= chain.SINCE and said.ended:
        _compare_logs(reader, data.get("logs"))
    of_tests = chain.of_tests(same)
    told = _told(reader, results, said, of_tests if check else None)
    tests = [*told, *_untold(reader, results, said)]
    if check and said.data:
        reader.marks += _too_new(reader, said, tests)
    marks = sorted({*reader.marks, *(mark for test in tests for mark in test.marks)})
    return Run(folder, data, tuple(tests), tuple(marks), listed)


@dataclass(frozen=True, slots=True)
class Results:
    """What a run came to, as its own two files say it; no evidence of a test was opened.

    Attributes:
        folder: where it is.
        data: what ``run.json`` holds, each known key of the right type or left out.
        results: the lines of ``results.jsonl``, in their order.
        marks: what is wrong with these files and the manifest.
        listed: whether it says what its tests came to (a run of schema 1 does not).
    """

    folder: Path
    data: Mapping[str, Any]
    results: tuple[TestResult, ...]
    marks: tuple[Mark, ...]
    listed: bool

    @property
    def ended(self) -> bool:
        """Whether it came to an end of its own: no kill, and it does not go on."""
        return "finished" in self.data


def read_results(folder: Path) -> Results:
    """What a run came to: cheap, for those who read thousands of runs.

    Raises:
        EvidenceError: it is no folder of a run, or of a version that is not known here.
    """
    _must_be_a_run(folder)
    reader = _Reader(folder)
    data, said = _both(reader)
    listed = said.schema >= LISTED
    if said.data and said.schema <= RUN_SCHEMA:  # of a later one that mark is enough
        reader.marks += disagreements(said)
    results = tuple(line.result for line in said.lines) if listed else ()
    if listed:
        _compare(reader, None, killed="finished" not in data, names=(RUN, RESULTS))
    return Results(folder, data, results, tuple(sorted(set(reader.marks))), listed)


def _both(reader: _Reader) -> tuple[dict[str, Any], Said]:
    """What is known in run.json, and what it and results.jsonl say."""
    raw = reader.json(RUN) or {}
    data = _known(reader, raw)
    schema = data.get("schema", RUN_SCHEMA)
    expected = schema >= LISTED or is_there(reader.root / RESULTS)
    return data, Said(raw, schema, list(_lines(reader)) if expected else [])


def _too_new(reader: _Reader, said: Said, tests: Sequence[StoredTest]) -> Iterator[Mark]:
    manifest, results = (is_there(reader.root / name) for name in (MANIFEST, RESULTS))
    bound = said.schema < RUN_SCHEMA and any(
        _started(test.folder).get("run") for test in tests if test.folder
    )
    yield from too_new(said, manifest=manifest, results=results, bound=bound)


def run_of_one(folder: Path) -> Run:
    """A test's folder by itself as a run of which nothing is known."""
    alone = Mark(RUN, Flaw.MISSING, "this is one test's folder: nothing is known of its run")
    test = StoredTest(folder, None, _id_of(folder) or folder.name, folder)
    return Run(folder, {}, (test,), (alone,))


def marks_of_test(run: Path, name: str) -> list[Mark]:
    """How the files of one test differ from what its run holds of them; none if that is nothing.

    Raises:
        EvidenceError: there is a manifest, and it cannot be read.
    """
    marks: list[Mark] = []
    with contextlib.suppress(NoSuchFile):
        marks += changes(run, read_json(run / MANIFEST), f"tests/{name}")
    _, said = _both(_Reader(run))
    for line in said.lines:
        if line.result.folder == f"tests/{name}":
            marks += _of_another(run / "tests" / name, line.result, said)
            if said.schema >= chain.SINCE and not marks:
                marks += _changed(run / "tests" / name, line.result)
    return marks


def find_runs(folder: Path) -> list[Path]:
    """The folders of runs in a folder of such, as CI leaves them; the folder itself if it is one.

    Links are not followed. Sorted by path.
    """
    return sorted(_runs_below(folder, MAX_DEPTH))


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if is_a_run(folder):
        yield folder
    elif depth:
        for inside in folders_in(folder):
            yield from _runs_below(inside, depth - 1)


def is_a_run(folder: Path) -> bool:
    """Whether a folder looks like one of a run, be it a damaged one."""
    if any(is_there(folder / name) for name in (RUN, RESULTS, MANIFEST)):
        return True
    return any(is_a_test(test) for test in folders_in(folder / "tests"))


def is_a_test(folder: Path) -> bool:
    """Whether a folder looks like one of a test."""
    return is_there(folder / EVENTS)


def _must_be_a_run(folder: Path) -> None:
    kind = kind_of(folder)
    if kind not in ("a folder", "a link"):  # the folder itself may be reached over a link
        raise EvidenceError(f"{folder}: is {kind or 'a file'}, expected the folder of a run")
    if not is_a_run(folder):
        raise EvidenceError(f"{folder}: holds no {RUN}, expected the folder of a run")


SHA256 = re.compile("[0-9a-f]{64}")


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds


RUN_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "schema": ("a whole number from 1 on", lambda value: type(value) is int and value >= 1),
    "id": ("text", _is(str)),
    "rig": ("text", _is(str)),
    "rig_kind": ("text", _is(str)),
    "rig_file": ("text", _is(str)),
    "rig_file_sha256": (
        "64 hexadecimal digits",
        lambda value: type(value) is str and SHA256.fullmatch(value) is not None,
    ),
    "firmware": (
        "an object: by board old and new",
        lambda value: _objects(value) and all(_objects(both) for both in value.values()),
    ),
    "tools": ("an object of texts", lambda value: _all_in(value, str)),
    "command": (
        "a list of texts",
        lambda value: type(value) is list and all(type(one) is str for one in value),
    ),
    "started": ("text", _is(str)),
    "finished": ("text", _is(str)),
    "complete": ("true or false", _is(bool)),
    "result": ("ok, firmware, rig or incomplete", lambda value: value in RESULT_WORDS),
    "counts": ("an object of whole numbers", lambda value: _all_in(value, int)),
    "results": ("an object: lines and last", _is(dict)),
    "collected": ("a whole number", _is(int)),
    "ended": ("a whole number", _is(int)),
    "logs": ("text", _is(str)),
    "digest": ("text", _is(str)),
}
"""What a reader may rely on. A key of a later version is kept as it is."""


def _objects(value: Any) -> bool:
    return _all_in(value, dict)


def _all_in(value: Any, kind: type) -> bool:
    return type(value) is dict and all(type(one) is kind for one in value.values())


def _known(reader: _Reader, raw: Mapping[str, Any]) -> dict[str, Any]:
    """run.json with all that is not as it must be left out, and marked."""
    data = dict(raw)
    for name, (expected, good) in RUN_FIELDS.items():
        if name in data and not good(data[name]):
            reader.mark(RUN, Flaw.EDITED, f"{name}: expected {expected}, got {shown(data[name])}")
            del data[name]
    if data.get("schema", RUN_SCHEMA) > RUN_SCHEMA:
        what = f"schema {data['schema']}, known here are 1 to {RUN_SCHEMA}"
        reader.mark(RUN, Flaw.FOREIGN, f"{what}: read it with a newer pytest-blynk-ota")
    return data


def _lines(reader: _Reader) -> Iterator[Line]:
    """The lines of results.jsonl; one that is none is marked and passed over."""
    path = reader.root / RESULTS
    try:
        data = read_bytes(path)
    except NoSuchFile:
        if any(folders_in(reader.root / "tests")):
            reader.mark(RESULTS, Flaw.MISSING, "no test of the run is on record as ended")
        return
    except EvidenceError as error:
        reader.mark(RESULTS, flaw_of(error), _without(error, path))
        return
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield Line(number, line, TestResult.from_json(line.decode("utf-8")))
        except (ValueError, RecursionError) as error:
            torn = number == len(lines)
            what = "it ends in half a line" if torn else f"line {number}: {error}"
            reader.mark(RESULTS, Flaw.CUT if torn else Flaw.EDITED, what)


def _paired(root: Path, results: Sequence[TestResult]) -> list[TestResult]:
    """The same; one without a folder, as a worker died of it, with the folder of its test."""
    known = {result.folder for result in results}
    lost = {result.id for result in results if result.folder is None and result.word == "error"}
    if not lost:
        return list(results)
    free = {
        _id_of(folder): f"tests/{folder.name}"
        for folder in folders_in(root / "tests")
        if f"tests/{folder.name}" not in known
    }
    return [
        replace(result, folder=free.pop(result.id))
        if result.id in lost and result.folder is None and result.id in free
        else result
        for result in results
    ]


def _compare(
    reader: _Reader, look: Look | None, *, killed: bool, names: Sequence[str] | None = None
) -> Mapping[str, Mapping[str, Any]]:
    """Compare files, all if none are named, with the manifest, and return what it holds. A killed
    run has none, and only that can be said."""
    if killed and not (reader.root / MANIFEST).exists():
        reader.mark(
            RUN,
            Flaw.CUT,
            "the run did not come to its end, so nothing says whether its files are as written",
        )
        return {}
    manifest = reader.json(MANIFEST)
    if manifest is None:
        return {}
    try:
        reader.marks += (
            changes(reader.root, manifest, look=look)
            if names is None
            else changes_of(reader.root, manifest, names)
        )
    except EvidenceError as error:
        reader.mark(MANIFEST, Flaw.EDITED, str(error).removeprefix(f"{MANIFEST}: "))
        return {}
    return files_of(manifest)


def _compare_logs(reader: _Reader, told: str | None) -> None:
    """Compare the logs of the virtual racks with the end of the run, where the manifest fits."""
    if any(fnmatch(mark.file, RACK_LOGS) for mark in reader.marks):
        return
    try:
        found = chain.of_logs(reader.root)
    except (OSError, EvidenceError) as error:
        reader.mark(RACK_LOGS, Flaw.UNREADABLE, str(error))
        return
    if found != told:
        reader.mark(RACK_LOGS, Flaw.EDITED, "they are not those with which the run ended")


def _told(
    reader: _Reader,
    results: Iterable[TestResult],
    said: Said,
    of_tests: Mapping[str, str] | None,
) -> Iterator[StoredTest]:
    """The tests that have a line.

    Args:
        of_tests: by folder the digest of its files, which were compared with the manifest; what is
            not there is read. None if no file is to be read.
    """
    taken: set[str] = set()
    for result in results:
        folder = reader.root / result.folder if result.folder else None
        marks = [mark for mark in reader.marks if folder and _lies_in(mark, result.folder)]
        if folder is not None and not is_folder(folder):
            marks.append(Mark(str(result.folder), Flaw.MISSING, f"the evidence of {result.id}"))
            folder = None
        elif folder is not None and result.folder in taken:
            marks.append(Mark(RESULTS, Flaw.EDITED, f"two lines name {result.folder}"))
        elif folder is not None and of_tests is not None:
            marks += _of_another(folder, result, said)
            if said.schema >= chain.SINCE and not marks:
                marks += _changed(folder, result, of_tests.get(str(result.folder)))
        taken.add(str(result.folder))
        yield StoredTest(reader.root, result, result.id, folder, tuple(marks))


def _changed(folder: Path, result: TestResult, known: str | None = None) -> Iterator[Mark]:
    """Whether the evidence is what it was when the test ended; its digest may be known."""
    try:
        found = known or chain.of_test(folder)
    except (OSError, EvidenceError) as error:
        yield Mark(str(result.folder), Flaw.UNREADABLE, str(error))
        return
    if result.evidence is None and result.word == "error":  # a worker that died told of none
        return
    if found != result.evidence:
        what = f"its files are not those with which {RESULTS} says that the test ended"
        yield Mark(str(result.folder), Flaw.EDITED, what)


def _untold(reader: _Reader, results: Iterable[TestResult], said: Said) -> Iterator[StoredTest]:
    """The tests that have a folder and no line: those that ran when the run was cut short."""
    known = {result.folder for result in results}
    listed = said.schema >= LISTED
    for folder in folders_in(reader.root / "tests"):
        name = f"tests/{folder.name}"
        if name in known:
            continue
        marks = [mark for mark in reader.marks if _lies_in(mark, name)]
        running = listed and said.data.get("complete") is not True
        if running:
            what = "the test was running when the run was cut short: it has no result"
            marks.append(Mark(name, Flaw.CUT, what))
        elif listed and not any(mark.flaw is Flaw.EXTRA for mark in marks):
            marks.append(Mark(name, Flaw.EXTRA, f"{RESULTS} knows no such test"))
        yield StoredTest(
            reader.root, None, _id_of(folder) or folder.name, folder, tuple(marks), running
        )


def _lies_in(mark: Mark, folder: str | None) -> bool:
    return folder is not None and mark.file.startswith(f"{folder}/")


def _started(folder: Path) -> Mapping[str, Any]:
    """What the first event of a test says: its id, and its run's; nothing if there is none."""
    event = first_event(folder)
    return event.data if event and (event.source, event.kind) == TEST_STARTED else {}


def _id_of(folder: Path) -> str | None:
    said = _started(folder).get("id")
    return said if isinstance(said, str) else None


TEST_STARTED = ("test", "started")


def _of_another(folder: Path, result: TestResult, said: Said) -> Iterator[Mark]:
    """Whether the events of a folder are those of its test, and of this run."""
    started = _started(folder)
    file = f"{result.folder}/{EVENTS}"
    if started.get("id", result.id) != result.id:
        what = f"its events are those of {started['id']}, not of {result.id}"
        yield Mark(file, Flaw.FOREIGN, what)
    elif started and said.schema >= chain.SINCE and started.get("run") != said.data.get("id"):
        of = started.get("run", "no run")
        yield Mark(
            file, Flaw.FOREIGN, f"its events are those of {of}, not of {said.data.get('id')}"
        )


def _without(error: Exception, path: Path) -> str:
    """An error's words without the path that a mark names itself."""
    return str(error).removeprefix(f"{path}: ")
