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

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.bundle import EVENTS, Bundle, first_event, read_test
from pytest_blynk_ota.evidence.event import Event, shown
from pytest_blynk_ota.evidence.files import (
    Foreign,
    NoSuchFile,
    folders_in,
    is_folder,
    is_there,
    kind_of,
    read_bytes,
    read_json,
)
from pytest_blynk_ota.evidence.manifest import MANIFEST, Look, changes
from pytest_blynk_ota.evidence.marks import Flaw, Mark
from pytest_blynk_ota.evidence.results import RESULTS, WORST_FIRST, TestResult, result_of

RUN = "run.json"
RUN_SCHEMA = 2
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

    def events(self) -> Sequence[Event]:
        """Its events, read anew. Raises EvidenceError."""
        return self.read().events

    def verdicts(self) -> Sequence[Mapping[str, Any]]:
        """Its stored verdicts, one an operation; none if it was cut short. Raises EvidenceError."""
        return self.read().verdicts or ()


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
    def killed(self) -> bool:
        """Whether it ended without a word: what stands on the disk is all there is."""
        return "finished" not in self.data

    @property
    def id(self) -> str | None:
        """Told apart from any other run by it; None in a run of schema 1."""
        found = self.data.get("id")
        return found if isinstance(found, str) else None

    @property
    def words(self) -> Mapping[str, int]:
        """How many of its tests came to what, the worst first."""
        found = [test.word for test in self.tests]
        return {word: found.count(word) for word in WORST_FIRST if word in found}


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
            self.mark(name, Flaw.MISSING, "there is no such file")
        except Foreign as error:
            self.mark(name, Flaw.FOREIGN, _without(error, self.root / name))
        except EvidenceError as error:
            self.mark(name, Flaw.UNREADABLE, _without(error, self.root / name))
        return None


def read_run(folder: Path, *, check: bool = True, look: Look | None = None) -> Run:
    """Read the folder of a run.

    Args:
        folder: what pytest called its evidence.
        check: whether each file is compared with the manifest, which reads all of them.
        look: is shown each file that is as the manifest says, so that none is read twice.

    Raises:
        EvidenceError: it is no folder of a run, or of a version that is not known here.
    """
    _must_be_a_run(folder)
    reader = _Reader(folder)
    data = _run_data(reader)
    listed = data.get("schema", RUN_SCHEMA) >= RUN_SCHEMA
    results = _paired(folder, list(_results(reader))) if listed else []
    _must_agree(reader, data, results)
    if check and listed:
        _compare(reader, look, killed="finished" not in data)
    tests = [*_told(reader, results), *_untold(reader, results, data, listed)]
    marks = sorted({*reader.marks, *(mark for test in tests for mark in test.marks)})
    return Run(folder, data, tuple(tests), tuple(marks), listed)


def marks_of_test(run: Path, name: str) -> list[Mark]:
    """How the files of one test differ from the manifest of its run; none if there is none.

    Raises:
        EvidenceError: there is a manifest, and it cannot be read.
    """
    try:
        manifest = read_json(run / MANIFEST)
    except NoSuchFile:
        return []
    return list(changes(run, manifest, f"tests/{name}"))


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
    return any(is_there(test / EVENTS) for test in folders_in(folder / "tests"))


def _must_be_a_run(folder: Path) -> None:
    kind = kind_of(folder)
    if kind not in ("a folder", "a link"):  # the folder itself may be reached over a link
        raise EvidenceError(f"{folder}: is {kind or 'a file'}, expected the folder of a run")
    if not is_a_run(folder):
        raise EvidenceError(f"{folder}: holds no {RUN}, expected the folder of a run")


RESULT_WORDS = ("ok", "incomplete", "rig", "firmware")
"""What a run may come to, the best first."""


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds


RUN_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "schema": ("a whole number from 1 on", lambda value: type(value) is int and value >= 1),
    "id": ("text", _is(str)),
    "rig": ("text", _is(str)),
    "rig_kind": ("text", _is(str)),
    "rig_file": ("text", _is(str)),
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
}
"""What a reader may rely on. A key of a later version is kept as it is."""


def _objects(value: Any) -> bool:
    return _all_in(value, dict)


def _all_in(value: Any, kind: type) -> bool:
    return type(value) is dict and all(type(one) is kind for one in value.values())


