"""A run that was forged in part is no good run, though the forger made its manifest anew."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from pytest_blynk_ota import runs
from pytest_blynk_ota.cli import judge, report
from pytest_blynk_ota.evidence import chain
from pytest_blynk_ota.evidence.manifest import manifest_of
from pytest_blynk_ota.evidence.results import TestResult, counted
from pytest_blynk_ota.evidence.run import RUN_SCHEMA, read_run
from pytest_blynk_ota.evidence.writer import Results, write_json

STORED = Path(__file__).parents[1] / "data" / "evidence" / "schema1" / "run"
STALL = "test_update.py.test_a_stall-a09eb0"
UPGRADE = "test_update.py.test_an_upgrade-ecfede"


def made(folder: Path, run_id: str, words: dict[str, str], *, complete: bool = True) -> Path:
    """A run of today's format with the stored evidence of these tests."""
    head = json.loads((STORED / "run.json").read_text())
    start = {"schema": RUN_SCHEMA, "id": run_id, "complete": False, "result": "incomplete"}
    del head["finished"]
    folder.mkdir()
    (folder / "virtual-rack.log").write_text("ready\n")
    write_json(folder / "run.json", head | start)
    lines = Results(folder)
    for name, word in words.items():
        where = shutil.copytree(STORED / "tests" / name, folder / "tests" / name)
        first, rest = (where / "events.jsonl").read_text().split("\n", 1)
        row = json.loads(first)
        row["data"]["run"] = run_id
        (where / "events.jsonl").write_text(f"{json.dumps(row)}\n{rest}")
        test_id = row["data"]["id"]
        lines.add([TestResult(id=test_id, folder=f"tests/{name}", word=word, seconds=1.0)])
    tally = SimpleNamespace(
        kind="virtual",
        counts=lambda: counted(lines.told),
        told=lambda: {
            "collected": len(words) + (not complete),
            "ended": len(lines.told),
            "results": lines.end(),
        },
    )
    runs.end(folder, tally, complete=complete)
    return folder


@pytest.fixture
def good(tmp_path):
    return made(tmp_path / "good", "0" * 16, {STALL: "passed", UPGRADE: "passed"})


@pytest.fixture
def failed(tmp_path):
    return made(tmp_path / "failed", "1" * 16, {STALL: "firmware", UPGRADE: "passed"})


@pytest.fixture
def stopped(tmp_path):
    return made(tmp_path / "stopped", "2" * 16, {UPGRADE: "passed"}, complete=False)


def codes(run: Path) -> tuple[int, int]:
    """What ``judge`` and ``report --exit-code`` answer."""
    done = [
        CliRunner().invoke(judge.command, [str(run)]),
        CliRunner().invoke(report.command, [str(run), "--exit-code"]),
    ]
    assert all(isinstance(one.exception, SystemExit | None) for one in done), done
    return done[0].exit_code, done[1].exit_code


def head(run: Path, **new) -> None:
    """Edit run.json; None takes a key out."""
    data = json.loads((run / "run.json").read_text()) | new
    write_json(run / "run.json", {key: one for key, one in data.items() if one is not None})


