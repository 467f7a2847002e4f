"""Views of runs: what the page and the Markdown table show, worked out once. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.marks import Mark
from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.evidence.run import Run, StoredTest
from pytest_blynk_ota.report.columns import columns, pack
from pytest_blynk_ota.report.compare import Comparison, compare
from pytest_blynk_ota.report.fault import Fault, whose
from pytest_blynk_ota.report.story import Cited, Story, number, numbers
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
class CrashView:
    """A crash as the board told it.

    Attributes:
        lines: where it was, the innermost first: decoded where an ELF was given, else addresses.
        times: how many crashes of the test are told in the same words.
    """

    seq: int
    at: float
    text: str
    facts: str
    lines: tuple[str, ...]
    times: int


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
    started: str
    finished: str
    command: str
    firmware: tuple[Mapping[str, str], ...]
    unused: str
    tools: tuple[tuple[str, str], ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TestView:
    """One test of one run."""

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
    if fault:
        cited.update(fault.events)
        cited.update(() if fault.decided is None else (fault.decided,))
    payload, form = pack(columns(story.events, story.speed, cited), plain=plain)
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
        fault_events=story.cite(fault.events) if fault else (),
        crashes=_crashes(story),
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
        reasons=tuple(_sentence(row, story) for row in _rows(verdict.get("reasons"))),
        findings=tuple(
            sorted(
                (_finding(row, story) for row in _rows(verdict.get("findings"))),
                key=lambda one: SEVERITIES.index(one.severity),
            )
        ),
        downloads=tuple(_download(row) for row in _rows(verdict.get("downloads"))),
    )


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


CRASH_FACTS = {
    # key of a crash event: how it is said
    "core": "core {}",
    "pc": "PC {}",
    "address": "address {}",
    "task": "task {}",
    "reason": "{}",
    "error_name": "{}",
    "elf": "decoded with {}",
}
MAX_CRASHES = 6
MAX_FRAMES = 32


def _crashes(story: Story) -> tuple[CrashView, ...]:
    """The crashes of a test; those told in the same words are one."""
    found: dict[tuple[str, str, tuple[str, ...]], list[Event]] = {}
    for event in story.of("uart", "crash"):
        found.setdefault(_crash(event), []).append(event)
    return tuple(
        CrashView(events[0].seq, story.at(events[0]), text, facts, lines, len(events))
        for (text, facts, lines), events in list(found.items())[:MAX_CRASHES]
    )


def _crash(event: Event) -> tuple[str, str, tuple[str, ...]]:
    """A crash's first line, what is known of it, and where it was."""
    data = event.data
    facts = [
        form.format(said(data[key], 200))
        for key, form in CRASH_FACTS.items()
        if data.get(key) not in (None, "")
    ]
    frames = data.get("decoded") or data.get("backtrace")
    lines = [said(one, 400) for one in frames] if isinstance(frames, list) else []
    return said(data.get("text"), 400), ", ".join(facts), tuple(lines[:MAX_FRAMES])


def _list(value: Any, limit: int) -> str:
    return ", ".join(said(one, limit) for one in value) if isinstance(value, list) else ""


def _seconds(value: Any) -> str:
    amount = number(value)
    return "" if amount is None else f"{amount:.1f}"


def _sentence(row: Mapping[str, Any], story: Story) -> Sentence:
    given = numbers(row.get("events"))
    cited = story.cite(given)
    return Sentence(sentence(row.get("text")), cited, len(given) - len(cited))


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