def _run_data(reader: _Reader) -> dict[str, Any]:
    """run.json with all that is not as it must be left out, and marked."""
    data = reader.json(RUN) or {}
    for name, (expected, good) in RUN_FIELDS.items():
        if name in data and not good(data[name]):
            reader.mark(RUN, Flaw.EDITED, f"{name}: expected {expected}, got {shown(data[name])}")
            del data[name]
    if data.get("schema", RUN_SCHEMA) > RUN_SCHEMA:
        raise EvidenceError(
            f"{reader.root / RUN}: schema {data['schema']}, known here are 1 to {RUN_SCHEMA}: "
            f"read it with a newer pytest-blynk-ota"
        )
    return data


def _results(reader: _Reader) -> Iterator[TestResult]:
    """The lines of results.jsonl; one that is none is marked and passed over."""
    path = reader.root / RESULTS
    try:
        data = read_bytes(path)
    except NoSuchFile:
        if any(folders_in(reader.root / "tests")):
            reader.mark(RESULTS, Flaw.MISSING, "no test of the run is on record as ended")
        return
    except EvidenceError as error:
        reader.mark(RESULTS, Flaw.UNREADABLE, _without(error, path))
        return
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield TestResult.from_json(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            torn = number == len(lines)
            what = "it ends in half a line" if torn else f"line {number}: {error}"
            reader.mark(RESULTS, Flaw.CUT if torn else Flaw.EDITED, what)


def _must_agree(reader: _Reader, data: Mapping[str, Any], results: Sequence[TestResult]) -> None:
    """Mark a run that says it came to less than one of its tests did, whatever the manifest says:
    each of the two is believed alone, by an exit code here and by a reader of the page there."""
    said = data.get("result")
    came = result_of(Counter(result.word for result in results), True)
    if said is not None and RESULT_WORDS.index(said) < RESULT_WORDS.index(came):
        what = f"result: it says {said}, but the tests in {RESULTS} came to {came}"
        reader.mark(RUN, Flaw.EDITED, what)


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


def _compare(reader: _Reader, look: Look | None, *, killed: bool) -> None:
    """Compare all files with the manifest. A killed run has none, and only that can be said."""
    if killed and not (reader.root / MANIFEST).exists():
        reader.mark(
            RUN,
            Flaw.CUT,
            "the run did not come to its end, so nothing says whether its files are as written",
        )
        return
    manifest = reader.json(MANIFEST)
    if manifest is None:
        return
    try:
        reader.marks += changes(reader.root, manifest, look=look)
    except EvidenceError as error:
        reader.mark(MANIFEST, Flaw.EDITED, str(error))


def _told(reader: _Reader, results: Iterable[TestResult]) -> Iterator[StoredTest]:
    """The tests that have a line."""
    for result in results:
        folder = reader.root / result.folder if result.folder else None
        marks = [mark for mark in reader.marks if folder and _lies_in(mark, result.folder)]
        if folder is not None and not is_folder(folder):
            marks.append(Mark(str(result.folder), Flaw.MISSING, f"the evidence of {result.id}"))
            folder = None
        elif folder is not None and (stranger := _of_another_test(folder, result.id)):
            marks.append(Mark(f"{result.folder}/events.jsonl", Flaw.FOREIGN, stranger))
        yield StoredTest(reader.root, result, result.id, folder, tuple(marks))


def _untold(
    reader: _Reader, results: Iterable[TestResult], data: Mapping[str, Any], listed: bool
) -> Iterator[StoredTest]:
    """The tests that have a folder and no line: those that ran when the run was cut short."""
    known = {result.folder for result in results}
    for folder in folders_in(reader.root / "tests"):
        name = f"tests/{folder.name}"
        if name in known:
            continue
        marks = [mark for mark in reader.marks if _lies_in(mark, name)]
        running = listed and data.get("complete") is not True
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


def _id_of(folder: Path) -> str | None:
    event = first_event(folder)
    said = event.data.get("id") if event and (event.source, event.kind) == TEST_STARTED else None
    return said if isinstance(said, str) else None


TEST_STARTED = ("test", "started")


def _of_another_test(folder: Path, test_id: str) -> str:
    said = _id_of(folder)
    return (
        f"its events are those of {said}, not of {test_id}" if said not in (None, test_id) else ""
    )


def _without(error: Exception, path: Path) -> str:
    """An error's words without the path that a mark names itself."""
    return str(error).removeprefix(f"{path}: ")
