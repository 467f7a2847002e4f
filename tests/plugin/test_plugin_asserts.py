"""A failing test says what was expected, what came, why, and how to have it again; and it is so."""

import json
import os
import re
import subprocess

import pytest

TESTS = """
from pytest_blynk_ota import Outcome, faults


def test_outcome(ota):
    result = ota.offer(faults=[faults.random(faults.status(404), seed=ota.seed, rate=1)])
    assert result.outcome is Outcome.UPGRADED, f"seed {ota.seed}"


def test_running(ota):
    result = ota.offer(faults=[faults.status(404)])
    assert result.running == "2.0.0"
"""


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(["--assert=plain"], id="plain"),
        pytest.param(["-n2"], id="xdist", marks=pytest.mark.nightly),
    ],
)
def test_a_failing_assert_says_what_why_where_and_how_again(
    pytester, monkeypatch, run_json, run_folder, way
):
    step = pytester.path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--board=c3-a", *way, "--junitxml=j.xml"
    )
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines_random(
        [
            "E   *expected UPGRADED, got DOWNLOAD_FAILED",
            "E   *result.running: expected '2.0.0', got '1.0.0'",
            "E   *because download 1 ended: refused, HTTP 404*",
            "E   *evidence: .blynk-ota/runs/*/tests/test_it.py.test_running-*",
            "E   *judge again: *blynk-ota judge .blynk-ota/runs/*",
            "E   *run again: *pytest test_it.py::test_running -p no:cacheprovider --board=c3-a",
            "    *result.running: expected '2.0.0', got '1.0.0'",
            "judge all again: *blynk-ota judge .blynk-ota/runs/*",
            "FAILED *::test_outcome - expected UPGRADED, got DOWNLOAD_FAILED, because download 1 *",
            "FAILED *::test_running - result.running: expected '2.0.0', got '1.0.0', because down*",
        ]
    )
    seed = run_json()["seed"]
    done.stdout.fnmatch_lines(f"E   *run again: *::test_outcome *--ota-seed={seed}")
    xml = (pytester.path / "j.xml").read_text()
    assert 'message="expected UPGRADED, got DOWNLOAD_FAILED, because download 1 ' in xml
    assert re.search(r"^\[\[ATTACHMENT\|\.blynk-ota/runs/.+/serial\.log\]\]$", xml, re.MULTILINE)
    table = (run_folder() / "summary.md").read_text()
    assert "test\\_running" in table
    assert "DOWNLOAD\\_FAILED" in table
    assert step.read_text() == table


@pytest.mark.nightly
def test_the_printed_commands_do_what_they_say(pytester, run_folder):
    """Run by a shell, in the folder of the run: the same test, the same dice, the same outcome."""
    (pytester.path / "hil").mkdir()
    pytester.path.joinpath("hil", "test_it.py").write_text(TESTS)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", "test_outcome")
    output = done.stdout.str()
    seed = re.search(r"AssertionError: seed (\d+)", output)[1]
    commands = {
        name: re.search(rf"^E +{name}: (.+)$", output, re.MULTILINE)[1]
        for name in ("judge again", "run again")
    }
    folder = run_folder()

    judged = shell(commands["judge again"], pytester.path)
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert "DOWNLOAD_FAILED" in judged.stdout

    again = shell(commands["run again"], pytester.path)
    assert again.returncode == pytest.ExitCode.TESTS_FAILED, again.stdout + again.stderr
    assert f"AssertionError: seed {seed}" in again.stdout
    assert "expected UPGRADED, got DOWNLOAD_FAILED" in again.stdout
    (second,) = set(pytester.path.glob(".blynk-ota/runs/*")) - {folder}
    first, other = (json.loads((run / "run.json").read_text()) for run in (folder, second))
    assert first["seed"] == other["seed"]
    assert other["counts"] == {"firmware": 1}


def shell(command: str, folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, shell=True, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=120
    )


def test_a_seed_that_is_none_is_refused_before_any_board_is_touched(pytester):
    pytester.makepyfile("def test_it(firmware): pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--ota-seed=seven")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "--ota-seed is a whole number from 0 to 4294967295" in done.stderr.str()
    assert not (pytester.path / ".blynk-ota" / "runs").exists()
