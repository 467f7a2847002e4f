"""The whole command line: help, exit codes, rig files, images, and evidence judged again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rich_click as click
from accept_bench import ROOT, run
from click.testing import CliRunner

from pytest_blynk_ota.cli import app

TUTORIAL = ROOT / "docs" / "tutorial" / "first-test.md"
RUN_S = 60.0
BAD_RIG = """
[rig]
name = "x"
spede = 1
[[board]]
name = "a"
chip = "esp23"
prot = "p"
profile = "edgnt-old"
"""
MISTAKES = ("rig.spede", "board[0].chip", "board[0].port", "board[0].prot", "board[0].profile")


def every_command(group: click.Command, path: tuple[str, ...] = ()):
    """All commands with the words that call them, the top one included."""
    yield path
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            yield from every_command(group.get_command(context, name), (*path, name))


@pytest.mark.parametrize("words", list(every_command(app)), ids=" ".join)
def test_each_command_helps_with_an_example_of_itself(words):
    done = CliRunner().invoke(app, [*words, "--help"], terminal_width=200)
    assert done.exit_code == 0
    example = done.output.partition("Example:")[2]
    typed = [word for word in words if word.islower()]  # "gate RUN" is typed as "gate" and a run
    assert " ".join(["blynk-ota", *typed]) in example


def test_the_help_lists_the_commands_under_the_names_that_one_types():
    listed = re.findall(r"^│ ([a-z]+) ", run("--help").stdout, re.MULTILINE)
    assert listed == [
        *("clean", "cloud", "demo", "flash", "gate", "history", "image", "init", "judge"),
        *("mutants", "profile", "report", "rig", "serve", "virtual"),
    ]


@pytest.mark.parametrize(
    "words",
    [("servo",), ("serve",), ("serve", "none.bin"), ("judge", "none"), ("rig", "check", "none")],
    ids=" ".join,
)
def test_wrong_usage_ends_with_code_2_and_words(words, tmp_path):
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_bad_rig_file_ends_with_code_2_and_all_its_mistakes(tmp_path):
    (tmp_path / "bad.toml").write_text(BAD_RIG)
    done = run("rig", "check", "bad.toml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    problems = json.loads(done.stdout)["problems"]
    assert len(problems) == len(MISTAKES)
    for key, problem in zip(sorted(MISTAKES), sorted(problems), strict=True):
        assert problem.startswith(f"{key}: ")
        assert problem in done.stderr


def test_what_only_the_virtual_rack_knows_of_its_boards_is_checked_too(tmp_path):
    (tmp_path / "bad.toml").write_text(
        '[rig]\nname = "x"\n[[board]]\nname = "a"\nchip = "esp32"\nport = "virtual"\n'
        'virtual = { revision = "v99.9", bad_sectors = [0x400000] }\n'
    )
    done = run("rig", "check", "bad.toml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    problems = json.loads(done.stdout)["problems"]
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["board a", "virtual.revision"],
        ["board a", "virtual.bad_sectors"],
    ]


def test_the_shipped_rig_files_are_fine(tmp_path):
    for name, boards in (("lab1", ["c3-a", "esp32-b"]), ("virtual", ["c3-a", "esp32-a"])):
        done = run("rig", "check", name, "--json", cwd=tmp_path)
        assert done.returncode == 0
        said = json.loads(done.stdout)
        assert (said["rig"], said["boards"], said["problems"]) == (name, boards, [])


def test_an_image_is_made_renumbered_and_broken_from_the_command_line(tmp_path):
    make = run("image", "make", "new", "--chip", "esp32c3", "-o", "new.bin", cwd=tmp_path)
    patch = run("image", "patch", "new.bin", "--version", "1.2.1", "-o", "next.bin", cwd=tmp_path)
    spoil = run("image", "patch", "next.bin", "--bad-hash", "-o", "bad.bin", cwd=tmp_path)
    info = run("image", "info", "bad.bin", "--json", cwd=tmp_path)
    assert [done.returncode for done in (make, patch, spoil, info)] == [0] * 4
    known = json.loads(info.stdout)
    assert (known["chip"], known["version"]) == ("esp32c3", "1.2.1")
    assert known["problems"] == ["appended SHA-256 is wrong"]
    refused = run("image", "patch", "bad.bin", "--cut", "5000", "-o", "cut.bin", cwd=tmp_path)
    assert refused.returncode == 2
    assert "bad.bin" in refused.stderr


@pytest.fixture(scope="module")
def tutorial_run(tmp_path_factory) -> Path:
    """The evidence of the tutorial's test, run as the tutorial says."""
    project = tmp_path_factory.mktemp("tutorial")
    code = re.search(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    (project / "test_update.py").write_text(code[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_update.py"],
        capture_output=True, text=True, check=False, timeout=RUN_S, cwd=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = (project / ".blynk-ota" / "runs").iterdir()
    return found


@pytest.fixture
def bundle(tutorial_run, tmp_path) -> Path:
    """A copy of the evidence of its one test."""
    [found] = (tutorial_run / "tests").iterdir()
    return Path(shutil.copytree(found, tmp_path / "bundle"))


def judged(*words):
    done = run("judge", *words, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [row for row in rows if "operation" in row]


def test_the_tutorial_works_and_its_run_is_judged_again_as_before(tutorial_run):
    code, rows = judged(tutorial_run)
    assert code == 0
    assert [(row["operation"], row["outcome"]) for row in rows] == [(1, "STALLED"), (2, "UPGRADED")]
    assert all(row["same"] and not row["differs_in"] for row in rows)


def test_an_edited_verdict_is_told_with_code_4(bundle):
    stored = bundle / "verdict.json"
    stored.write_text(stored.read_text().replace('"outcome": "STALLED"', '"outcome": "UPGRADED"'))
    code, rows = judged(bundle)
    assert code == 4
    assert [row["differs_in"] for row in rows] == [["outcome"], []]


def test_a_run_that_was_cut_short_is_incomplete_evidence(bundle):
    (bundle / "verdict.json").unlink()
    code, rows = judged(bundle)
    assert code == 4
    assert [(row["stored"], row["same"]) for row in rows] == [(None, False)] * 2


def test_events_that_lost_an_operation_are_incomplete_evidence(bundle):
    events = bundle / "events.jsonl"
    kept = [line for line in events.read_text().splitlines() if '"kind": "operation"' not in line]
    events.write_text("\n".join(kept) + "\n")
    code, rows = judged(bundle)
    assert code == 4
    assert [(row["outcome"], row["stored"]) for row in rows] == [
        (None, "STALLED"),
        (None, "UPGRADED"),
    ]


def test_an_operation_that_the_rig_failed_ends_with_code_3(bundle):
    events = bundle / "events.jsonl"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    at = next(i for i, event in enumerate(lines) if event["kind"] == "operation")
    failed = lines[: at + 1]
    failed.append({
        **failed[-1], "seq": failed[-1]["seq"] + 1, "source": "rig", "kind": "error",
        "data": {"error": "PortGone", "message": "the port went away"},
    })  # fmt: skip
    failed.append({**lines[-1], "seq": failed[-1]["seq"] + 1, "data": {"verdicts": 0}})
    events.write_text("".join(json.dumps(event) + "\n" for event in failed))
    (bundle / "verdict.json").write_text('{"schema": 1, "verdicts": []}')
    code, rows = judged(bundle)
    assert code == 3
    assert "the port went away" in rows[0]["error"]


def test_evidence_that_is_none_ends_with_code_4(tmp_path):
    done = run("judge", tmp_path)
    assert done.returncode == 4
    assert "events.jsonl" in done.stderr


def test_a_run_cut_short_before_its_first_operation_is_not_said_to_be_the_same(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / "run" / "tests" / name
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("")
    done = run("judge", "run", "run/tests/one", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert [line for line in done.stderr.splitlines() if "no operation" in line] == [
        f"blynk-ota: {bundle}: no operation began, so there is no verdict"
        for bundle in ("run", "run/tests/one")
    ]


def test_a_run_without_an_operation_does_not_hide_behind_a_good_one(bundle, tmp_path):
    (tmp_path / "cut" / "tests" / "one").mkdir(parents=True)
    (tmp_path / "cut" / "tests" / "one" / "events.jsonl").write_text("")
    code, rows = judged(bundle, tmp_path / "cut")
    assert code == 4
    assert [row["outcome"] for row in rows] == ["STALLED", "UPGRADED"]
