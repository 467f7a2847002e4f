"""The table of verdicts at the end of a step on GitHub: never so long that nothing is shown."""

import pytest

from pytest_blynk_ota.ci.github import STEP_BYTES, SUMMARY, append, tell


@pytest.fixture
def step(tmp_path):
    return tmp_path / "step.md"


def test_the_table_is_added_to_what_other_commands_wrote(tmp_path, step):
    step.write_text("# before\n")
    (tmp_path / SUMMARY).write_text("# verdicts\n")
    tell(tmp_path, {"GITHUB_STEP_SUMMARY": str(step)})
    assert step.read_text() == "# before\n\n# verdicts\n"


def test_elsewhere_nothing_is_written(tmp_path, step):
    (tmp_path / SUMMARY).write_text("# verdicts\n")
    tell(tmp_path, {})
    assert list(tmp_path.iterdir()) == [tmp_path / SUMMARY]


@pytest.mark.parametrize("before", [0, 1000, STEP_BYTES - 5000])
def test_a_table_that_does_not_fit_is_cut_at_a_row_and_says_so(step, before):
    step.write_bytes(b"x" * before)
    append(step, "| é | row |\n".encode() * 200_000)
    whole = step.read_bytes()
    assert STEP_BYTES - 100 < len(whole) <= STEP_BYTES
    text = whole.decode().rstrip()
    assert text.endswith("report.html and summary.md of the run have it.")
    assert text.splitlines()[-3] == "| é | row |"


def test_a_step_that_is_full_stays_as_it_is(step):
    step.write_bytes(b"x" * (STEP_BYTES - 10))
    append(step, b"row\n" * 100)
    assert step.stat().st_size == STEP_BYTES - 10


def test_a_file_that_cannot_be_written_is_a_sentence_and_no_lost_run(tmp_path):
    (tmp_path / SUMMARY).write_text("# verdicts\n")
    there = {"GITHUB_STEP_SUMMARY": "/none/there"}
    assert tell(tmp_path, there).startswith("warning: GITHUB_STEP_SUMMARY: /none/there: ")
    assert tell(tmp_path / "no run", there) == ""
