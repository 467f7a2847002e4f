"""Evidence that was cut, edited, lost or is none: an error or a mark, never a made-up verdict."""

import gzip
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.cli.judge import command
from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.bundle import read_test
from pytest_blynk_ota.evidence.event import Event, parse_events
from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.evidence.run import find_runs, read_run
from pytest_blynk_ota.evidence.writer import write_json
from pytest_blynk_ota.verdict.again import judge_again

STORED = Path(__file__).parents[1] / "data" / "evidence" / "schema1" / "run"
STALL = "test_update.py.test_a_stall-a09eb0"
UPGRADE = "test_update.py.test_an_upgrade-ecfede"
RACK = "test_update.py.test_a_rack_that_dies-530788"
RECORDED = sorted((Path(__file__).parents[1] / "data" / "timelines").glob("*.jsonl.gz"))
WORDS = {STALL: "firmware", UPGRADE: "passed", RACK: "rig"}


@pytest.fixture
def run(tmp_path) -> Path:
    """The stored run as today's format has it: with results and a manifest."""
    folder = Path(shutil.copytree(STORED, tmp_path / "run"))
    lines = []
    for name, word in WORDS.items():
        test_id = read_test(folder / "tests" / name).events[0].data["id"]
        row = TestResult(id=test_id, folder=f"tests/{name}", word=word, seconds=1.0)
        lines.append(row.to_json() + "\n")
    (folder / "results.jsonl").write_text("".join(lines))
    data = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**data, "schema": 2, "id": "0123456789abcdef"})
    write_json(folder / "manifest.json", manifest_of(folder))
    return folder


def judged(*paths):
    done = CliRunner().invoke(command, [str(path) for path in paths])
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.stdout, done.stderr


def marks(folder):
    return [(mark.file, str(mark.flaw)) for mark in read_run(folder).marks]


def test_a_run_of_schema_1_is_read_and_judged_as_it_was():
    run = read_run(STORED)
    assert (run.schema, run.listed, run.complete, run.marks) == (1, False, True, ())
    assert [test.word for test in run.tests] == [None] * 3
    code, out, err = judged(STORED)
    assert code == 3
    assert out.count("(the same)") == 3
    assert err == ""


def test_an_untouched_run_has_no_mark(run):
    stored = read_run(run)
    assert stored.marks == ()
    assert stored.words == {"firmware": 1, "rig": 1, "passed": 1}
    assert judged(run)[0] == 3
    assert judged(run / "tests" / UPGRADE)[0] == 0


def edit(path):
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


TAMPERED = [
    (edit, "edited"),
    (cut, "cut"),
    (Path.unlink, "missing"),
    (lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), "foreign"),
    (lambda path: (path.unlink(), os.mkfifo(path)), "foreign"),
]


@pytest.mark.parametrize(("tamper", "flaw"), TAMPERED)
@pytest.mark.parametrize("name", ["events.jsonl", "serial.log", "verdict.json"])
def test_a_file_that_was_tampered_with_is_named_with_code_4(run, tamper, flaw, name):
    file = f"tests/{UPGRADE}/{name}"
    tamper(run / file)
    assert (file, flaw) in marks(run)
    for bundle in (run, run / "tests" / UPGRADE):
        code, _, err = judged(bundle)
        assert code == 4
        assert f"{file}: {flaw}" in err


def test_a_file_that_was_added_is_named(run):
    (run / "tests" / UPGRADE / "more.log").write_text("x")
    (run / "tests" / "other").mkdir()
    (run / "tests" / "other" / "events.jsonl").write_text("")
    assert {
        (f"tests/{UPGRADE}/more.log", "extra"),
        ("tests/other/events.jsonl", "extra"),
    } <= set(marks(run))
    assert judged(run)[0] == 4


def test_a_test_that_was_taken_out_is_named(run):
    shutil.rmtree(run / "tests" / STALL)
    assert (f"tests/{STALL}", "missing") in marks(run)
    assert judged(run)[0] == 4


@pytest.mark.parametrize(
    ("said", "agrees"), [("ok", False), ("incomplete", False), ("rig", False), ("firmware", True)]
)
def test_a_run_that_says_it_came_to_less_than_its_tests_is_edited(run, said, agrees):
    data = json.loads((run / "run.json").read_text())
    write_json(run / "run.json", {**data, "result": said})
    write_json(run / "manifest.json", manifest_of(run))
    assert marks(run) == ([] if agrees else [("run.json", "edited")])
    assert (f"it says {said}, but" in judged(run)[2]) is not agrees


@pytest.mark.parametrize("name", ["manifest.json", "results.jsonl", "run.json"])
def test_a_lost_or_garbled_file_of_the_run_is_named(run, name):
    (run / name).write_bytes(b"\xff\x00{")
    assert name in [file for file, _ in marks(run)]
    (run / name).unlink()
    assert (name, "missing") in marks(run)
    assert judged(run)[0] == 4


