"""The first two commands of a new user: a demo, and tests of one's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pytest_blynk_ota.cli import app
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.starter import TESTS

BLYNK_OTA = Path(sys.executable).with_name("blynk-ota")


@pytest.mark.nightly
def test_the_demo_shows_four_updates_and_says_where_the_report_is(tmp_path):
    done = subprocess.run([BLYNK_OTA, "demo"], cwd=tmp_path, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    (report,) = tmp_path.glob(".blynk-ota/runs/*/report.html")
    assert f"report: {report.relative_to(tmp_path)}" in done.stdout


def test_init_writes_the_tests_of_the_demo_and_says_how_to_run_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init"])
    assert done.exit_code == 0
    assert "pytest tests/ota " in done.stdout
    assert Path("tests/ota/test_updates.py").read_text() == TESTS.read_text()


def test_init_overwrites_nothing(tmp_path):
    (tmp_path / TESTS.name).write_text("mine")
    done = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert "is there already" in str(done.exception)
    assert (tmp_path / TESTS.name).read_text() == "mine"


@pytest.mark.parametrize("words", [["init", "a/file/below"]])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    Path("a").write_text("")
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError)
    assert "a/file/below" in str(done.exception)
