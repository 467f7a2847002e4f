"""Runs taken into the history: whole or not at all, twice is once, and bad ones are named."""

import json
import os
import shutil
from pathlib import Path

import filelock
import pytest
from history_runs import (
    NEW,
    OLD,
    RUN_ID,
    at,
    result,
    result_line,
    run_line,
    text_of,
    write_run,
)

from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.run import read_results, read_run
from pytest_blynk_ota.history import book as the_book
from pytest_blynk_ota.history.book import Book, parsed
from pytest_blynk_ota.history.line import ResultLine, RunLine
from pytest_blynk_ota.history.take import page_of, sources_in

STORED = Path(__file__).parents[1] / "data" / "evidence" / "schema1" / "run"


def lines_of(book, run=RUN_ID):
    lines, flaws = parsed(book.path_of(run).read_bytes())
    assert not flaws
    return lines


def everything(book):
    return {path.name: path.read_bytes() for path in book.files()}


def test_a_run_is_kept_as_a_line_of_its_own_and_one_for_each_result(tmp_path, book, taken):
    results = [result("firmware", message="expected UPGRADED, got STALLED", scenarios=("D22a",))]
    (one,) = taken(write_run(tmp_path / "20261120T020000-lab1", results, result="firmware"))
    assert (one.run, one.new, one.tests, one.notes, one.error) == (RUN_ID, 1, 1, (), None)
    run, line = lines_of(book)
    assert run == run_line(result="firmware")
    assert line == result_line(
        word="firmware", message="expected UPGRADED, got STALLED", scenarios=["D22a"]
    )


def test_the_same_run_again_changes_nothing(tmp_path, book, taken):
    run = write_run(tmp_path / "run", [result()])
    taken(run)
    before = everything(book)
    (one,) = taken(run)
    assert (one.new, one.error) == (0, None)
    assert everything(book) == before


def test_tries_of_a_test_on_one_board_are_counted_and_on_another_are_not(tmp_path, book, taken):
    results = [result("firmware"), result(), result(boards=("c3-b",)), result(boards=())]
    taken(write_run(tmp_path / "run", results, result="firmware"))
    keys = [(line.board, line.attempt) for line in lines_of(book)[1:]]
    assert keys == [("c3-a", 1), ("c3-a", 2), ("c3-b", 1), ("", 1)]


def test_firmware_is_that_of_the_board_and_of_none_where_there_is_no_board(tmp_path, book, taken):
    boards = [("c3-a",), (), ("c3-a", "c3-b"), ("other",)]
    results = [result(test=f"t.py::{n}", boards=each) for n, each in enumerate(boards)]
    taken(write_run(tmp_path / "run", results))
    found = [(line.board, line.old, line.new) for line in lines_of(book)[1:]]
    assert found == [
        ("c3-a", OLD, NEW),
        ("", None, None),
        ("c3-a,c3-b", OLD, NEW),
        ("other", None, None),
    ]


def test_a_killed_run_is_taken_and_grows_when_it_is_taken_again(tmp_path, book, taken):
    results = [result(test=f"t.py::{n}") for n in range(3)]
    half = write_run(
        tmp_path / "half", results[:2], seal=False, finished=None, complete=False, result=None
    )
    with (half / "results.jsonl").open("a") as file:
        file.write(results[2].to_json()[:50])
    (one,) = taken(half)
    assert (one.new, one.error) == (2, None)
    assert any("results.jsonl: cut: it ends in half a line" in note for note in one.notes)
    (one,) = taken(write_run(tmp_path / "whole", results))
    assert (one.new, one.error) == (1, None)
    run, *lines = lines_of(book)
    assert (run.finished, run.complete, run.tests, len(lines)) == (at(0.1), True, 3, 3)
    (one,) = taken(half)
    assert (one.new, one.error) == (0, None)
    assert lines_of(book)[0] == run


def edit(folder, name, old, new):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


EDITED = [
    ("results.jsonl", '"passed"', '"firmware"', "results.jsonl: edited"),
    ("results.jsonl", '{"schema"', '{"scheme"', "results.jsonl: edited"),
    ("run.json", '"lab1"', '"lab2"', "run.json: edited"),
    ("run.json", '"complete": true', '"complete": "yes"', "run.json: edited"),
    ("manifest.json", '"schema": 1', '"schema": 9', "manifest.json: edited"),
    ("manifest.json", "{", "", "manifest.json: unreadable"),
]


@pytest.mark.parametrize(("name", "old", "new", "said"), EDITED)
def test_a_run_that_was_changed_after_its_end_is_named_and_not_taken(
    tmp_path, book, taken, name, old, new, said
):
    run = write_run(tmp_path / "run", [result()])
    edit(run, name, old, new)
    (one,) = taken(run)
    assert f"{run}: {said}" in one.error
    assert everything(book) == {}


