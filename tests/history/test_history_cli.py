"""``blynk-ota history``: what it prints, what it takes in, what it says of bad input."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from history_runs import NEWER, at, result, result_line, run_line, text_of, write_run

from pytest_blynk_ota.cli import history
from pytest_blynk_ota.errors import UsageError


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Calls the command in a folder of its own, as a script reads it."""
    monkeypatch.chdir(tmp_path)

    def ask(*arguments):
        done = CliRunner().invoke(history.command, [str(one) for one in arguments])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return ask


@pytest.fixture
def lines(tmp_path):
    """Writes lines into the history."""

    def lines(*found):
        folder = tmp_path / ".blynk-ota" / "history"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lines.jsonl").write_text(text_of(found))

    return lines


LONG = "hil_tests/test_download.py::test_a_very_long_name_" + "x" * 90 + "[50%]"


def night(*words, **more):
    """Results of one test, one a day, each in a run of its own."""
    found = []
    for day, word in enumerate(words):
        found.append(run_line(f"run{day}", started=at(day), finished=at(day + 0.1)))
        found.append(result_line(f"run{day}", word, **{"at": at(day), "test": LONG} | more))
    return found


def test_runs_that_have_ended_are_taken_in_before_the_answer(tmp_path, ask):
    write_run(tmp_path / ".blynk-ota" / "runs" / "a", [result(), result("rig")], result="rig")
    done = ask("--json")
    row = json.loads(done.stdout)
    assert (row["runs"], row["complete"], row["tests"], row["rig"]) == (1, 1, 2, 1)
    assert (row["first"], row["last"]) == (at(), at())
    assert done.stderr == ""
    assert "1 rack errors" in ask().output
    assert Path(".blynk-ota/history/0123456789abcdef.jsonl").exists()


def test_a_run_that_goes_on_is_not_counted_and_named(tmp_path, ask):
    run = write_run(
        tmp_path / ".blynk-ota" / "runs" / "a",
        [result()],
        seal=False,
        finished=None,
        complete=False,
        result=None,
    )
    done = ask("--json")
    assert json.loads(done.stdout)["tests"] == 0
    assert "a: it still goes on, and is not counted yet" in done.stderr
    for path in (*run.iterdir(), run):
        os.utime(path, (1e9, 1e9))
    done = ask("--json")
    assert json.loads(done.stdout)["tests"] == 1
    assert json.loads(ask("--json").stdout)["tests"] == 1


def test_a_bad_run_is_named_each_time_and_keeps_no_good_one_out(tmp_path, ask):
    bad = write_run(tmp_path / ".blynk-ota" / "runs" / "a", [result()])
    (bad / "results.jsonl").write_text(result("firmware").to_json() + "\n")
    write_run(tmp_path / ".blynk-ota" / "runs" / "b", [result()], id="b")
    for _ in range(2):
        done = ask("--json")
        assert json.loads(done.stdout)["tests"] == 1
        assert "runs/a: results.jsonl: edited" in done.stderr


def test_an_empty_history_says_how_results_come_into_it(ask):
    for question in ([], ["trend"], ["flakes"], ["slowest"], ["boards"]):
        done = ask(*question)
        assert done.exit_code == 0
        assert "blynk-ota history import RUN" in done.stderr
    assert not Path(".blynk-ota").exists()


def test_trend_has_a_row_a_day_and_its_latest_rows(ask, lines):
    lines(*night("passed", "firmware", "rig"))
    rows = [json.loads(line) for line in ask("trend", "--json").stdout.splitlines()]
    assert [row["period"] for row in rows] == ["2026-11-20", "2026-11-21", "2026-11-22"]
    assert [row["firmware_rate"] for row in rows] == [0.0, 1.0, None]
    done = ask("trend", "--limit", 1)
    assert "2026-11-22" in done.output
    assert "2026-11-21" not in done.output
    assert "and 2 earlier; --limit 0 shows all" in done.output
    runs = ask("trend", "--by", "run", "--json").stdout.splitlines()
    assert [json.loads(line)["run"] for line in runs] == ["run0", "run1", "run2"]