@pytest.mark.parametrize(
    "folder", ["../../x", "tests/..", "tests/a/b", "/etc", "tests/", "tests/\0"]
)
def test_a_result_cannot_lead_out_of_its_run(run, folder):
    rows = (run / "results.jsonl").read_text().splitlines()
    rows[0] = json.dumps({**json.loads(rows[0]), "folder": folder})
    (run / "results.jsonl").write_text("\n".join(rows) + "\n")
    stored = read_run(run)
    assert any("line 1: folder: expected tests/NAME" in mark.text for mark in stored.marks)
    assert all(test.folder is None or test.folder.parent == run / "tests" for test in stored.tests)


def test_evidence_of_another_test_is_foreign(run):
    shutil.rmtree(run / "tests" / STALL)
    shutil.copytree(run / "tests" / UPGRADE, run / "tests" / STALL)
    assert (f"tests/{STALL}/events.jsonl", "foreign") in marks(run)


def test_a_verdict_that_was_edited_is_told_field_by_field(run):
    path = run / "tests" / STALL / "verdict.json"
    data = json.loads(path.read_text())
    data["verdicts"][0]["outcome"] = "UPGRADED"
    data["verdicts"][0]["downloads"][0]["sent"] = 1
    del data["verdicts"][0]["boots"]
    path.write_text(json.dumps(data))
    code, out, _ = judged(run)
    assert code == 4
    assert "outcome: stored 'UPGRADED', now 'STALLED'" in out
    assert "downloads[0].sent: stored 1, now " in out
    assert "boots: stored nothing, now " in out


def test_a_key_that_an_older_verdict_does_not_have_is_no_difference(run):
    bundle = read_test(run / "tests" / UPGRADE)
    (again,) = judge_again(bundle.events, bundle.verdicts, ended=True)
    assert set(again.now) - set(bundle.verdicts[0]) == {"flash", "metrics", "rules"}
    assert again.same


@pytest.mark.parametrize(
    ("stored", "same"),
    [
        ("new (1.1.0) runs; known by: slot hash", True),
        ("new (1.1.0) runs; known by: app_init", False),
        ("old (1.0.0) runs; known by: slot hash", False),
    ],
)
def test_what_is_said_in_other_words_today_is_no_difference_and_anything_else_is(run, stored, same):
    bundle = read_test(run / "tests" / UPGRADE)
    (row,) = bundle.verdicts
    first, *rest = row["reasons"]
    edited = {**row, "reasons": [{**first, "text": stored}, *rest]}
    (again,) = judge_again(bundle.events, [edited], ended=True)
    assert again.same is same


def test_two_runs_with_the_same_test_are_each_named_with_their_run(run, tmp_path):
    second = Path(shutil.copytree(run, tmp_path / "other" / "run"))
    _, out, _ = judged(tmp_path)
    assert f"{run}/tests/{UPGRADE} #1: UPGRADED (the same)" in out
    assert f"{second}/tests/{UPGRADE} #1: UPGRADED (the same)" in out
    assert find_runs(tmp_path) == [second, run]


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("events.jsonl", "{}")


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "zip": zipped,
    "png": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "gzip": lambda path: path.write_bytes(gzip.compress(b"{}\n")),
    "nuls": lambda path: path.write_bytes(bytes(5000)),
    "deep": lambda path: path.write_text("[" * 100_000 + "\n"),
    "other json": lambda path: path.write_text('{"a": 1}\n'),
    "broken utf-8": lambda path: path.write_bytes(b'{"schema": 1, "seq": "\xc3("}\n'),
    "loop": lambda path: path.symlink_to(path),
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("where", ["file", "events", "run"])
def test_something_else_than_evidence_is_refused_and_judges_nothing(tmp_path, kind, where):
    paths = {
        "file": (tmp_path / "thing", tmp_path / "thing"),
        "events": (tmp_path / "events.jsonl", tmp_path),
        "run": (tmp_path / "run.json", tmp_path),
    }
    path, given_path = paths[where]
    FOREIGN[kind](path)
    code, out, err = judged(given_path)
    assert code in (2, 4)
    assert out == ""
    assert err


def test_an_unreadable_file_is_named(run, monkeypatch):
    file = run / "tests" / UPGRADE / "events.jsonl"
    real = Path.read_bytes

    def refuse(path):
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    code, _, err = judged(run)
    assert code == 4
    assert f"{file}: Permission denied" in err


def test_a_link_that_leads_in_a_circle_ends(run):
    (run / "tests" / "circle").symlink_to(run)
    assert ("tests/circle", "extra") in marks(run)


@pytest.mark.parametrize("name", [STALL, UPGRADE])
def test_a_bundle_cut_anywhere_keeps_its_verdict_or_has_none(tmp_path, name):
    data = (STORED / "tests" / name / "events.jsonl").read_bytes()
    whole = read_test(STORED / "tests" / name)
    stored = whole.verdicts[0]["outcome"]
    chosen = random.Random(7)
    last = len(data) - len(data.splitlines(True)[-1])
    ends = {0, 1, last - 1, last, last + 1, len(data) - 2, *chosen.sample(range(len(data)), 150)}
    for end in sorted(ends):
        (tmp_path / "events.jsonl").write_bytes(data[:end])
        bundle = read_test(tmp_path)
        assert not bundle.ended
        assert bundle.marks
        for again in judge_again(bundle.events, None, ended=bundle.ended):
            assert not again.same
            assert again.now is None or again.now["outcome"] == stored, end


