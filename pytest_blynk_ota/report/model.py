"""Views of runs: what the page and the Markdown table show, worked out once. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pytest_blynk_ota.evidence.marks import Mark
from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.evidence.run import Run, StoredTest
from pytest_blynk_ota.report.columns import columns, pack
from pytest_blynk_ota.report.compare import Comparison, compare
from pytest_blynk_ota.report.crashes import CrashView, crashes_of
from pytest_blynk_ota.report.fault import Fault, whose
from pytest_blynk_ota.report.spans import cut_short
from pytest_blynk_ota.report.story import MAX_CITED, Cited, Story, number, numbers, rows_of
from pytest_blynk_ota.report.visible import count, line, said, sentence, visible

UNKNOWN = "unknown"
WORDS: dict[str, tuple[str, str]] = {
    # In the order of the page: what a reader has to act on comes first.
    "firmware": ("firmware", "Firmware failures"),
    "rig": ("rack", "Rack errors (not the firmware's fault)"),
    "error": ("error", "Errors of the test itself"),
    "xpassed": ("xpassed", "Passed though expected to fail"),
    UNKNOWN: ("unknown", "Not known"),
    "passed": ("passed", "Passed"),
    "xfailed": ("xfailed", "Failed as expected"),
    "skipped": ("skipped", "Skipped"),
}
"""Word of a result: how a chip says it, and the heading of its group."""
SEVERITIES = ("error", "warn", "info")
MAX_TEXT_CHARS = 20_000
LAST_LINES = 12
TOOLS_SHOWN = 20
MAX_MARKS = 50
"""So many flaws of a run are named; the number tells of the others."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A reason or finding: text, and the events that it rests on."""

    text: str
    events: tuple[Cited, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding beside the outcome."""

    name: str
    severity: str
    sentence: Sentence


@dataclass(frozen=True, slots=True)
class OperationView:
    """One operation as judged."""

    number: str
    name: str
    outcome: str
    air: str
    partial: bool
    running: str
    versions: str
    boots: str
    seconds: str
    at: float | None
    reasons: tuple[Sentence, ...]
    findings: tuple[FindingView, ...]
    downloads: tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class RunView:
    """The head of one run."""

    name: str
    path: str
    rig: str
    kind: str
    file: str
    complete: bool
    whole: bool
    result: str
    ended: str
    started: str
    finished: str
    command: str
    firmware: tuple[Mapping[str, str], ...]
    unused: str
    tools: tuple[tuple[str, str], ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TestView:
    """One test of one run.

    Attributes:
        opens: the event at which its log opens; None where nothing decided its verdict.
    """

    __test__ = False

    key: str
    run: int
    id: str
    file: str
    name: str
    word: str
    outcomes: str
    air: str
    boards: str
    seconds: float | None
    device_seconds: float
    speed: float
    started: str
    worker: str
    message: str
    text: str
    rerun: str
    folder: str
    operations: tuple[OperationView, ...]
    fault: Fault | None
    fault_events: tuple[Cited, ...]
    opens: int | None
    crashes: tuple[CrashView, ...]
    comparison: Comparison | None
    no_comparison: str
    marks: tuple[str, ...]
    flawed: bool
    events: int
    last_lines: tuple[str, ...]
    payload: str
    payload_form: str

    @property
    def outcomes_short(self) -> str:
        """The outcomes in order; of several alike that follow each other one, and how many."""
        rows = groupby(one.outcome for one in self.operations if one.outcome)
        counted = ((outcome, len(list(alike))) for outcome, alike in rows)
        return ", ".join(f"{name} × {many}" if many > 1 else name for name, many in counted)

    @property
    def but(self) -> str:
        """Why a test is red though its outcome is the one that it wanted."""
        return f"finding: {self.fault.finding}" if self.fault and self.fault.finding else ""

    @property
    def also(self) -> str:
        """The message, unless the line on whose fault it is says the same."""
        told = sentence(self.message.removeprefix("assert "))
        return "" if self.fault is None or told in self.fault.line else self.message


@dataclass(frozen=True, slots=True)
class Page:
    """All that a report shows."""

    title: str
    runs: tuple[RunView, ...]
    tests: tuple[TestView, ...]
    counts: tuple[tuple[str, int], ...]
    marks: tuple[str, ...]

    @property
    def red(self) -> int:
        """How many tests came out badly."""
        counts = dict(self.counts)
        return sum(counts.get(word, 0) for word in ("firmware", "rig", "error"))

    @property
    def headline(self) -> str:
        """How many tests are red."""
        many = len(self.tests)
        if not many:
            return "No test left evidence"
        if many == 1:
            return "The only test is red" if self.red else "The only test is not red"
        if not self.red:
            return f"None of the {many} tests is red"
        if self.red == many:
            return f"All {many} tests are red"
        return f"{self.red} of the {many} tests {'is' if self.red == 1 else 'are'} red"

    @property
    def speeds(self) -> tuple[float, ...]:
        """How fast the devices ran beside the wall clock, each speed once."""
        return tuple(sorted({test.speed for test in self.tests if test.events}))

    @property
    def comparable(self) -> bool:
        """Whether any test has a good run to stand beside."""
        return any(test.comparison for test in self.tests)


Good = tuple[str, StoredTest]
"""The name of an earlier run and the test in it that passed."""


def build(
    runs: Sequence[Run],
    good: Callable[[StoredTest], Good | None] = lambda test: None,
    *,
    plain: bool = False,
    notes: Sequence[str] = (),
) -> Page:
    """The page of these runs.

    Args:
        runs: as read, in the order given.
        good: finds the last good run of a test.
        notes: what else is to be said at the top.
        plain: leave the events unpacked, for browsers that cannot unpack.
    """
    pairs = [(index, test) for index, run in enumerate(runs) for test in run.tests]
    order = list(WORDS)
    pairs.sort(key=lambda pair: order.index(_word(pair[1])))
    same = Counter(test.id for _, test in pairs)
    tests = tuple(
        _test(f"t{place}", index, test, same[test.id], good, plain=plain)
        for place, (index, test) in enumerate(pairs)
    )
    counts = Counter(test.word for test in tests)
    views = tuple(
        _run(run, [test.boards for test in tests if test.run == index])
        for index, run in enumerate(runs)
    )
    marks = [
        f"{run.name}: {mark}" if len(runs) > 1 else mark for run in views for mark in run.marks
    ]
    return Page(
        _title(views),
        views,
        tests,
        tuple((word, counts[word]) for word in order if counts[word]),
        (*notes, *marks),
    )


def _title(runs: Sequence[RunView]) -> str:
    rigs = ", ".join(dict.fromkeys(run.rig for run in runs if run.rig)) or "evidence"
    return f"{rigs}: {runs[0].started}" if len(runs) == 1 else f"{rigs}: {len(runs)} runs"


def _word(test: StoredTest) -> str:
    return test.word or UNKNOWN


def _run(run: Run, boards: Sequence[str]) -> RunView:
    """The head of a run.

    Args:
        run: as read.
        boards: what its tests ran on; where none says it, all boards are shown.
    """
    head = run.data
    images = head.get("firmware", {})
    unused = [name for name in images if any(boards) and not _stands_in(said(name, 60), boards)]
    words = [said(word) for word in head.get("command", ())]
    return RunView(
        name=line(run.name, 100),
        path=line(str(run.folder), 400),
        rig=line(run.rig, 80),
        kind=said(head.get("rig_kind"), 40),
        file=said(head.get("rig_file"), 400),
        complete=run.complete,
        whole=run.whole,
        result=said(head.get("result"), 40),
        ended=_ended(head.get("result"), complete=run.complete),
        started=line(run.started, 40),
        finished=said(head.get("finished"), 40),
        command=line(shlex.join(words), 2000),
        firmware=_firmware({name: images[name] for name in images if name not in unused}),
        unused=", ".join(said(name, 60) for name in unused),
        tools=tuple(
            (said(name, 60), said(version, 60))
            for name, version in list(head.get("tools", {}).items())[:TOOLS_SHOWN]
        ),
        marks=tuple(line(mark) for mark in _marks(run)),
    )


ENDS = {
    # as run.json has it: as the page says it
    "ok": "nothing failed",
    "firmware": "the firmware failed",
    "rig": "the rack failed",
    "incomplete": "its evidence is not whole",
}


def _ended(result: Any, *, complete: bool) -> str:
    """What a run came to, in words."""
    how = "it came to its end" if complete else "it did not come to its end"
    return f"{how}; {ENDS.get(said(result, 40), 'what it came to is not known')}"


def _marks(run: Run) -> Iterator[str]:
    """What is wrong with a run; what is wrong with a test of it stands there."""
    if not run.complete and run.data:
        yield "the run is not complete: it was stopped or killed, or still goes on"
    if not run.listed:
        yield f"a run of schema {run.schema} holds no word on what its tests came to"
    own = run.own_marks
    yield from map(str, own[:MAX_MARKS])
    if len(own) > MAX_MARKS:
        yield f"and {len(own) - MAX_MARKS:,} more"
    if files := len({mark.file for mark in run.marks}):
        as_were = count(files, "file is not as it was", "files are not as they were")
        yield f"{as_were} when the run ended"


def _stands_in(name: str, boards: Iterable[str]) -> bool:
    return any(f", {name}, " in f", {names}, " for names in boards)


def _firmware(data: Mapping[Any, Any]) -> tuple[Mapping[str, str], ...]:
    """A row for each board; boards with the same two images share one."""
    boards: dict[tuple[str, ...], list[str]] = {}
    names = ("version", "build", "sha256", "path")
    for board, images in data.items():
        cells = []
        for which in ("old", "new"):
            image = images.get(which)
            image = image if isinstance(image, Mapping) else {}
            cells += [said(image.get(name), 400) for name in names]
        boards.setdefault(tuple(cells), []).append(said(board, 60))
    return tuple(
        {
            "boards": ", ".join(found),
            **{f"old_{name}": cells[place] for place, name in enumerate(names)},
            **{f"new_{name}": cells[place + len(names)] for place, name in enumerate(names)},
        }
        for cells, found in boards.items()
    )


def _test(
    key: str,
    run: int,
    test: StoredTest,
    same: int,
    good: Callable[[StoredTest], Good | None],
    *,
    plain: bool,
) -> TestView:
    story, verdicts, marks = _seen(test)
    result = test.result or NO_RESULT
    message = said(result.message)
    operations = tuple(_operation(verdict, story) for verdict in verdicts)
    fault = whose(_word(test), message, story, verdicts)
    cited = {
        number
        for one in operations
        for sentence in (*one.reasons, *(finding.sentence for finding in one.findings))
        for number in (event.seq for event in sentence.events)
    }
    fault_events = story.cite(fault.events) if fault else ()
    cited.update(event.seq for event in fault_events)
    decided = fault.decided if fault else None
    cited.update(() if decided is None else (decided,))
    cut_off = cut_short(story.events) if _word(test) == "rig" else frozenset[int]()
    payload, form = pack(columns(story.events, story.speed, cited, cut_off), plain=plain)
    comparison, why_not = _comparison(test, story, verdicts, good)
    twice = [f"{same} results have this id: each is shown"] if same > 1 else []
    file, name = _names(test.id)
    return TestView(
        key=key,
        run=run,
        id=line(test.id, 500),
        file=file,
        name=name,
        word=_word(test),
        outcomes=", ".join(one.outcome for one in operations if one.outcome),
        air=", ".join(dict.fromkeys(one.air for one in operations if one.air)),
        boards=_boards(result.boards, story),
        seconds=test.result.seconds if test.result else None,
        device_seconds=story.seconds,
        speed=story.speed,
        started=said(result.started, 40),
        worker=said(result.worker, 20),
        message=message,
        text=_long(result.text or ""),
        rerun=said(result.rerun, 4000),
        folder=line(str(test.folder), 1000) if test.folder else "",
        operations=operations,
        fault=fault,
        fault_events=fault_events,
        opens=None if decided is None else story.first_line(decided),
        crashes=crashes_of(story, verdicts),
        comparison=comparison,
        no_comparison=why_not,
        marks=tuple(line(str(mark)) for mark in (*test.marks, *twice, *marks)),
        flawed=bool(test.marks or marks),
        events=len(story.events),
        last_lines=tuple(
            line(event.data["text"], 300)
            for event in list(story.of("uart", "line"))[-LAST_LINES:]
            if isinstance(event.data.get("text"), str)
        ),
        payload=payload,
        payload_form=form,
    )


NO_RESULT = TestResult(id="", folder=None, word=UNKNOWN, seconds=0.0)


def _seen(test: StoredTest) -> tuple[Story, Sequence[Mapping[str, Any]], Sequence[Mark]]:
    """What a test's evidence tells, its stored verdicts, and what is wrong with it."""
    bundle = test.look()
    if bundle is None:
        return Story(()), (), ()
    events = sorted(bundle.events, key=lambda event: event.t)
    return Story(events), bundle.verdicts or (), bundle.marks


def _long(text: str) -> str:
    """A failure's text with its lines; of a very long one the beginning and the end."""
    half = MAX_TEXT_CHARS // 2
    if len(text) > MAX_TEXT_CHARS:
        left = len(text) - MAX_TEXT_CHARS
        text = f"{text[:half]}\n… {left} characters left out …\n{text[-half:]}"
    return visible(text)


def _names(test_id: str) -> tuple[str, str]:
    """The file of a test and the rest of its id."""
    file, _, name = test_id.partition("::")
    return (line(file, 200), line(name, 300)) if name else ("", line(test_id, 300))


def _boards(given: Sequence[str], story: Story) -> str:
    if given:
        return ", ".join(said(board, 60) for board in given)
    return ", ".join(dict.fromkeys(line(event.board, 60) for event in story.events if event.board))


def _comparison(
    test: StoredTest,
    story: Story,
    verdicts: Sequence[Mapping[str, Any]],
    good: Callable[[StoredTest], Good | None],
) -> tuple[Comparison | None, str]:
    found = good(test) if story.events else None
    if found is None:
        return None, "No earlier good run of this test was found."
    run, source = found
    there, then, _ = _seen(source)
    if not there.events:
        return None, f"The evidence of the last good run ({line(run, 200)}) cannot be read."
    return compare(run, (story, verdicts), (there, then)), ""


def _operation(verdict: Mapping[str, Any], story: Story) -> OperationView:
    begin = story.operation(verdict.get("operation"))
    image, running = said(verdict.get("running_image"), 40), said(verdict.get("running"), 60)
    return OperationView(
        number=said(verdict.get("operation"), 12),
        name=said(begin.data.get("op"), 20) if begin else "operation",
        outcome=said(verdict.get("outcome"), 60),
        air=said(verdict.get("air_status"), 60),
        partial=verdict.get("partial") is True,
        running=f"{running or 'not known'}{f' ({image})' if image else ''}",
        versions=_list(verdict.get("versions"), 60) or "none",
        boots=said(verdict.get("boots"), 12),
        seconds=_seconds(verdict.get("seconds")),
        at=story.at(begin) if begin else None,
        reasons=tuple(_sentence(row, story) for row in rows_of(verdict.get("reasons"))),
        findings=tuple(
            sorted(
                (_finding(row, story) for row in rows_of(verdict.get("findings"))),
                key=lambda one: SEVERITIES.index(one.severity),
            )
        ),
        downloads=tuple(_download(row) for row in rows_of(verdict.get("downloads"))),
    )


def _list(value: Any, limit: int) -> str:
    return ", ".join(said(one, limit) for one in value) if isinstance(value, list) else ""


def _seconds(value: Any) -> str:
    amount = number(value)
    return "" if amount is None else f"{amount:.1f}"


def _sentence(row: Mapping[str, Any], story: Story) -> Sentence:
    given = numbers(row.get("events"))
    more = max(len(given) - MAX_CITED, 0)
    return Sentence(sentence(row.get("text")), story.cite(given), more)


def _finding(row: Mapping[str, Any], story: Story) -> FindingView:
    severity = row.get("severity")
    return FindingView(
        said(row.get("name"), 80),
        severity if isinstance(severity, str) and severity in SEVERITIES else "info",
        _sentence(row, story),
    )


def _download(row: Mapping[str, Any]) -> Mapping[str, str]:
    """The cells of a download's row."""
    acked, announced = number(row.get("acked")), number(row.get("announced"))
    seconds = number(row.get("seconds"))
    rate = acked / seconds / 1000 if acked and seconds and seconds > 0 else None
    return {
        "number": said(row.get("number"), 12),
        "offer": said(row.get("offer"), 20),
        "ended": said(row.get("ended"), 20),
        "status": said(row.get("status"), 12),
        "bytes": f"{acked or 0:,.0f}" + (f" of {announced:,.0f}" if announced is not None else ""),
        "seconds": _seconds(row.get("seconds")),
        "rate": "" if rate is None else f"{rate:.1f}",
        "fault": said(row.get("fault"), 200),
    }
