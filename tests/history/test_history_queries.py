"""What the history says is what counting by hand says."""

import sqlite3
from itertools import pairwise
from statistics import median

import pytest
from history_runs import LINES, NEW, NEWER, OLD, RESULTS, at, result_line, run_line
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.history import index as the_index
from pytest_blynk_ota.history import queries
from pytest_blynk_ota.history.line import ResultLine, seconds_of
from pytest_blynk_ota.history.queries import Filter


@pytest.fixture
def ask(write, opened):
    """Asks a history of these lines."""

    def ask(what, *lines, which=None, **more):
        write(*lines)
        return getattr(queries, what)(opened().db, which or Filter(), **more)

    return ask


def series(words, **more):
    """Results of one test, one a day, by the first letters of their words."""
    told = {"p": "passed", "f": "firmware", "r": "rig", "e": "error", "s": "skipped"}
    told |= {"x": "xfailed", "X": "xpassed"}
    return [
        result_line(f"run{day}", told[word], **{"at": at(day)} | more)
        for day, word in enumerate(words)
    ]


def test_a_flake_is_a_result_that_flips_for_the_same_firmware_test_and_board(ask):
    (flake,) = ask("flakes", run_line(), *series("ppfpff"))
    assert (flake.test, flake.rig, flake.board) == ("test_it.py::test_it", "lab1", "c3-a")
    assert (flake.old, flake.new, flake.version) == (OLD, NEW, "1.1.0")
    assert (flake.well, flake.wrong, flake.flips) == (3, 3, 3)
    assert flake.last == seconds_of(at(4))


@pytest.mark.parametrize("other", [{"new": NEWER}, {"board": "c3-b"}, {"rig": "lab2"},
                                   {"test": "t.py::other"}, {"old": NEWER}])  # fmt: skip
def test_results_of_another_firmware_test_or_board_are_no_flip(ask, other):
    fails = [line._replace(run=f"{line.run}-b", **other) for line in series("fff")]
    assert ask("flakes", *series("ppp"), *fails) == []


@pytest.mark.parametrize("words", ["prpepsp", "frf", "pXp", "fxf", "p", "rrr"])
def test_what_says_nothing_of_the_firmware_is_no_flip(ask, words):
    assert ask("flakes", *series(words)) == []


@pytest.mark.parametrize(("words", "flips"), [("xX", 1), ("px", 1), ("prf", 1), ("Xff", 1)])
def test_a_flip_is_what_the_firmware_did_whatever_the_test_expected(ask, words, flips):
    assert [one.flips for one in ask("flakes", *series(words))] == [flips]


def test_results_of_firmware_that_is_not_known_are_no_flake(ask):
    assert ask("flakes", *series("pfpf", old=None, new=None)) == []


def test_flakes_are_in_the_order_of_time_and_not_of_import(ask):
    lines = reversed(series("pppfff"))
    assert [one.flips for one in ask("flakes", *lines)] == [1]


def test_the_test_that_flips_most_comes_first(ask):
    lines = [line._replace(test="t.py::b") for line in series("pfpf")]
    found = ask("flakes", *series("ppff"), *lines)
    assert [(one.test, one.flips) for one in found] == [("t.py::b", 3), ("test_it.py::test_it", 1)]


DENSE = st.lists(
    st.builds(
        result_line,
        run=st.sampled_from("abc"),
        attempt=st.integers(1, 4),
        word=st.sampled_from(["passed", "firmware", "rig"]),
        at=st.integers(0, 20).map(at),
    ),
    max_size=12,
    unique_by=lambda line: line.key,
)
"""Results of one test, on one board, with one firmware."""
WELL = {"passed": 1, "xpassed": 1, "firmware": 0, "xfailed": 0}


