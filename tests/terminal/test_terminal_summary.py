"""The end of a run: groups, what to do next, limits; and the table in Markdown."""

from pathlib import Path

import pytest

from pytest_blynk_ota.ci.github import STEP_BYTES, STEP_SUMMARY, tell
from pytest_blynk_ota.ci.markdown import table
from pytest_blynk_ota.terminal.advice import advice
from pytest_blynk_ota.terminal.again import Start
from pytest_blynk_ota.terminal.rows import Row, first_line
from pytest_blynk_ota.terminal.summary import MAX_TESTS, last_line, summary

RUN = {"rig": "bench", "rig_kind": "real", "complete": True}


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


def test_the_last_line_says_that_a_run_was_stopped():
    assert "stopped early" in last_line([Row("a")], "runs/x", complete=False)
    assert last_line([Row("a")], "x", complete=True) == "blynk-ota: 1 passed; evidence in x"


def test_first_line_shows_no_control_characters():
    assert first_line("\n  \nAssertionError: a\x1b[31m\nb") == "a�[31m"


def test_a_table_names_the_worst_first_and_shows_hostile_text_as_text():
    rows = [Row("t::ok"), Row("t::bad", "firmware", "<script>|\n[x](y) @all")]
    text = table(rows, RUN, 1 << 20)
    assert text.index("t\\:\\:bad") < text.index("t\\:\\:ok")
    assert "<script" not in text
    assert "[x](y)" not in text
    assert " @all" not in text


@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_a_table_is_cut_at_the_limit_with_a_note(limit):
    text = table([Row(f"t::{n}", message="é" * 99) for n in range(5_000)], RUN, limit)
    assert len(text.encode()) <= limit
    kept = text.count("t\\:\\:")
    assert 0 < kept < 5_000
    assert f"{5_000 - kept} more tests did not fit" in text


def test_the_table_is_kept_with_the_run_and_appended_to_the_step_of_github(tmp_path):
    (tmp_path / "run.json").write_text('{"rig": "bench"}')
    step = tmp_path / "step"
    step.write_text("before")
    tell(tmp_path, [Row("t::a")], {STEP_SUMMARY: str(step)})
    kept = (tmp_path / "summary.md").read_text()
    assert "t\\:\\:a" in kept
    assert step.read_text() == "before\n" + kept


def test_a_step_that_cannot_be_written_is_a_sentence_and_no_lost_run(tmp_path):
    (tmp_path / "run.json").write_text('{"rig": "bench"}')
    said = tell(tmp_path, [], {STEP_SUMMARY: str(tmp_path / "none" / "step")})
    assert said.startswith(f"blynk-ota: no table of verdicts in {tmp_path / 'none' / 'step'}: ")
    (tmp_path / "run.json").write_text('{"rig"')
    assert "run.json is cut" in tell(tmp_path, [], {})


@pytest.mark.parametrize("before", [0, 1000, STEP_BYTES - 5000, STEP_BYTES - 10])
def test_a_step_of_github_never_grows_over_its_limit(tmp_path, before):
    (tmp_path / "run.json").write_text('{"rig": "bench"}')
    step = tmp_path / "step"
    step.write_bytes(b"x" * before)
    rows = [Row(f"t::{n}", message="é" * 99) for n in range(8_000)]
    tell(tmp_path, rows, {STEP_SUMMARY: str(step)})
    assert step.stat().st_size <= STEP_BYTES
    assert step.read_bytes().startswith(b"x" * before)
    fits = before < STEP_BYTES - 1000
    assert ("more tests did not fit" in step.read_text(encoding="utf-8")) == fits


def test_a_command_keeps_what_decides_how_tests_are_found_and_no_more(start):
    command = start.again("tests/t.py::test_a[x y]", {"--ota-seed": "7"})
    assert command == "/opt/bin/pytest 'tests/t.py::test_a[x y]' -p no:foo --ota-seed=7"
    assert start.near(Path("/elsewhere/x")) == "/elsewhere/x"