def test_a_run_that_says_ok_over_a_failed_test_is_not_taken(tmp_path, book, taken):
    (one,) = taken(write_run(tmp_path / "run", [result("firmware")]))
    assert "result: it says ok, but the tests in results.jsonl came to firmware" in one.error
    assert everything(book) == {}


def test_a_run_that_was_cut_is_not_taken(tmp_path, book, taken):
    run = write_run(tmp_path / "run", [result(), result(test="b")])
    path = run / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    (one,) = taken(run)
    assert "results.jsonl: cut" in one.error
    path.unlink()
    (one,) = taken(run)
    assert "results.jsonl: missing" in one.error
    assert everything(book) == {}


def test_a_run_that_was_killed_just_before_its_manifest_is_taken_with_a_note(tmp_path, taken):
    (one,) = taken(write_run(tmp_path / "run", [result()], seal=False))
    assert (one.new, one.error) == (1, None)
    (note,) = one.notes
    assert note.startswith("manifest.json: missing: nothing says whether the files")


NO_ID = [
    ({"id": None}, "id is missing"),
    ({"id": ""}, "id is missing"),
    ({"id": 7}, "id is missing"),
    ({"rig": None}, "rig is missing"),
    ({"started": None}, "started is missing"),
    (
        {"started": "today"},
        "started: expected an ISO 8601 time with its zone, from 1970 on, got 'today'",
    ),
    ({"finished": "2026-11-20"}, "finished: expected an ISO 8601 time with its zone"),
    ({"schema": 9}, "schema 9, known here are 1 to 3"),
    ({"schema": 1}, "schema 1: it does not say what its tests came to"),
]


@pytest.mark.parametrize(("head", "said"), NO_ID)
def test_a_run_that_cannot_be_told_from_others_is_named(tmp_path, book, taken, head, said):
    (one,) = taken(write_run(tmp_path / "run", [result()], **head))
    assert said in one.error
    assert everything(book) == {}


def test_a_run_of_schema_1_has_no_results(taken):
    (one,) = taken(STORED)
    assert "schema 1" in one.error


def test_two_runs_of_one_id_with_different_content_are_named_and_the_first_stays(
    tmp_path, book, taken
):
    taken(write_run(tmp_path / "a", [result(seconds=2.5)]))
    before = everything(book)
    (one,) = taken(write_run(tmp_path / "b", [result(seconds=3.5)]))
    assert f"run {RUN_ID} is in the history with other content" in one.error
    assert "test_it.py::test_it on c3-a, try 1: there seconds is 2.5, here 3.5" in one.error
    (one,) = taken(write_run(tmp_path / "c", [result()], rig="lab2"))
    assert "there rig is 'lab1', here 'lab2'" in one.error
    (one,) = taken(write_run(tmp_path / "d", [result()], finished=at(0.2)))
    assert "the run: there finished is" in one.error
    assert everything(book) == before


def test_a_bad_run_keeps_no_good_one_from_being_taken(tmp_path, taken):
    write_run(tmp_path / "runs" / "a", [result()], id="a")
    write_run(tmp_path / "runs" / "b", [result()], id=None)
    write_run(tmp_path / "runs" / "c", [result()], id="c")
    assert [(one.run, one.new) for one in taken(tmp_path / "runs")] == [
        ("a", 1),
        (None, 0),
        ("c", 1),
    ]


def test_what_another_runner_wrote_is_taken(tmp_path, book, taken):
    far = tmp_path / "artifacts" / "lab-2" / ".blynk-ota" / "history"
    far.mkdir(parents=True)
    (far / "all.jsonl").write_text(
        text_of([run_line("a"), result_line("b"), run_line("b"), result_line("a")])
    )
    assert [(one.run, one.new) for one in taken(tmp_path / "artifacts")] == [("a", 1), ("b", 1)]
    assert {path.name for path in book.files()} == {"a.jsonl", "b.jsonl"}
    assert [one.new for one in taken(far, far / "all.jsonl")] == [0, 0, 0, 0]


def test_of_a_file_that_was_cut_all_whole_lines_are_taken(tmp_path, taken):
    path = tmp_path / "cut.jsonl"
    path.write_text(text_of([run_line(tests=2), result_line(), result_line(attempt=2)])[:-40])
    (one,) = taken(path)
    assert (one.new, one.error) == (1, None)
    assert one.notes[0].startswith("line 3: it ends in half a line")


def test_of_two_runs_of_one_id_in_one_file_nothing_is_taken(tmp_path, book, taken):
    path = tmp_path / "two.jsonl"
    path.write_text(text_of([run_line(), result_line(), result_line(word="rig")]))
    (one,) = taken(path)
    assert "there word is 'passed', here 'rig'" in one.error
    assert everything(book) == {}


