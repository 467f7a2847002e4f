"""Bugs against scenarios: what each run of the suite came to. Pure: results in, words out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.firmware.bugs import BUGS, Bug


class Cell(StrEnum):
    """What a scenario made of a bug."""

    CAUGHT = "caught"
    OTHER = "other reason"
    PASSED = "passed"
    RACK = "rack"
    NOT_RUN = "not run"


BEST_FIRST = (Cell.CAUGHT, Cell.OTHER, Cell.RACK, Cell.PASSED, Cell.NOT_RUN)
"""Of several tests of one scenario the first of these counts."""
PASSED = ("passed", "xfailed")
FAILED = "firmware"
SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Line:
    """What the suite made of one bug.

    Attributes:
        cells: of each scenario that ran, by its id without a letter.
    """

    bug: Bug
    cells: Mapping[str, Cell]

    @property
    def is_caught(self) -> bool:
        """Whether a scenario failed, and for the reason that the bug gives it."""
        return Cell.CAUGHT in self.cells.values()

    @property
    def is_decided(self) -> bool:
        """Whether the rack let the suite say so: an error of the rack catches no bug."""
        return self.is_caught or Cell.RACK not in self.cells.values()


def line_of(bug: Bug, results: Iterable[TestResult], asked: Iterable[str]) -> Line:
    """The cells of a bug, from the results of its run.

    Args:
        asked: ids of the scenarios that were to run.
    """
    cells = dict.fromkeys(asked, Cell.NOT_RUN)
    for result in results:
        came = _cell(bug, result)
        for id in {whole(one) for one in result.scenarios} & cells.keys():
            cells[id] = min(cells[id], came, key=BEST_FIRST.index)
    return Line(bug, cells)


def _cell(bug: Bug, result: TestResult) -> Cell:
    if result.word == FAILED:
        text = f"{result.message}\n{result.text}"
        return Cell.CAUGHT if re.search(bug.shows, text) else Cell.OTHER
    if result.word in PASSED:
        return Cell.PASSED
    return Cell.NOT_RUN if result.word == SKIPPED else Cell.RACK


def false_alarms(results: Iterable[TestResult]) -> list[TestResult]:
    """Tests that blame a firmware in which no bug is planted."""
    return [result for result in results if result.word == FAILED]


def cover(bugs: Iterable[Bug] = BUGS.values()) -> list[str]:
    """Few scenarios that together catch all of these bugs: each time the one that catches most."""
    left, chosen = list(bugs), []
    while left:
        ids = dict.fromkeys(id for bug in left for id in bug.caught_by)
        best = max(ids, key=lambda id: sum(id in bug.caught_by for bug in left))
        chosen.append(best)
        left = [bug for bug in left if best not in bug.caught_by]
    return chosen


def whole(scenario: str) -> str:
    """The id of a scenario without the letter of its part: D22b is of D22."""
    return scenario.rstrip("abcdefghijklmnopqrstuvwxyz")


def shard(bugs: Sequence[Bug], part: int, parts: int) -> Sequence[Bug]:
    """Every ``parts``-th bug, beginning with the ``part``-th, from 1 on."""
    return bugs[part - 1 :: parts]


SIGNS: Mapping[Cell, str] = {
    Cell.CAUGHT: "X",
    Cell.OTHER: "?",
    Cell.RACK: "!",
    Cell.PASSED: ".",
    Cell.NOT_RUN: " ",
}
LEGEND = "X caught, ? failed for another reason, . passed, ! rack error, blank: did not run"


def matrix(lines: Sequence[Line]) -> Iterator[str]:
    """The table bug × scenario, with a legend; wide where many scenarios ran."""
    ids = sorted({id for line in lines for id in line.cells}, key=_order)
    yield " " * 5 + " ".join(f"{id:>3}" for id in ids)
    for line in lines:
        signs = " ".join(f"{SIGNS[line.cells[id]] if id in line.cells else '':>3}" for id in ids)
        yield f"{line.bug.id:<5}{signs}".rstrip()
    yield LEGEND


def _order(id: str) -> tuple[str, int]:
    letters = id.rstrip("0123456789")
    return letters, int(id[len(letters) :])


def summary(lines: Sequence[Line], alarms: Collection[TestResult]) -> str:
    """One sentence for all of it."""
    caught = sum(line.is_caught for line in lines)
    text = f"{caught} of {len(lines)} bugs caught"
    undecided = [line.bug.id for line in lines if not line.is_decided]
    holes = [line.bug.id for line in lines if line.is_decided and not line.is_caught]
    if holes:
        text += f"; not caught: {', '.join(holes)}"
    if undecided:
        text += f"; the rack failed: {', '.join(undecided)}"
    return f"{text}; {len(alarms)} false alarm{'' if len(alarms) == 1 else 's'}"
