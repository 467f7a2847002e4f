"""What a test came to, out of the reports that pytest and its plugins send."""

from types import SimpleNamespace

import pytest

from pytest_blynk_ota.terminal.rows import Rows, first_line

OURS = [
    ("blynk_ota_rig", "lab"),
    ("blynk_ota_board", "c3-a"),
    ("blynk_ota_evidence", "/e"),
    ("blynk_ota_rerun", "pytest t"),
    ("blynk_ota_outcome", "UPGRADED"),
    ("blynk_ota_outcome", "STALLED"),
]


def report(when="call", outcome="passed", longrepr=None, properties=OURS, **more):
    made = pytest.TestReport(
        "t::a", ("t", 0, "a"), {}, outcome, longrepr, when, user_properties=properties, duration=1.0
    )
    vars(made).update(more)
    return made


def crash(text: str):
    return SimpleNamespace(reprcrash=SimpleNamespace(message=text))


def rows(*reports):
    taken = Rows()
    for one in reports:
        taken.pytest_runtest_logreport(one)
    return list(taken)


def test_a_passing_test_is_one_row_with_all_that_it_says_of_itself():
    (row,) = rows(report("setup"), report(), report("teardown"))
    assert (row.id, row.word, row.message) == ("t::a", "passed", "")
    assert (row.boards, row.outcomes) == (("c3-a",), ("UPGRADED", "STALLED"))
    assert (row.evidence, row.rerun, row.seconds) == ("/e", "pytest t", 3.0)


def test_a_failure_is_told_by_the_first_line_of_its_words():
    (row,) = rows(report(outcome="failed", longrepr=crash("assert expected A, got B\n  because")))
    assert (row.word, row.message) == ("firmware", "expected A, got B")


def test_a_failed_assert_about_a_result_is_told_by_what_it_was_about():
    told = [*OURS, ("blynk_ota_said", "len(result.downloads): expected 2, got 1")]
    one = report(outcome="failed", longrepr=crash("assert 1 == 2"), properties=told)
    (row,) = rows(one)
    assert row.message == "len(result.downloads): expected 2, got 1"


def test_a_mistake_in_a_test_is_told_without_the_module_of_its_error():
    words = crash("pytest_blynk_ota.errors.UsageError: ship() takes an image")
    (row,) = rows(report(outcome="failed", longrepr=words))
    assert row.message == "UsageError: ship() takes an image"


def test_a_skip_is_told_by_its_reason():
    (row,) = rows(report("setup", "skipped", ("t", 1, "Skipped: board c3-a has no outlet")))
    assert (row.word, row.message) == ("skipped", "board c3-a has no outlet")


def test_an_error_of_the_rack_is_told_by_its_own_words():
    one = report("setup", "failed", "E   at the end", [*OURS, ("blynk_ota_rig_error", "PortGone")])
    one.sections.append(("rack error", "PortGone: gone\nmore"))
    (row,) = rows(one)
    assert (row.word, row.error, row.message) == ("rig", "PortGone", "PortGone: gone")


def test_a_failing_teardown_outweighs_a_test_that_passed():
    (row,) = rows(report(), report("teardown", "failed", crash("no")))
    assert (row.word, row.message) == ("error", "no")


def test_a_test_that_was_expected_to_fail_says_why():
    (row,) = rows(report(outcome="skipped", longrepr=("t", 1, "x"), wasxfail="reason: not yet"))
    assert (row.word, row.message) == ("xfailed", "not yet")


def test_a_worker_that_died_took_its_test_along():
    (row,) = rows(report("???", "failed", "worker 'gw0' crashed", []))
    assert (row.word, row.message) == ("error", "worker 'gw0' crashed")


def test_the_try_that_counts_is_the_last_one():
    (row,) = rows(report(outcome="rerun", longrepr=crash("no")), report("setup"), report())
    assert (row.word, row.message, row.tries) == ("passed", "", 1)


def test_a_test_that_uses_no_rig_is_none_of_ours():
    assert rows(report(properties=[])) == []


def test_what_would_move_the_cursor_is_not_printed():
    assert first_line("\n\x1b[2J\x00evil\nmore") == "\N{REPLACEMENT CHARACTER}[2J\ufffdevil"