def test_flakes_are_told_with_firmware_and_board(ask, lines):
    lines(*night("passed", "firmware", "passed"))
    row = json.loads(ask("flakes", "--json").stdout)
    assert (row["flips"], row["well"], row["wrong"], row["last"]) == (2, 2, 1, at(2))
    assert (row["test"], row["rig"], row["board"], row["version"]) == (
        LONG,
        "lab1",
        "c3-a",
        "1.1.0",
    )
    text = ask("flakes").output
    assert "2026-11-22 02:00  1.1.0 1e1e1e1e     lab1/c3-a" in text
    lines(*night("passed", "rig", "passed"))
    assert ask("flakes").output == "no test flips\n"


def test_slowest_and_boards_rank_what_has_results_enough(ask, lines):
    lines(*night(*["passed"] * 5, "rig", message="PortGone: it vanished"))
    row = json.loads(ask("slowest", "--json").stdout)
    assert row == {"test": LONG, "results": 5, "median": 2.5, "longest": 2.5, "total": 12.5}
    assert "no result fits: no test has 6 results or more; --least 1 takes all" in (
        ask("slowest", "--least", 6).stderr
    )
    row = json.loads(ask("boards", "--json").stdout)
    assert (row["board"], row["rig_rate"], row["message"]) == (
        "c3-a",
        1 / 6,
        "PortGone: it vanished",
    )
    assert "2026-11-25 02:00  PortGone: it vanished" in ask("boards").output


@pytest.mark.parametrize("question", ["", "trend", "flakes", "slowest", "boards"])
def test_tables_fit_into_80_columns(ask, lines, question):
    wide = {"rig": "a-rig-with-a-very-long-name", "board": "a-board-with-a-long-name-too"}
    told = night(*["passed", "firmware"] * 5, "rig", message="x" * 200, seconds=1e7, **wide)
    lines(*told, run_line("z", name="n" * 99), result_line("z", "rig", test="\x1b[31m\n\u202e"))
    for more in ([], ["--by", "run"], ["--by", "firmware"]):
        if question == "trend" or not more:
            text = ask(*[question][: bool(question)], *more).stdout
            assert max(len(line) for line in text.splitlines()) <= 80
            assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["--rig", "lab"],
            "--rig 'lab': no rig of that name is in the history; did you mean 'lab1'",
        ),
        (["--board", "c3"], "did you mean 'c3-a'"),
        (["--test", "test_download.pi"], "--test 'test_download.pi': no test of that name"),
    ],
)
@pytest.mark.parametrize("question", ["trend", "flakes", "slowest", "boards", "page"])
def test_a_name_that_is_not_known_is_a_usage_error(ask, lines, question, given, said):
    lines(*night("passed"))
    with pytest.raises(UsageError) as caught:
        ask(question, *given)
    assert said in str(caught.value)


def test_filters_reach_every_question(ask, lines):
    other = result_line("b", "firmware", test="t.py::other", board="c3-b", at=at(1), new=NEWER)
    lines(*night(*["passed"] * 5), other, run_line("b", rig_kind="virtual", images={NEWER: "2.0"}))
    for given in (
        ["--test", "other"],
        ["--board", "c3-b"],
        ["--firmware", "2.0"],
        ["--rig-kind", "virtual"],
    ):
        row = json.loads(ask("trend", "--json", *given).stdout)
        assert (row["tests"], row["firmware"]) == (1, 1)
        assert [json.loads(ask("boards", "--json", *given).stdout)["board"]] == ["c3-b"]
    assert len(ask("trend", "--json", "--since", at(3)).stdout.splitlines()) == 2
    assert len(ask("trend", "--json", "--until", "2026-11-21").stdout.splitlines()) == 1


