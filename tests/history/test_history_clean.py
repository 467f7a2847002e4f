"""Old runs removed: never one that is not ours, goes on or is needed, and no result is lost."""

import fcntl
import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from history_runs import result, write_run
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.cli import clean
from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.history import folders
from pytest_blynk_ota.history.fresh import STILL_S
from pytest_blynk_ota.history.retention import DAY_S, KEPT_DAYS, Stored, decide


def now() -> datetime:
    """Asked at each use: a test may run minutes after its file was read."""
    return datetime.now(UTC)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The folder of runs that the command looks into by itself."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".blynk-ota" / "runs"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def add(runs):
    """Adds a run of so many days ago."""

    def add(name, days, word="passed", **more):
        ended = now() - timedelta(days=days)
        told = {"started": (ended - timedelta(hours=1)).isoformat(), "finished": ended.isoformat()}
        told["result"] = {"passed": "ok", "skipped": "ok"}.get(word, word)
        told |= {"id": name, "command": ["pytest"]}
        return write_run(runs / name, [result(word)], **told | more)

    return add


def cleaned(*arguments):
    done = CliRunner().invoke(clean.command, [str(one) for one in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def killed(run, days):
    """Make a run one that was killed so many days ago."""
    data = json.loads((run / "run.json").read_text())
    del data["finished"]
    (run / "run.json").write_text(json.dumps(data | {"complete": False, "result": "incomplete"}))
    (run / "manifest.json").unlink()
    then = (now() - timedelta(days=days)).timestamp()
    for path in (*run.rglob("*"), run):
        os.utime(path, (then, then))


def test_without_yes_nothing_is_touched_and_it_says_what_would_go(runs, add):
    add("old", 100)
    add("last", 99)
    done = cleaned()
    assert "1 would go, 0.0 MB; nothing was touched: --yes removes them" in done.output
    assert "kept: 1 (0.0 MB): the last good run of its rig" in done.output
    assert names(runs) == ["last", "old"]
    assert names(runs.parent) == ["runs"]
    cleaned("--yes", "--dry-run")
    assert names(runs) == ["last", "old"]


def test_each_result_has_its_own_age(runs, add):
    add("last", 0)
    for word, days in (("passed", 14), ("firmware", 90), ("rig", 30)):
        add(f"{word}-old", days + 0.1, word)
        add(f"{word}-new", days - 0.1, word)
    killed(add("cut-old", 0), 30.1)
    killed(add("cut-new", 0), 29.9)
    done = cleaned("--yes")
    assert done.exit_code == 0
    assert names(runs) == ["cut-new", "firmware-new", "last", "passed-new", "rig-new"]
    assert "4 removed" in done.output


def test_days_are_chosen(runs, add):
    add("last", 0)
    for word in ("passed", "firmware", "rig"):
        add(word, 5, word)
    cleaned("--yes", "--ok", 6, "--firmware", 5.5, "--rig", 4.5)
    assert names(runs) == ["firmware", "last", "passed"]


def test_the_command_and_the_rule_agree_on_the_days():
    assert KEPT_DAYS == clean.KEPT_DAYS
    assert set(clean.OPTIONS) == set(KEPT_DAYS)


def test_the_last_good_run_of_each_rig_stays_however_old(runs, add):
    add("a-old", 500)
    add("a-last", 400)
    add("a-red", 390, "firmware")
    add("b-last", 450, rig="lab2")
    add("a-cut", 380, complete=False)
    cleaned("--yes")
    assert names(runs) == ["a-last", "b-last"]


def test_a_run_of_skipped_tests_is_no_good_run_of_its_rig(runs, add):
    add("last", 400)
    add("skipped", 399, "skipped", counts={"skipped": 1})
    cleaned("--yes")
    assert names(runs) == ["last"]


def test_the_results_of_what_was_removed_stay_in_the_history(runs, add):
    add("old", 100, "firmware")
    add("last", 99)
    assert cleaned("--yes").exit_code == 0
    assert names(runs) == ["last"]
    assert '"word": "firmware"' in Path(".blynk-ota/history/old.jsonl").read_text()


def test_a_run_whose_results_cannot_be_kept_stays(runs, add):
    run = add("edited", 100, "firmware")
    (run / "results.jsonl").write_text(result().to_json() + "\n")
    add("old", 100, "firmware")
    done = cleaned("--yes")
    assert done.exit_code == 4
    assert "it stays, for its results are not in the history" in done.stderr
    assert names(runs) == ["edited"]


def test_a_copy_that_contradicts_the_history_stays(runs, add):
    add("a", 100, "firmware", id="same")
    add("b", 100, "rig", id="same")
    done = cleaned("--yes")
    assert (done.exit_code, names(runs)) == (4, ["b"])
    assert "run same is in the history with other content" in done.stderr


def test_a_run_that_goes_on_stays(runs, add):
    killed(add("lately", 0), (STILL_S - 60) / DAY_S)
    killed(add("long-ago", 0), (STILL_S + 60) / DAY_S)
    cleaned("--yes", "--incomplete", 0)
    assert names(runs) == ["lately"]


def test_a_folder_that_a_run_holds_stays(runs, add):
    """As pytest holds one that was named with --evidence."""
    run = add("held", 100, "firmware")
    held = os.open(run, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert "kept: 1 (0.0 MB): it still goes on" in cleaned("--yes").output
    os.close(held)
    cleaned("--yes")
    assert names(runs) == []


def test_a_run_that_ended_in_the_future_stays(runs, add):
    add("future", -3, "firmware")
    assert "it ended later than now: a clock is wrong" in cleaned("--yes", "--firmware", 0).output
    assert names(runs) == ["future"]


def sealed(run):
    """The run with a manifest of what lies in it now."""
    (run / "manifest.json").write_text(json.dumps(manifest_of(run)))
    return run


def write_json(path, **data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


NOTE, EVENTS = "tests/test_a/note", "tests/test_a/events.jsonl"
STRANGERS = {
    "an empty folder": lambda path: path.mkdir(),
    "a file": lambda path: path.write_text("x"),
    "a folder of a project": lambda path: write_json(path / "package.json", name="x"),
    "a run.json of something else": lambda path: write_json(path / "run.json", name="x"),
    "a run.json that is none": lambda path: (path.mkdir(), (path / "run.json").write_text("{")),
    "a note of a user in it": lambda path: (path / "notes.txt").write_text("x"),
    "a folder of a user in it": lambda path: (path / "photos").mkdir(),
    "a project's tests in it": lambda path: (path / "tests" / "test_it.py").write_text("x"),
    "a project's test folder in it": lambda path: write_json(path / "tests" / "x" / "data.json"),
    "a folder with a name of ours": lambda path: (
        (path / "report.html").unlink(missing_ok=True),
        (path / "report.html").mkdir(),
    ),
    "a note in the folder of a test in it": lambda path: (path / NOTE).write_text("x"),
    "a folder in the folder of a test in it": lambda path: write_json(path / NOTE / "data.json"),
    "a link in the folder of a test in it": lambda path: (path / NOTE).symlink_to("/"),
    "evidence that is a link now in it": lambda path: (
        shutil.move(path / EVENTS, path.parent.parent / "events"),
        (path / EVENTS).symlink_to(path.parent.parent / "events"),
    ),
    "a link in a run that was killed": lambda path: (
        killed(path, 1000),
        (path / NOTE).symlink_to("/"),
    ),
    "a link to a run": lambda path: (
        shutil.move(path, path.parent.parent / "elsewhere"),
        path.symlink_to(path.parent.parent / "elsewhere"),
    ),
    "tests that are a link": lambda path: (
        shutil.rmtree(path / "tests"),
        (path / "tests").symlink_to("/"),
    ),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_what_is_not_ours_is_never_touched(runs, add, what):
    path = runs / "it"
    if any(word in what for word in ("in it", "link", "name of ours")):
        add("it", 1000, "firmware")
        (path / "tests" / "test_a").mkdir(parents=True)
        (path / EVENTS).write_text("")
        sealed(path)
    STRANGERS[what](path)
    before = sorted(str(one) for one in runs.parent.rglob("*"))
    done = cleaned("--yes")
    assert "left alone" in done.output
    assert "nothing is old enough to go" in done.output
    assert sorted(str(one) for one in runs.parent.rglob("*")) == before


def test_a_whole_run_as_pytest_leaves_it_is_ours(runs, add):
    run = add("old", 100, "firmware")
    for name in ("report.html", "summary.md", "virtual-rack.log", "virtual-rack-gw12.log"):
        (run / name).write_text("x")
    for name in ("report.html.23692.part", "run.json.12.part", "run.json.77.begun"):
        (run / name).write_text("x")
    (run / "tests" / "empty").mkdir(parents=True)
    (run / "tests" / "test_a").mkdir()
    (run / "tests" / "test_a" / "events.jsonl").write_text("")
    (run / "tests" / "test_a" / "core.elf").write_text("")
    sealed(run)
    for name in ("report.html", "report.html.23692.part"):
        (run / "tests" / "test_a" / name).write_text("x")
    cleaned("--yes")
    assert names(runs) == []


def test_sizes_are_those_of_the_files(runs, add):
    run = add("old", 100, "firmware")
    (run / "virtual-rack.log").write_bytes(b"x" * 1_500_000)
    row = json.loads(cleaned("--json").output)
    expected = sum(path.stat().st_size for path in run.iterdir())
    assert (row["bytes"], row["goes"], row["removed"]) == (expected, True, False)
    assert "1.5 MB" in cleaned().output
    assert json.loads(cleaned("--json", "--yes").output)["removed"] is True
    assert clean.megabytes(2_340_000_000) == "2.34 GB"


def test_a_removal_that_was_interrupted_is_taken_up_again(runs, add, monkeypatch):
    run = add("old", 100, "firmware")
    (run / "tests" / "test_a").mkdir(parents=True)
    (run / "tests" / "test_a" / "events.jsonl").write_text("")
    sealed(run)

    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(folders.shutil, "rmtree", interrupted)
    assert cleaned("--yes").exit_code != 0
    monkeypatch.undo()
    assert names(runs) == [".removed-old"]
    history = runs.parent / "history"
    assert "1 removed" in cleaned(runs, "--history", history, "--yes").output
    assert names(runs) == []


def test_a_run_that_began_in_the_meantime_is_not_removed(runs, add):
    run = add("old", 100, "firmware")
    (stored,), _ = folders.scan(runs, now().timestamp())
    shutil.rmtree(run)
    add("old", 99, "firmware")
    with pytest.raises(EvidenceError, match="another run is in it now"):
        folders.remove(stored, now().timestamp())
    killed(run, 0)
    with pytest.raises(EvidenceError, match="a run goes on in it"):
        folders.remove(stored, now().timestamp())
    (run / "mine.txt").write_text("x")
    with pytest.raises(EvidenceError, match=r"mine\.txt in it is no part of a run"):
        folders.remove(stored, now().timestamp())
    assert names(runs) == ["old"]


def test_a_run_that_cannot_be_removed_is_named(runs, add, monkeypatch):
    run = add("old", 100, "firmware")

    def refuses(self, target):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuses)
    done = cleaned("--yes")
    assert done.exit_code == 4
    assert f"{run.relative_to(runs.parent.parent)}: could not be removed: Permission" in done.stderr
    assert "nothing was removed" in done.stdout
    assert names(runs) == ["old"]


def test_a_folder_that_is_a_run_or_is_missing_is_a_usage_error(runs, add):
    run = add("run", 1)
    with pytest.raises(UsageError, match="is a run itself"):
        cleaned(run)
    with pytest.raises(UsageError, match="there is no such folder"):
        cleaned(runs / "none")


def test_a_run_of_schema_1_has_no_results_to_keep_and_goes_by_its_age(runs, add):
    add("old", 100, "firmware", schema=1, id=None)
    assert cleaned("--yes").exit_code == 0
    assert names(runs) == []


STORED = st.builds(
    Stored,
    path=st.sampled_from([Path("a"), Path("b")]),
    id=st.just("x"),
    rig=st.sampled_from(["lab1", "lab2"]),
    result=st.sampled_from(sorted(KEPT_DAYS)),
    complete=st.booleans(),
    written=st.floats(0, 200 * DAY_S),
    bytes=st.just(1),
    goes_on=st.booleans(),
    passed=st.booleans(),
)


@given(st.lists(STORED, max_size=6))
def test_whatever_runs_there_are_each_rig_keeps_its_last_good_one_and_no_run_that_goes_on_goes(
    runs,
):
    now = 200 * DAY_S
    decided = decide(runs, now, KEPT_DAYS)
    assert [one.run for one in decided] == runs
    assert not any(one.goes and one.run.goes_on for one in decided)
    for rig in ("lab1", "lab2"):
        good = [one for one in decided if one.run.rig == rig and one.run.is_good]
        ended = [one for one in good if not one.run.goes_on]
        if ended:
            newest = max(one.run.written for one in ended)
            assert any(not one.goes for one in ended if one.run.written == newest)
    older = decide([replace(one, written=one.written / 2) for one in runs], now, KEPT_DAYS)
    gone = sum(one.goes for one in decided)
    assert sum(one.goes for one in older) >= gone - 2  # at most one a rig is kept as its last