@settings(max_examples=40)
@given(DENSE | st.lists(RESULTS, max_size=25, unique_by=lambda line: line.key))
def test_flakes_are_those_that_are_counted_by_hand(lines):
    found = {}
    for line in lines:
        if line.word in WELL and (line.old or line.new):
            subject = (line.test, line.rig, line.board, line.old, line.new)
            found.setdefault(subject, []).append((seconds_of(line.at), WELL[line.word]))
    flips = {
        subject: sum(a != b for (_, a), (_, b) in pairwise(sorted(turns)))
        for subject, turns in found.items()
    }
    db = filled(lines)
    told = {
        (one.test, one.rig, one.board, one.old, one.new): one.flips
        for one in queries.flakes(db, Filter())
    }
    assert told == {subject: count for subject, count in flips.items() if count}


def filled(lines):
    """An index of these lines, in memory."""
    db = sqlite3.connect(":memory:")
    db.executescript(the_index.TABLES)
    loader = the_index._Loader(db)
    rows = [loader._row(line) for line in lines if isinstance(line, ResultLine)]
    assert list(loader._insert(rows, range(len(rows)))) == []
    return db


@settings(max_examples=40)
@given(LINES)
def test_rates_and_medians_are_those_that_are_counted_by_hand(lines):
    results = [line for line in lines if isinstance(line, ResultLine)]
    db = filled(lines)
    for period in queries.trend(db, Filter(), "day"):
        own = [line for line in results if line.at[:10] == period.name]
        judged = [line for line in own if line.word in WELL]
        counts = period.counts
        assert counts.tests == len(own)
        assert counts.judged == len(judged)
        assert counts.firmware == sum(line.word == "firmware" for line in own)
        assert counts.rig == sum(line.word == "rig" for line in own)
        assert counts.error == sum(line.word == "error" for line in own)
        assert counts.skipped == sum(line.word == "skipped" for line in own)
        assert period.median == (median(line.seconds for line in judged) if judged else None)
        assert period.runs == len({line.run for line in own})
    assert sum(one.counts.tests for one in queries.trend(db, Filter(), "week")) == len(results)
    for slow in queries.slowest(db, Filter()):
        own = [one.seconds for one in results if one.test == slow.test and one.word in WELL]
        assert (slow.results, slow.median) == (len(own), median(own))
        assert (slow.longest, slow.total) == (max(own), sum(own))


def test_a_rack_error_is_in_no_rate_of_the_firmware(ask):
    (day,) = ask("trend", *series("pfrres", at=at()))
    assert (day.counts.firmware_rate, day.counts.rig_rate) == (1 / 2, 2 / 5)


def test_a_rate_of_nothing_is_none(ask):
    (day,) = ask("trend", *series("s"))
    assert (day.counts.firmware_rate, day.counts.rig_rate, day.median) == (None, None, None)


@pytest.mark.parametrize(("day", "monday"), [("2026-11-23T00:00:00+00:00", "2026-11-23"),
                                            ("2026-11-29T23:59:59+00:00", "2026-11-23"),
                                            ("2026-11-30T00:00:00+00:00", "2026-11-30"),
                                            ("2026-11-30T00:30+01:00", "2026-11-23")])  # fmt: skip
def test_a_week_begins_on_monday_in_utc(ask, day, monday):
    assert [one.name for one in ask("trend", result_line(at=day), by="week")] == [monday]


def test_periods_of_runs_and_firmware_have_their_names(ask):
    lines = [run_line("a"), result_line("a"), result_line("b", at=at(1), new=NEWER, old=None)]
    assert [(one.name, one.run) for one in ask("trend", *lines, by="run")] == [
        ("20261120T020000-lab1", "a"),
        ("b", "b"),
    ]
    assert [one.name for one in ask("trend", *lines, by="firmware")] == [
        "1.1.0 1e1e1e1e",
        "2f2f2f2f",
    ]


