"""What counts as a caught bug, and how the table says it."""

from __future__ import annotations

import pytest

from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.firmware.bugs import BUGS, Bug
from pytest_blynk_ota.mutants.matrix import (
    Cell,
    cover,
    false_alarms,
    line_of,
    matrix,
    shard,
    summary,
)

BUG = Bug("Z2", "written never compared", ("D12", "D20"), "got UPGRADED")


def came(word: str, *scenarios: str, message: str | None = None) -> TestResult:
    return TestResult(
        id="t.py::t", folder=None, word=word, seconds=1.0, message=message, scenarios=scenarios
    )


@pytest.mark.parametrize(
    ("result", "cell"),
    [
        (came("firmware", "D12", message="expected X, got UPGRADED"), Cell.CAUGHT),
        (came("firmware", "D12a", message="expected X, got UPGRADED"), Cell.CAUGHT),
        (came("firmware", "D12", message="expected X, got OFFLINE"), Cell.OTHER),
        (came("passed", "D12"), Cell.PASSED),
        (came("rig", "D12", message="got UPGRADED"), Cell.RACK),
        (came("error", "D12", message="got UPGRADED"), Cell.RACK),
        (came("skipped", "D12"), Cell.NOT_RUN),
        (came("firmware", "D1", message="got UPGRADED"), Cell.NOT_RUN),
    ],
)
def test_only_a_failure_of_the_firmware_for_the_bugs_own_reason_catches_it(result, cell):
    line = line_of(BUG, [result], BUG.caught_by)
    assert line.cells == {"D12": cell, "D20": Cell.NOT_RUN}
    assert line.is_caught is (cell is Cell.CAUGHT)


def test_one_part_of_a_scenario_that_catches_it_is_enough():
    parts = [came("passed", "D20a"), came("firmware", "D20b", message="got UPGRADED")]
    assert line_of(BUG, parts, BUG.caught_by).cells["D20"] is Cell.CAUGHT


def test_an_error_of_the_rack_leaves_a_bug_undecided_unless_another_scenario_caught_it():
    rack, caught = came("rig", "D12"), came("firmware", "D20", message="got UPGRADED")
    assert not line_of(BUG, [rack], BUG.caught_by).is_decided
    assert line_of(BUG, [rack, caught], BUG.caught_by).is_decided


def test_a_cover_catches_every_bug_with_fewer_scenarios_than_bugs():
    few = set(cover())
    assert all(few & set(bug.caught_by) for bug in BUGS.values())
    assert len(few) <= 42 < len(BUGS)


def test_shards_share_the_bugs_out():
    bugs = list(BUGS.values())
    parts = [shard(bugs, part, 4) for part in (1, 2, 3, 4)]
    assert sorted(bug.id for part in parts for bug in part) == sorted(BUGS)


def test_the_table_has_a_column_for_each_scenario_and_says_what_the_signs_mean():
    other = Bug("Z3", "any status", ("D1",), "got UPGRADED")
    lines = [
        line_of(BUG, [came("firmware", "D12", message="got UPGRADED")], BUG.caught_by),
        line_of(other, [came("passed", "D1a")], other.caught_by),
    ]
    head, first, second, legend = matrix(lines)
    assert head.split() == ["D1", "D12", "D20"]
    assert first.split() == ["Z2", "X"]
    assert second.split() == ["Z3", "."]
    assert legend.startswith("X caught")
    assert summary(lines, []) == "1 of 2 bugs caught; not caught: Z3; 0 false alarms"


def test_a_false_alarm_is_a_failure_of_the_clean_firmware_and_nothing_else():
    results = [came("firmware", "D1"), came("rig", "D2"), came("passed", "D3")]
    assert [one.scenarios for one in false_alarms(results)] == [("D1",)]