def test_a_file_that_holds_no_line_is_an_error(tmp_path, taken):
    results = write_run(tmp_path / "run", [result()]) / "results.jsonl"
    (one,) = taken(results)
    assert "line 1: kind: expected run or test, got None" in one.error
    (tmp_path / "empty.jsonl").touch()
    (one,) = taken(tmp_path / "empty.jsonl")
    assert one.error.endswith("no line in it")


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(EvidenceError, match="no run in it"):
        sources_in(tmp_path)


def test_links_and_pipes_are_no_sources(tmp_path, book, taken):
    folder = tmp_path / "history"
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "link.jsonl").symlink_to("/etc/passwd")
    assert book.files() == []
    write_run(tmp_path / "runs" / "a", [result()])
    assert [one.new for one in taken(tmp_path)] == [1]


@pytest.mark.parametrize("run", ["../../escape", "a/b", ".", "..", "x" * 200, "é", "nul\0", "-rf"])
def test_an_id_never_leads_out_of_the_folder(tmp_path, book, run):
    assert book.path_of(run).parent == book.folder
    with book.writing():
        book.add(page_of(read_results(write_run(tmp_path / "run", [result()], id=run)))[0])
    assert [path.parent for path in book.files()] == [book.folder]
    assert book.path_of(run).name.removesuffix(".jsonl").isalnum()


def test_a_damaged_file_is_kept_aside_and_its_run_made_whole(tmp_path, book, taken):
    run = write_run(tmp_path / "run", [result(), result(test="b")])
    taken(run)
    path = book.path_of(RUN_ID)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    (one,) = taken(run)
    assert (one.new, one.error) == (1, None)
    assert "it is kept as" in one.notes[0]
    assert path.read_bytes() == whole
    assert path.with_name(f"{path.name}.damaged-1").read_bytes() == whole[:-20]


def test_an_import_that_is_killed_while_it_writes_leaves_no_half(
    tmp_path, book, taken, monkeypatch
):
    run = write_run(tmp_path / "run", [result()])

    def killed(path, text):
        path.write_text(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(the_book, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        taken(run)
    assert book.files() == []
    monkeypatch.undo()
    assert [one.new for one in taken(run)] == [1]
    assert not list(book.folder.glob("*.part"))


def test_an_import_waits_for_another_one_and_then_says_so(tmp_path, book, taken, monkeypatch):
    monkeypatch.setattr(the_book, "PATIENCE_S", 0.05)
    run = write_run(tmp_path / "run", [result()])
    with (
        filelock.FileLock(book.folder / the_book.LOCK),
        pytest.raises(UsageError, match=r"waited 0\.05 s for its lock"),
    ):
        taken(run)


def test_a_history_that_cannot_be_written_is_a_usage_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match="the history cannot be written"),
        Book(tmp_path / "file").writing(),
    ):
        pass


def test_hostile_texts_of_a_run_are_kept_as_plain_text(tmp_path, book, taken, opened):
    text = "\ud800\x00\n</script>" + "x" * 5000
    results = [result("firmware", test=text, message=text, worker=text, boards=(text,))]
    run = write_run(tmp_path / "run", results, result="firmware")
    (one,) = taken(run)
    assert (one.new, one.error) == (1, None)
    (line,) = (line for line in lines_of(book) if isinstance(line, ResultLine))
    assert line.test.startswith("\\ud800\x00\n</script>xx")
    assert len(line.test) == 4000
    assert opened().notes == ()


def test_the_history_says_of_a_run_what_the_reader_of_evidence_says(tmp_path):
    words = ("firmware", "rig", "error", "xpassed", "passed", "xfailed", "skipped")
    results = [result(word, test=f"t.py::{word}") for word in words]
    folder = write_run(tmp_path / "run", results, result="firmware")
    page, notes = page_of(read_results(folder))
    assert notes == []
    stored = read_run(folder)
    assert [line.word for line in page.results.values()] == [test.word for test in stored.tests]
    assert isinstance(page.run, RunLine)


def test_marks_of_the_two_files_are_those_of_the_whole_reader(tmp_path):
    folder = write_run(tmp_path / "run", [result()])
    shutil.copy(folder / "results.jsonl", folder / "copy")
    assert read_results(folder).marks == ()
    (folder / "manifest.json").write_text(json.dumps(manifest_of(folder)))
    for tamper in ("results.jsonl", "run.json"):
        text = (folder / tamper).read_text()
        (folder / tamper).write_text(text.replace("1", "2", 1) + " ")
        whole = {
            mark for mark in read_run(folder).marks if mark.file in ("results.jsonl", "run.json")
        }
        assert set(read_results(folder).marks) == whole != set()
        (folder / tamper).write_text(text)
