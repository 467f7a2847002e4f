"""The end of a run: groups, what to do next, limits."""

from pathlib import Path

import pytest

from pytest_blynk_ota.runs import WORST_FIRST
from pytest_blynk_ota.terminal.advice import advice
from pytest_blynk_ota.terminal.again import Start
from pytest_blynk_ota.terminal.rows import Row, first_line
from pytest_blynk_ota.terminal.summary import MAX_TESTS, last_line, summary


@pytest.fixture
def start(tmp_path) -> Start:
    return Start(["/opt/bin/pytest"], ["-x", "-p", "no:foo", "-q"], tmp_path, tmp_path, "/opt/bin")


def said(rows, start) -> str:
    return "\n".join(text for text, _ in summary(rows, start, start.folder / "runs", "lab"))


def test_a_run_in_which_all_passed_has_no_group(start):
    assert said([Row("t::a"), Row("t::b")], start) == ""


def test_a_firmware_failure_leads_to_its_evidence_and_its_command(start):
    evidence = str(start.folder / "runs" / "a")
    row = Row("t::a", "firmware", "expected X", boards=("c3",), evidence=evidence, rerun="pytest t")
    assert said([row], start).splitlines() == [
        "1 firmware failure",
        "  t::a on c3",
        "    expected X",
        "    evidence  runs/a",
        "    run again pytest t",
        "judge all again: /opt/bin/blynk-ota judge runs",
    ]


def test_a_rack_error_is_apart_and_says_what_to_try(start):
    rack = Row("t::a", "rig", error="PortGone", evidence="runs/a")
    text = said([rack, Row("t::b", "firmware")], start)
    assert text.index("1 firmware failure") < text.index("1 error of the rack")
    assert advice("PortGone") in text
    assert advice("an error of tomorrow")
    assert "check the rig file: /opt/bin/blynk-ota rig check lab" in text


def test_skips_are_grouped_by_reason_the_most_frequent_first(start):
    rows = [Row(f"t::{n}", "skipped", "no ap" if n else "no power") for n in range(3)]
    assert said(rows, start).splitlines() == ["3 skipped", "  2 × no ap", "  1 × no power"]


def test_a_long_group_is_cut_and_the_others_counted(start):
    text = said([Row(f"t::{n}", "firmware") for n in range(MAX_TESTS + 3)], start)
    assert text.splitlines()[0] == f"{MAX_TESTS + 3} firmware failures"
    assert "and 3 more" in text
    assert f"t::{MAX_TESTS}" not in text


def test_the_whole_is_no_longer_than_a_few_screens_whatever_went_wrong(start):
    words = [*WORST_FIRST, *WORST_FIRST]
    rows = [
        Row(
            f"t::{word}{n}",
            word,
            "x" * 9_000 + str(n),
            "E" * (n % 2),
            ("a",),
            rerun="p",
            evidence="e",
        )
        for word in words
        for n in range(200)
    ]
    lines = said(rows, start).splitlines()
    assert len(lines) < 130
    assert max(map(len, lines)) < 240


@pytest.mark.parametrize(
    ("complete", "said"),
    [
        (False, "stopped early; no test on the rig came to its end"),
        (True, "no test ran on the rig"),
    ],
)
def test_the_last_line_speaks_of_the_rig_for_others_may_have_passed(complete, said):
    assert f"blynk-ota: {said}; evidence in x" == last_line([], "x", complete=complete)


def test_the_last_line_says_that_a_run_was_stopped():
    assert "stopped early" in last_line([Row("a")], "runs/x", complete=False)
    assert last_line([Row("a")], "x", complete=True) == "blynk-ota: 1 passed; evidence in x"


def test_first_line_shows_no_control_characters():
    assert first_line("\n  \nAssertionError: a\x1b[31m\nb") == "a�[31m"


def test_a_first_line_that_ends_in_a_colon_takes_the_next_one_along():
    assert first_line("got 2 findings:\n\n  crash: it crashed\n  late: x") == (
        "got 2 findings: crash: it crashed"
    )
    assert first_line("nothing follows:") == "nothing follows:"
    assert first_line("Failed: x") == "x"


def test_a_command_keeps_what_decides_how_tests_are_found_and_no_more(start):
    command = start.again("tests/t.py::test_a[x y]", {"--ota-seed": "7"})
    assert command == "/opt/bin/pytest 'tests/t.py::test_a[x y]' -p no:foo --ota-seed=7"
    assert start.near(Path("/elsewhere/x")) == "/elsewhere/x"