def test_the_board_with_most_rack_errors_for_its_results_comes_first(ask):
    lines = [
        *series("pppppr", board="good"),
        *series("ppprrr", board="bad", message="PortGone: it vanished"),
        *series("ppppff", board="fails"),
        *series("r", board="new"),
        *series("rrr", board=""),
    ]
    found = ask("boards", *lines, least=2)
    assert [one.board for one in found] == ["bad", "good", "fails", "new"]
    assert (found[0].message, found[0].last_rig_error) == (
        "PortGone: it vanished",
        seconds_of(at(5)),
    )
    assert found[2].last_rig_error is None


def test_a_test_has_its_latest_results_the_oldest_first(ask):
    (case,) = ask("cases", *series("ppfre"), latest=3)
    assert case.words == ["firmware", "rig", "error"]
    assert case.at == [seconds_of(at(day)) for day in (2, 3, 4)]
    assert case.counts.tests == 5


FILTERS = [
    ({"test": "[50%]"}, {"a"}),
    ({"test": "T.PY"}, set()),
    ({"rig": "lab2"}, {"b"}),
    ({"board": "c3-b"}, {"c"}),
    ({"rig_kind": "virtual"}, {"d"}),
    ({"firmware": "2.0.0"}, {"e"}),
    ({"firmware": "2f2f"}, {"e"}),
    ({"firmware": "%"}, set()),
    ({"since": seconds_of(at(4))}, {"e", "f"}),
    ({"until": seconds_of(at(1))}, {"a"}),
    ({"since": seconds_of(at(1)), "board": "c3-a", "until": seconds_of(at(3))}, {"b"}),
]


@pytest.mark.parametrize(("which", "runs"), FILTERS)
def test_a_filter_leaves_what_fits_in_every_answer(write, opened, which, runs):
    lines = [
        result_line("a", test="t.py::x[50%]"),
        result_line("b", rig="lab2", at=at(1)),
        result_line("c", board="c3-b", at=at(2)),
        result_line("d", at=at(3)),
        result_line("e", new=NEWER, at=at(4)),
        result_line("f", at=at(5)),
        run_line("d", rig_kind="virtual"),
        run_line("e", images={NEWER: "2.0.0"}),
    ]
    write(*lines)
    db, which = opened().db, Filter(**which)
    assert {one.run for one in queries.trend(db, which, "run")} == runs
    count = len(runs)
    assert queries.overview(db, which).runs == count
    assert sum(one.counts.tests for one in queries.boards(db, which)) == count
    assert sum(one.counts.tests for one in queries.cases(db, which)) == count
    assert sum(one.results for one in queries.slowest(db, which)) == count


def test_a_run_of_which_lines_are_missing_is_named(write, opened):
    lines = [run_line("a", tests=3), result_line("a"), result_line("b"), run_line("c")]
    write(*lines, result_line("c"))
    assert queries.shortages(opened().db) == [
        "run a: 1 of its 3 results are here",
        "run b: its own line is missing",
    ]


CLOCKS = [
    ({"started": "1970-01-01T00:00:00+00:00"}, {}, "it began before 2020"),
    ({}, {"at": "1970-01-01T00:00:00+00:00"}, "it began before 2020"),
    ({"finished": at(11)}, {}, "it ended later than now"),
    ({}, {"at": at(11)}, "it ended later than now"),
    ({"started": at(3), "finished": at(2)}, {"at": at(2)}, "it ended before it began"),
    ({}, {"at": at(0.2)}, "a test began outside of it"),
    ({}, {"at": at(-0.1)}, "a test began outside of it"),
    ({}, {}, ""),
    ({"finished": None}, {"at": at(5)}, ""),
]


@pytest.mark.parametrize(("run", "result", "said"), CLOCKS)
def test_a_run_whose_times_cannot_be_right_is_named(write, opened, run, result, said):
    write(run_line("a", **run), result_line("a", **result))
    expected = [f"run a: a clock was wrong: {said}"] if said else []
    assert queries.wrong_clocks(opened().db, seconds_of(at(10))) == expected
