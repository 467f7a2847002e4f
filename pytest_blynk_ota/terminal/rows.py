"""What each test on the rig came to, out of the reports, in the process that all of them reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from pytest_blynk_ota import runs
from pytest_blynk_ota.evidence.results import WORST_FIRST
from pytest_blynk_ota.runs import PREFIX, RERUN, RIG_ERROR, USAGE_ERROR, word

NO_REASON = "no reason given"
CRASHED = "???"
"""The phase that pytest-xdist gives the report of a worker that died."""


@dataclass(frozen=True, slots=True)
class Row:
    """One test.

    Attributes:
        id: pytest's.
        word: what it came to: one of ``WORST_FIRST``.
        message: the first line of what failed, or why it was skipped; "" for one that passed.
        error: the class of a rack's or a user's error; "" for none.
        boards: it ran on.
        outcomes: of its operations, in order.
        air: what Blynk.Air would show of each.
        reasons: the first of each.
        evidence: its folder; "" for none.
        rerun: the command that runs it again; "" if not known.
        seconds: wall seconds it took.
        tries: how often it was tried before, by a plugin that does so.
        versions: of Old and of New; empty where not known.
    """

    id: str
    word: str = "passed"
    message: str = ""
    error: str = ""
    boards: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    air: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    evidence: str = ""
    rerun: str = ""
    seconds: float = 0.0
    tries: int = 0
    versions: tuple[str, ...] = ()


@dataclass(eq=False)  # pytest puts plugins into sets
class Rows:
    """A pytest plugin: takes reports, gives rows."""

    _rows: dict[str, Row] = field(default_factory=dict)
    _tried: dict[str, int] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        """The tests on the rig, in the order in which they came to something."""
        return iter(self._rows.values())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one report."""
        seconds = self._seconds.get(report.nodeid, 0.0) + report.duration
        self._seconds[report.nodeid] = seconds
        if str(report.outcome) == "rerun":  # pytest-rerunfailures: the try that counts is another
            self._tried[report.nodeid] = self._tried.get(report.nodeid, 0) + 1
            self._rows.pop(report.nodeid, None)
            return
        said = word(report)
        before = self._rows.get(report.nodeid)
        if said is None and before is None:
            return
        row = before or Row(
            report.nodeid, said or "passed", tries=self._tried.get(report.nodeid, 0)
        )
        row = _with_properties(row, report)
        if said and WORST_FIRST.index(said) <= WORST_FIRST.index(row.word):
            row = replace(row, word=said, message=message(report) or row.message)
        self._rows[report.nodeid] = replace(row, seconds=seconds)


def _with_properties(row: Row, report: pytest.TestReport) -> Row:
    """The row with what the test says of itself."""
    pairs = report.user_properties

    def every(name: str) -> tuple[str, ...]:
        return tuple(str(value) for key, value in pairs if key == PREFIX + name)

    told = {str(key): str(value) for key, value in pairs}
    return replace(
        row,
        error=told.get(RIG_ERROR) or told.get(USAGE_ERROR) or "",
        boards=tuple(dict.fromkeys(every("board"))),
        outcomes=every("outcome"),
        air=every("air_status"),
        reasons=every("reason"),
        evidence=told.get(PREFIX + "evidence", ""),
        rerun=told.get(RERUN, ""),
        versions=every("old_version")[:1] + every("new_version")[:1],
    )


def message(report: pytest.TestReport) -> str:
    """The first line of what a report has to say; "" if nothing."""
    said = first_line(runs.words_of(report))
    return said or NO_REASON if report.skipped and not hasattr(report, "wasxfail") else said


def first_line(text: str) -> str:
    """The first line that says something, without what Python puts before an assert's words."""
    line = runs.first_line(text)
    for prefix in ("AssertionError: ", "Failed: ", "assert expected ", "pytest_blynk_ota.errors."):
        if line.startswith(prefix):
            line = line.removeprefix(prefix.removesuffix("expected "))
    return "".join(char if char.isprintable() else "�" for char in line)
