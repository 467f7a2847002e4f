"""A test beside the last good run of it."""

import shutil

import pytest
from report_runs import Folder, stalled, verdict


@pytest.fixture
def good(tmp_path):
    """The run of the night before, beside the run."""
    return Folder(tmp_path / "runs" / "20261125T020000-lab1", started="2026-11-25T02:00:00+00:00")


def comparison(made):
    return made.tests[0].comparison


def test_the_last_good_run_is_found_beside_the_run(run, good, page, tmp_path):
    older = Folder(tmp_path / "runs" / "older", started="2026-11-20T02:00:00+00:00")
    older.add(word="passed")
    good.add(word="passed")
    run.add()
    assert comparison(page(run)).run == good.path.name


def test_a_run_in_which_the_test_failed_is_passed_over(run, good, page, tmp_path):
    older = Folder(tmp_path / "runs" / "older", started="2026-11-20T02:00:00+00:00")
    older.add(word="passed")
    good.add(word="firmware")
    run.add()
    assert comparison(page(run)).run == "older"


def test_a_later_run_or_one_of_another_rig_is_no_earlier_run(run, page, tmp_path):
    Folder(tmp_path / "runs" / "later", started="2026-11-27T00:00:00+00:00").add(word="passed")
    Folder(tmp_path / "runs" / "lab2", rig="lab2", started="2026-11-20").add(word="passed")
    run.add()
    made = page(run)
    assert comparison(made) is None
    assert made.tests[0].no_comparison == "No earlier good run of this test was found."


def test_a_copy_of_the_run_is_no_earlier_run(run, page, tmp_path):
    copy = Folder(tmp_path / "runs" / "copy")
    copy.add(word="passed")
    run.add()
    assert comparison(page(run)) is None


def test_a_run_given_by_hand_wins(run, good, page, tmp_path):
    other = Folder(tmp_path / "elsewhere" / "release", rig="lab9")
    other.add(word="passed")
    good.add(word="passed")
    run.add()
    assert comparison(page(run, against=other.path)).run == "release"


def test_a_run_given_by_hand_in_which_nothing_passed_is_said_to_be_none(run, good, page):
    good.add(word="firmware")
    run.add()
    made = page(run, against=good.path)
    assert comparison(made) is None
    assert made.marks[0].endswith("so there is nothing to compare with")


def test_figures_are_shown_with_their_change(run, good, page):
    good.add(word="passed", verdicts=[verdict("UPGRADED", seconds=25.0)])
    run.add()
    rows = {row.name: row for row in comparison(page(run)).figures}
    assert (rows["Duration"].here, rows["Duration"].there) == ("50.0 s", "25.0 s")
    assert rows["Duration"].change == "+100 %"
    assert rows["Downloads"].change == "same"
    assert rows["Reset to login"].here == "2.0 s"


def test_what_came_first_differently_is_named_with_what_came_before(run, good, page):
    healthy = [row for row in stalled() if row[2] != "fault"]
    good.add(word="passed", rows=healthy)
    run.add()
    found = comparison(page(run)).difference
    assert (found.witness, found.here) == ("firmware server", "fault fired: stall after=50%")
    assert found.there == "download ended: fin by device"
    assert (found.seq, found.at) == (10, pytest.approx(26.0))
    assert found.before == "answers HTTP 200, 204,800 bytes"


def test_two_witnesses_in_another_order_are_no_difference(run, good, page):
    rows = stalled()
    at = next(i for i, row in enumerate(rows) if row[2] == "ota_sent")
    swapped = [*rows[:at], (rows[at][0] + 0.15, *rows[at][1:]), *rows[at + 1 :]]
    good.add(word="passed", rows=sorted(swapped, key=lambda row: row[0]))
    run.add()
    assert comparison(page(run)).difference is None


def test_what_came_before_the_operation_is_no_difference(run, good, page):
    rows = stalled()
    restored = [*rows[:2], (0.15, "uart", "reset", {"cause": "POWERON"}), *rows[2:]]
    good.add(word="passed", rows=restored)
    run.add()
    assert comparison(page(run)).difference is None


@pytest.mark.parametrize("head", [{"id": "a1b2"}, {}], ids=["by id", "by its beginning and tests"])
def test_a_run_is_not_compared_with_a_copy_of_itself(tmp_path, page, head):
    run, copy = Folder(tmp_path / "run", **head), tmp_path / "elsewhere"
    run.add(word="passed", message=None)
    shutil.copytree(run.path, copy)
    for against in (run.path, copy):
        made = page(run, against=against)
        assert made.marks[0] == (
            f"{against} is the run run itself, or a copy of it, so its tests are compared with "
            "nothing"
        )
        assert made.tests[0].comparison is None


def test_of_two_runs_one_may_stand_beside_the_other(tmp_path, page):
    first, second = (Folder(tmp_path / name, id=name) for name in ("first", "second"))
    first.add(word="passed", message=None)
    second.add()
    red, good = page(first, second, against=first.path).tests
    assert red.comparison.run == "first"
    assert good.comparison is None


@pytest.mark.parametrize("head", [{"id": "a1b2"}, {}], ids=["by id", "by its beginning and tests"])
def test_a_run_that_is_given_twice_is_counted_once(tmp_path, page, head):
    run, copy = Folder(tmp_path / "run", **head), Folder(tmp_path / "elsewhere")
    run.add(word="passed", message=None)
    shutil.rmtree(copy.path)
    shutil.copytree(run.path, copy.path)
    made = page(run, copy)
    assert len(made.tests) == 1
    assert made.marks[0] == (
        f"{copy.path} is the same run as {run.path}, or a copy of it: it is counted once"
    )