def plain(text):
    """An error of the command line without its frame."""
    return " ".join(text.replace("│", " ").split())


def test_a_time_is_a_day_a_moment_or_so_many_days_ago(ask, lines):
    now = datetime.now(UTC)
    lines(*(result_line(f"r{days}", at=(now - timedelta(days=days, hours=1)).isoformat())
            for days in range(5)))  # fmt: skip
    assert len(ask("trend", "--json", "--since", "3d").stdout.splitlines()) == 3
    done = ask("trend", "--since", "last week")
    assert done.exit_code == 2
    assert "expected 30d, 2026-11-20 or 2026-11-20T02:00" in plain(done.stderr)


def test_options_before_the_question_count_too(tmp_path, ask):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "a.jsonl").write_text(text_of(night("passed")))
    done = ask("--history", folder, "--json", "trend")
    assert json.loads(done.stdout)["tests"] == 1


def test_import_says_what_came_in_and_names_what_did_not(tmp_path, ask):
    write_run(tmp_path / "artifacts" / "a", [result()], id="a")
    bad = write_run(tmp_path / "artifacts" / "b", [result()], id="b")
    (bad / "run.json").write_text("{")
    done = ask("import", tmp_path / "artifacts")
    assert done.exit_code == 4
    assert "1 run is in .blynk-ota/history; results that were not known before: 1" in done.output
    assert f"{bad}/run.json: id is missing, or no text" in done.stderr
    assert "run.json: unreadable: is no JSON" in done.stderr
    done = ask("import", tmp_path / "artifacts" / "a", "--json")
    assert done.exit_code == 0
    row = json.loads(done.stdout)
    assert (row["run"], row["new"], row["tests"], row["error"]) == ("a", 0, 1, None)


def test_import_goes_on_after_a_path_with_nothing_in_it(tmp_path, ask):
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "a", [result()])
    done = ask("import", tmp_path / "empty", tmp_path / "a", tmp_path / "a")
    assert done.exit_code == 4
    assert "empty: no run in it" in done.stderr
    assert "1 run is in" in done.output


def test_import_of_a_file_with_a_bad_line_is_not_whole(tmp_path, ask):
    path = tmp_path / "far.jsonl"
    path.write_text(text_of(night("passed")) + "{\n")
    done = ask("import", path)
    assert done.exit_code == 4
    assert "far.jsonl: line 3: is no JSON" in done.stderr
    assert "known before: 1" in done.output


def test_a_history_that_lost_lines_says_so(ask, lines):
    lines(run_line(tests=3), result_line())
    assert "run 0123456789abcdef: 1 of its 3 results are here" in ask().stderr


def test_a_run_with_a_wrong_clock_is_named(ask, lines):
    lines(*night("passed", at=at(100)))
    assert "run run0: a clock was wrong: it ended later than now" in ask().stderr


def test_many_notes_are_told_in_a_few_lines(ask, lines):
    lines(*(result_line(f"run{number:03}") for number in range(50)))
    done = ask()
    assert len(done.stderr.splitlines()) == history.MAX_NOTES + 1
    assert "note: and 40 more like this" in done.stderr


def test_where_the_history_cannot_be_written_questions_are_answered_all_the_same(
    tmp_path, ask, lines, monkeypatch
):
    lines(*night("passed"))
    write_run(tmp_path / ".blynk-ota" / "runs" / "a", [result()])

    def refuses(self, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pytest_blynk_ota.history.book.filelock.FileLock.acquire", refuses)
    done = ask("--json")
    assert json.loads(done.stdout)["tests"] == 1
    assert "1 runs are not taken in" in done.stderr
    assert "the history cannot be written: Permission denied" in done.stderr


@pytest.mark.parametrize("question", ["import", "trend", "flakes", "slowest", "boards", "page"])
def test_each_question_has_an_example(ask, question):
    assert f"Example: blynk-ota history {question}" in " ".join(
        ask(question, "--help").output.split()
    )
