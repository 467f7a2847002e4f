"""The end of a run: what failed and by whose fault, what was skipped and why, and what to do next.

Pure: rows in, lines out. A group without a test is not there; a group is never longer than a
screen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_blynk_ota.evidence.results import WORST_FIRST
from pytest_blynk_ota.terminal.advice import advice
from pytest_blynk_ota.terminal.again import Start
from pytest_blynk_ota.terminal.rows import Row

MAX_TESTS = 5
"""Tests shown of a group; the others are counted."""
MAX_CHARS = 200
"""Of what a test says."""

Lines = Iterator[tuple[str, Mapping[str, bool]]]
"""Text, and how the terminal shows it."""
PLAIN: Mapping[str, bool] = {}
JUDGED = frozenset(("firmware", "rig", "error", "xpassed"))
"""Words of tests whose verdicts one may doubt."""
FAINT: Mapping[str, bool] = {"light": True}


@dataclass(frozen=True, slots=True)
class Group:
    """What tests have in common.

    Attributes:
        title: one test, many tests; ``{n}`` stands for their number.
        belongs: whether a test does.
        tell: what is said of each.
        markup: of the title.
    """

    one: str
    many: str
    belongs: Callable[[Row], bool]
    tell: Callable[[Sequence[Row], Start], Lines]
    markup: Mapping[str, bool] = field(default_factory=dict)


def _word(word: str) -> Callable[[Row], bool]:
    return lambda row: row.word == word


def _each(next_of: Callable[[Row, Start], Iterator[tuple[str, str]]]) -> Callable[..., Lines]:
    """Each test, what it said, and what one can do about it."""

    def tell(rows: Sequence[Row], start: Start) -> Lines:
        for row in rows[:MAX_TESTS]:
            boards = f" on {', '.join(row.boards)}" if row.boards else ""
            yield f"  {row.id}{boards}", PLAIN
            if row.message:
                yield f"    {_cut(row.message)}", PLAIN
            for name, text in next_of(row, start):
                yield f"    {name:<9} {text}", FAINT
        if more := len(rows) - MAX_TESTS:
            yield from _more(more)

    return tell


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"


def _more(count: int) -> Lines:
    if count > 0:
        yield f"  … and {count} more: report.html of the run has them all", PLAIN


def _ways_on(row: Row, start: Start) -> Iterator[tuple[str, str]]:
    if row.evidence:
        yield "evidence", start.near(Path(row.evidence))
    if row.rerun:
        yield "run again", row.rerun


def _rack(row: Row, start: Start) -> Iterator[tuple[str, str]]:
    yield "try", advice(row.error)
    yield from _ways_on(row, start)


def _nothing(row: Row, start: Start) -> Iterator[tuple[str, str]]:
    yield from ()


def _reasons(rows: Sequence[Row], start: Start) -> Lines:
    """Why tests were skipped, the most frequent reason first."""
    found = Counter(row.message for row in rows).most_common()
    for reason, count in found[:MAX_TESTS]:
        yield f"  {count} × {_cut(reason)}", PLAIN
    if more := sum(count for _, count in found[MAX_TESTS:]):
        yield from _more(more)


GROUPS: Sequence[Group] = (
    Group(
        "1 firmware failure",
        "{n} firmware failures",
        _word("firmware"),
        _each(_ways_on),
        {"red": True, "bold": True},
    ),
    Group(
        "1 error of the rack: it says nothing about the firmware",
        "{n} errors of the rack: they say nothing about the firmware",
        _word("rig"),
        _each(_rack),
        {"yellow": True, "bold": True},
    ),
    Group(
        "1 mistake in a test: what it asks for cannot be done, or is written wrongly",
        "{n} mistakes in tests: what they ask for cannot be done, or is written wrongly",
        lambda row: row.word == "error" and bool(row.error),
        _each(_ways_on),
        {"yellow": True, "bold": True},
    ),
    Group(
        "1 test that broke off outside of its own steps",
        "{n} tests that broke off outside of their own steps",
        lambda row: row.word == "error" and not row.error,
        _each(_ways_on),
        {"yellow": True, "bold": True},
    ),
    Group(
        "1 test passed, though marked as one that fails",
        "{n} tests passed, though marked as ones that fail",
        _word("xpassed"),
        _each(_nothing),
        {"yellow": True},
    ),
    Group("1 failed as expected", "{n} failed as expected", _word("xfailed"), _each(_nothing)),
    Group(
        "1 passed only when tried again",
        "{n} passed only when tried again",
        lambda row: row.word == "passed" and row.tries > 0,
        _each(_nothing),
        {"yellow": True},
    ),
    Group("1 skipped", "{n} skipped", _word("skipped"), _reasons),
)
"""In the order in which they matter."""


def summary(rows: Sequence[Row], start: Start, folder: Path, rig: str) -> Lines:
    """The groups that have a test, and the commands that look at all of them.

    Args:
        rows: the tests on the rig.
        start: how the run was started.
        folder: of the run.
        rig: as the user named it.
    """
    for group in GROUPS:
        if mine := [row for row in rows if group.belongs(row)]:
            yield (group.one if len(mine) == 1 else group.many.format(n=len(mine))), group.markup
            yield from group.tell(mine, start)
    words = {row.word for row in rows if row.evidence}
    if "rig" in words:
        yield f"check the rig file: {start.command('rig', 'check', rig)}", PLAIN
    if words & JUDGED:
        yield f"judge all again: {start.command('judge', start.near(folder))}", PLAIN


def counts(rows: Sequence[Row]) -> str:
    """How many came to what, the worst first."""
    found = Counter(row.word for row in rows)
    return ", ".join(f"{found[word]} {word}" for word in WORST_FIRST if found[word])


def last_line(rows: Sequence[Row], folder: str, *, complete: bool) -> str:
    """One line: what came out, and where the evidence is."""
    stopped = "" if complete else "stopped early; "
    nothing = "no test ran on the rig" if complete else "no test on the rig came to its end"
    came = counts(rows) or nothing
    return f"blynk-ota: {stopped}{came}; evidence in {folder}"