def rows(run: Path, edit: Callable[[list[dict]], list[dict]]) -> None:
    """Edit results.jsonl."""
    path = run / "results.jsonl"
    lines = edit([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def without_the_stall(run: Path) -> None:
    shutil.rmtree(run / "tests" / STALL)
    rows(run, lambda lines: lines[1:])


def fits(run: Path, **more) -> None:
    """All that run.json says of its tests as one who knows the keys would write it."""
    words = [json.loads(one) for one in (run / "results.jsonl").read_text().splitlines()]
    counts = dict(counted((one["id"], one["word"]) for one in words))
    head(run, result="ok", complete=True, counts=counts, ended=len(words), **more)


def another(run: Path) -> Path:
    return made(run.parent / "other", "9" * 16, {STALL: "passed", UPGRADE: "passed"})


def all_but(run: Path, schema: int) -> None:
    """What a run of an older schema has not."""
    for name in ("manifest.json", "results.jsonl"):
        (run / name).unlink()
    late = ("id", "digest", "results", "collected", "ended", "logs")
    head(run, schema=schema, **dict.fromkeys(late))


def swap(run: Path, name: str) -> None:
    one, other = (run / "tests" / test / name for test in (STALL, UPGRADE))
    text = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(text)


def in_events(run: Path, old: str, new: str) -> None:
    path = run / "tests" / UPGRADE / "events.jsonl"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def cut_events(run: Path) -> None:
    path = run / "tests" / UPGRADE / "events.jsonl"
    path.write_text("".join(path.read_text().splitlines(True)[:-5]))


OF_FAILED = {
    "the failed test is gone": without_the_stall,
    "it is gone, and run.json fits": lambda run: (without_the_stall(run), fits(run)),
    "it is gone, run.json fits, and claims one line": lambda run: (
        without_the_stall(run),
        fits(
            run, results={"lines": 1, "last": json.loads((run / "run.json").read_text())["digest"]}
        ),
    ),
    "its word is another": lambda run: (
        rows(run, lambda lines: [one | {"word": "passed"} for one in lines]),
        fits(run),
    ),
    "its word is another, in run.json alone": lambda run: head(run, result="ok"),
    "its line is gone, its folder not": lambda run: (rows(run, lambda one: one[1:]), fits(run)),
    "schema 1 is claimed": lambda run: head(run, schema=1, result="ok"),
    "schema 2 is claimed": lambda run: (without_the_stall(run), fits(run, schema=2)),
    "schema 1 is claimed, and what came later is gone": lambda run: (
        all_but(run, 1),
        head(run, result="ok"),
    ),
    "it has the results of another run": lambda run: (
        shutil.copy(another(run) / "results.jsonl", run),
        fits(run),
    ),
    "it has the results and evidence of another run": lambda run: (
        shutil.copy(another(run) / "results.jsonl", run),
        shutil.rmtree(run / "tests"),
        shutil.copytree(run.parent / "other" / "tests", run / "tests"),
        fits(run),
    ),
}
OF_GOOD = {
    "no results": lambda run: (run / "results.jsonl").unlink(),
    "empty results": lambda run: (run / "results.jsonl").write_text(""),
    "no results and no tests": lambda run: (
        (run / "results.jsonl").write_text(""),
        shutil.rmtree(run / "tests"),
        fits(run, results={"lines": 0, "last": ""}),
    ),
    "lines in another order": lambda run: rows(run, lambda lines: lines[::-1]),
    "a line twice": lambda run: rows(run, lambda lines: [*lines, lines[-1]]),
    "two lines for one folder": lambda run: rows(
        run, lambda lines: [lines[0], lines[1] | {"folder": lines[0]["folder"]}]
    ),
    "an id": lambda run: rows(run, lambda lines: [lines[0] | {"id": "x"}, *lines[1:]]),
    "seconds": lambda run: rows(run, lambda lines: [*lines[:-1], lines[-1] | {"seconds": 9.0}]),
    "verdicts swapped": lambda run: swap(run, "verdict.json"),
    "logs swapped": lambda run: swap(run, "serial.log"),
    "downloads swapped": lambda run: swap(run, "http.jsonl"),
    "a log emptied": lambda run: (run / "tests" / UPGRADE / "serial.log").write_text(""),
    "a file more": lambda run: (run / "tests" / UPGRADE / "core.elf").write_text("x"),
    "a test more": lambda run: shutil.copytree(run / "tests" / STALL, run / "tests" / "more"),
    "an event edited": lambda run: in_events(run, '"POWERON"', '"SW"'),
    "the times of events": lambda run: in_events(run, '"wall": 1', '"wall": 2'),
    "events cut": cut_events,
    "a test of another run": lambda run: (
        shutil.rmtree(run / "tests" / STALL),
        shutil.copytree(another(run) / "tests" / STALL, run / "tests" / STALL),
    ),
    "the rig": lambda run: head(run, rig="lab1"),
    "what the boards are made of": lambda run: head(run, rig_kind="real"),
    "the firmware": lambda run: head(run, firmware={}),
    "the command": lambda run: head(run, command=["pytest"]),
    "when it began": lambda run: head(run, started="2027-01-01T00:00:00+00:00"),
    "when it ended": lambda run: head(run, finished="2027-01-01T00:00:00+00:00"),
    "its id": lambda run: head(run, id="f" * 16),
    "its end": lambda run: head(run, finished=None, digest=None),
    "how many were collected": lambda run: head(run, collected=9),
    "the rack's log": lambda run: (run / "virtual-rack.log").write_text("died\n"),
    "no log of the rack": lambda run: (run / "virtual-rack.log").unlink(),
    "no digest": lambda run: head(run, digest=None),
    "run.json of another run": lambda run: shutil.copy(another(run) / "run.json", run),
}
OF_STOPPED = {
    "it is complete": lambda run: head(run, complete=True, result="ok"),
    "it is complete, and nothing more was collected": lambda run: fits(run, collected=1),
    "it is complete, and was never ended": lambda run: (
        fits(run, finished=None, digest=None),
        (run / "manifest.json").unlink(),
    ),
}


def test_a_run_that_nobody_touched_is_as_good_as_it_says(good, failed, stopped):
    assert codes(good) == (0, 0)
    assert codes(good / "tests" / UPGRADE)[0] == 0
    assert codes(failed) == (0, 1)
    assert codes(stopped) == (0, 4)
    assert [read_run(run).marks for run in (good, failed, stopped)] == [(), (), ()]


@pytest.mark.parametrize("anew", [False, True], ids=["manifest left", "manifest made anew"])
@pytest.mark.parametrize(
    ("kind", "what"),
    [("failed", what) for what in OF_FAILED]
    + [("good", what) for what in OF_GOOD]
    + [("stopped", what) for what in OF_STOPPED],
)
def test_a_run_that_was_forged_in_part_is_named(request, kind, what, anew):
    run = request.getfixturevalue(kind)
    {"failed": OF_FAILED, "good": OF_GOOD, "stopped": OF_STOPPED}[kind][what](run)
    if anew and (run / "manifest.json").exists():
        write_json(run / "manifest.json", manifest_of(run))
    judged, reported = codes(run)
    assert judged == 4
    assert reported in (1, 4)


def all_digests_anew(run: Path) -> None:
    """As one does it who knows the format: only what the files say can tell on him now."""
    data = json.loads((run / "run.json").read_text())
    last, lines = chain.of_start(data), []
    for line in (run / "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        row |= {"before": last, "evidence": chain.of_test(run / row["folder"])}
        lines.append(json.dumps(row))
        last = chain.of_line(lines[-1].encode())
    (run / "results.jsonl").write_text("".join(f"{line}\n" for line in lines))
    data["results"] = {"lines": len(lines), "last": last}
    write_json(run / "run.json", data | {"digest": chain.of_run(data)})
    write_json(run / "manifest.json", manifest_of(run))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("failed", "it is gone, and its counts are not"),
        ("failed", "its word is another, in run.json alone"),
        ("good", "no results and no tests"),
        ("good", "how many were collected"),
        ("good", "a test of another run"),
        ("good", "two lines for one folder"),
        ("good", "a test more"),
        ("good", "events cut"),
        ("good", "its end"),
    ],
)
def test_what_the_files_say_tells_on_a_forger_who_made_all_digests_anew(request, kind, what):
    run = request.getfixturevalue(kind)
    forgeries = OF_FAILED | OF_GOOD | {"it is gone, and its counts are not": without_the_stall}
    forgeries[what](run)
    all_digests_anew(run)
    judged, reported = codes(run)
    assert judged == 4
    assert reported in (1, 4)


def test_a_verdict_that_its_events_do_not_lead_to_is_named_whatever_the_digests(good):
    swap(good, "verdict.json")
    all_digests_anew(good)
    assert codes(good)[0] == 4


def test_what_is_left_of_a_run_as_schema_1_has_no_good_end(good):
    """Nobody can tell it from a run of schema 1; but that one says of no test what it came to."""
    all_but(good, 1)
    for path in good.glob("tests/*/events.jsonl"):
        path.write_text(path.read_text().replace(f', "run": "{"0" * 16}"', ""))
    assert codes(good) == (0, 4)


def test_the_page_of_one_test_is_no_change_of_the_run(good):
    codes(good / "tests" / UPGRADE)
    assert (good / "tests" / UPGRADE / "report.html").exists()
    assert codes(good) == codes(good) == (0, 0)


def test_what_others_keep_in_the_folder_is_none_of_the_run(good):
    """A run may be told to write into a project's own folder."""
    (good / "src").mkdir()
    for name in ("notes.txt", "src/main.c"):
        (good / name).write_text("mine")
    assert manifest_of(good) == json.loads((good / "manifest.json").read_text())
    assert codes(good) == (0, 0)


def test_a_file_that_an_earlier_manifest_names_beside_those_is_compared_all_the_same(good):
    (good / "notes.txt").write_text("mine")
    manifest = manifest_of(good)
    manifest["files"]["notes.txt"] = {"sha256": "0" * 64, "bytes": 4}
    write_json(good / "manifest.json", manifest)
    assert [(mark.file, str(mark.flaw)) for mark in read_run(good).marks] == [
        ("notes.txt", "edited")
    ]


@pytest.mark.parametrize("name", ["serial.log", "verdict.json", "events.jsonl"])
def test_evidence_that_was_edited_is_named_without_a_manifest_too(good, name):
    (good / "manifest.json").unlink()
    (good / "tests" / UPGRADE / name).write_text((good / "tests" / STALL / name).read_text())
    marks = [mark.file for mark in read_run(good).marks]
    assert any(file.startswith(f"tests/{UPGRADE}") for file in marks)


@pytest.mark.parametrize("anew", [False, True], ids=["manifest left", "manifest made anew"])
@pytest.mark.parametrize("what", ["a log emptied", "logs swapped", "an event edited"])
def test_one_test_of_a_run_that_was_forged_is_named_too(good, what, anew):
    OF_GOOD[what](good)
    if anew:
        write_json(good / "manifest.json", manifest_of(good))
    assert codes(good / "tests" / UPGRADE)[0] == 4


def test_a_killed_run_shows_where_its_results_were_edited(good):
    late = ("finished", "digest", "results", "collected", "ended", "logs")
    head(good, complete=False, **dict.fromkeys(late))
    (good / "manifest.json").unlink()
    assert [mark.file for mark in read_run(good).marks] == ["run.json"]  # it was killed, it says
    rows(good, lambda lines: [lines[0] | {"word": "skipped"}, lines[1]])
    texts = [mark.text for mark in read_run(good).marks]
    assert "line 2 does not follow the line before it" in texts


def test_all_of_it_made_anew_is_not_noticed(failed):
    """The limit of digests without a key, as docs/reference/evidence.md tells it."""
    forged = made(failed.parent / "forged", "1" * 16, {UPGRADE: "passed"})
    assert codes(forged) == (0, 0)
