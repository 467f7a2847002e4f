"""``blynk-ota report``, and the report that each run writes for itself."""

import json

import pytest
from click.testing import CliRunner
from report_runs import Folder, seal

from pytest_blynk_ota import runs
from pytest_blynk_ota.cli.report import code_of, command
from pytest_blynk_ota.errors import EvidenceError


@pytest.fixture
def report():
    """Calls the command."""
    return lambda *arguments: CliRunner().invoke(command, [str(one) for one in arguments])


def test_the_page_is_written_beside_the_evidence(run, report):
    run.add()
    done = report(run.path)
    assert done.exit_code == 0
    assert "1 firmware" in done.output
    assert (run.path / "report.html").read_text().startswith("<!doctype html>")


def test_the_page_can_be_written_elsewhere(run, report, tmp_path):
    run.add()
    assert report(run.path, "-o", tmp_path / "new" / "it.html").exit_code == 0
    assert (tmp_path / "new" / "it.html").exists()
    assert not (run.path / "report.html").exists()


def test_a_page_that_cannot_be_written_is_a_usage_error(run, report, tmp_path):
    run.add()
    (tmp_path / "file").write_text("")
    done = report(run.path, "-o", tmp_path / "file" / "it.html")
    assert "name another file with -o" in str(done.exception)


@pytest.mark.parametrize(
    ("result", "code"), [("ok", 0), ("firmware", 1), ("rig", 3), ("incomplete", 4), ("green", 4)]
)
def test_the_exit_code_says_what_the_run_came_to(tmp_path, report, result, code):
    run = Folder(tmp_path / "run", result=result)
    run.add(word="passed")
    seal(run.path)
    assert report(run.path, "--exit-code").exit_code == code
    assert report(run.path).exit_code == 0


def test_the_exit_code_of_several_runs_is_the_worst():
    assert code_of(["ok", "rig", "incomplete"]) == 3
    assert code_of(["rig", "firmware"]) == 1
    assert code_of(["ok", "incomplete"]) == 4


def test_a_run_whose_files_were_changed_is_no_good_run(tmp_path, report):
    run = Folder(tmp_path / "run", result="ok")
    folder = run.add(word="passed")
    seal(run.path)
    assert report(run.path, "--exit-code").exit_code == 0
    (folder / "events.jsonl").write_text("")
    assert report(run.path, "--exit-code").exit_code == 4


def test_a_test_whose_events_lack_their_end_is_no_good_test_whatever_the_manifest(tmp_path, report):
    run = Folder(tmp_path / "run", result="ok")
    folder = run.add(word="passed")
    lines = (folder / "events.jsonl").read_text().splitlines(True)
    (folder / "events.jsonl").write_text("".join(lines[:-1]))
    seal(run.path)
    assert report(run.path, "--exit-code").exit_code == 4


@pytest.mark.parametrize(("word", "code"), [("firmware", 1), ("rig", 3), ("error", 4)])
def test_a_run_that_says_ok_is_no_better_than_its_tests(tmp_path, report, word, code):
    run = Folder(tmp_path / "run", result="ok")
    run.add(word="passed")
    run.add("test_b", word=word)
    seal(run.path)
    assert report(run.path, "--exit-code").exit_code == code


def test_a_run_that_says_ok_and_that_it_was_stopped_is_no_good_run(tmp_path, report):
    run = Folder(tmp_path / "run", result="ok", complete=False)
    run.add(word="passed")
    seal(run.path)
    assert report(run.path, "--exit-code").exit_code == 4


def test_the_page_of_a_cut_run_is_a_page_and_says_that_it_is_not_whole(tmp_path, report):
    run = Folder(tmp_path / "run", result="ok", complete=False)
    run.add(word="passed")
    for options in ((), ("--json",)):
        done = report(run.path, *options)
        assert done.exit_code == 0
        assert "note: the run is not complete" in done.stderr
        assert "evidence that is not whole; only with --exit-code" in done.stderr
        assert "note" not in done.stdout


def test_of_a_whole_run_there_is_nothing_to_note(tmp_path, report):
    run = Folder(tmp_path / "run", result="ok")
    run.add(word="passed")
    seal(run.path)
    assert report(run.path).stderr == ""


def test_a_run_that_lost_its_manifest_is_no_good_run(tmp_path, report):
    run = Folder(tmp_path / "run", schema=2, result="ok")
    run.add(word="passed")
    seal(run.path)
    assert report(run.path, "--exit-code").exit_code == 0
    (run.path / "manifest.json").unlink()
    assert report(run.path, "--exit-code").exit_code == 4


def test_a_test_that_its_worker_died_of_is_one_test_with_the_evidence_that_is_left(run, report):
    run.add("test_a", word="passed")
    run.add("test_b", word="error", rows=[(1.0, "test", "started", {"id": "test_it.py::test_b"})])
    lines = (run.path / "results.jsonl").read_text()
    (run.path / "results.jsonl").write_text(lines.replace('"tests/test_b"', "null"))
    row = json.loads(report(run.path, "--json").stdout)
    assert (row["tests"], dict(row["counts"])) == (2, {"error": 1, "passed": 1})


def test_json_tells_where_the_page_is_and_what_it_holds(run, report):
    run.add()
    row = json.loads(report(run.path, "--json").stdout)
    assert row["report"] == str(run.path / "report.html")
    assert (row["tests"], row["counts"], row["code"]) == (1, {"firmware": 1}, 1)


def test_a_folder_without_evidence_is_an_error(tmp_path, report):
    assert isinstance(report(tmp_path).exception, EvidenceError)


def test_runs_below_a_folder_are_one_page(tmp_path, report):
    for name in ("a", "b"):
        folder = Folder(tmp_path / "artifacts" / name, id=name)  # a run given twice counts once
        folder.add(name)
    done = report(tmp_path / "artifacts", "--json", "-o", tmp_path / "it.html")
    assert json.loads(done.stdout)["tests"] == 2


def test_the_report_of_a_run_is_said_with_its_path(run, monkeypatch):
    run.add()
    monkeypatch.chdir(run.path.parent)
    assert runs.report(run.path) == f"report: {run.path.name}/report.html"


def test_a_report_that_fails_is_a_warning(run, monkeypatch):
    run.add()
    (run.path / "report.html").mkdir()
    assert runs.report(run.path).startswith("warning: no report was written: ")