VALUES = st.sampled_from(
    [None, True, -1, 0, 10**30, 1e308, "", "x", "\0", "<script>", [], [[]], {}, {"a": {}}]
)


@pytest.mark.parametrize("name", [STALL, UPGRADE, RACK])
@settings(max_examples=150)
@given(data=st.data())
def test_a_value_that_was_edited_is_an_error_or_a_difference_or_changes_nothing(name, data):
    rows = [json.loads(line) for line in ROWS[name]]
    row = data.draw(st.sampled_from(rows))
    at = row
    while True:
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
        inner = at[key]
        if not inner or not isinstance(inner, dict | list) or data.draw(st.booleans()):
            break
        at = inner
    at[key] = data.draw(VALUES)
    try:
        events = [Event.of(one) for one in rows]
    except ValueError:
        return
    stored = read_test(STORED / "tests" / name).verdicts
    for again in judge_again(events, stored, ended=True):
        if again.now is not None and again.stored is not None:
            assert again.same == (not again.differs)
        if again.now is None and again.stored is not None:
            assert not again.same
            assert again.error


@pytest.mark.parametrize("value", [None, -1, "", []])
@pytest.mark.parametrize("inner", ["", "air"])
def test_an_operation_that_was_edited_in_any_place_is_never_a_traceback(value, inner):
    rows = [json.loads(line) for line in ROWS[UPGRADE]]
    events = [Event.of(row) for row in rows]
    at = next(n for n, one in enumerate(events) if (one.source, one.kind) == ("ota", "operation"))
    stored = read_test(STORED / "tests" / UPGRADE).verdicts
    errors = 0
    for key in rows[at]["data"][inner] if inner else rows[at]["data"]:
        row = json.loads(ROWS[UPGRADE][at])
        (row["data"][inner] if inner else row["data"])[key] = value
        edited = [*events[:at], Event.of(row), *events[at + 1 :]]
        for again in judge_again(edited, stored, ended=True):
            errors += bool(again.error)
            assert (again.now is None) == bool(again.error)
    assert errors


ROWS = {
    name: (STORED / "tests" / name / "events.jsonl").read_text().splitlines()
    for name in (STALL, UPGRADE, RACK)
}


def test_a_log_of_50_mb_is_read(run):
    path = run / "tests" / UPGRADE / "events.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[-1])
    noise = [
        json.dumps({**row, "seq": row["seq"] + n, "source": "uart", "kind": "line", "board": "z",
                    "data": {"text": "\0\ufffd" + "x" * 100_000}})
        for n in range(500)
    ]  # fmt: skip
    last = json.dumps({**row, "seq": row["seq"] + 500})
    path.write_text("\n".join([*lines[:-1], *noise, last]) + "\n")
    assert path.stat().st_size > 50_000_000
    code, out, err = judged(run / "tests" / UPGRADE)
    assert code == 4
    assert "edited: it has" in err
    assert "UPGRADED (the same)" in out


def test_a_folder_without_evidence_is_no_run(tmp_path):
    with pytest.raises(EvidenceError, match=r"holds no run\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.split(".")[0])
def test_a_run_cut_behind_a_watch_has_no_verdict_that_the_whole_one_has_not(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        events = parse_events(file.read())
    whole = {one.number: one.now for one in judge_again(events, None, ended=True)}
    over = [n for n, event in enumerate(events) if event.kind == "watch_ended"]
    for end in {cut for n in over for cut in (n + 1, n + 2, (n + len(events)) // 2)}:
        for again in judge_again(events[:end], None, ended=False):
            assert again.now in (None, whole[again.number])


def test_a_test_that_its_worker_died_of_has_the_evidence_that_is_left_of_it(run):
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    (died,) = [row for row in rows if row["folder"] == f"tests/{STALL}"]
    died.update(folder=None, word="error", message="worker 'gw0' crashed")
    (run / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(run / "manifest.json", manifest_of(run))
    stored = read_run(run)
    (test,) = [test for test in stored.tests if test.word == "error"]
    assert test.folder == run / "tests" / STALL
    assert len(stored.tests) == 3
    assert stored.marks == ()


@pytest.mark.parametrize(("name", "said"), [("empty", "no evidence in it"), ("x.zip", "unpack")])
def test_what_is_no_evidence_is_told_with_all_that_may_be_judged(tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    zipfile.ZipFile(tmp_path / "x.zip", "w").close()
    code, out, err = judged(tmp_path / name)
    assert (code, out) == (4, "")
    assert said in err
    assert "of a test (it has events.jsonl), of a run (it has run.json), or of several" in err
