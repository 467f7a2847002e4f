"""Access points behind command lines: switched, given back, and never taken from others."""

import subprocess
import sys

import pytest

from pytest_blynk_ota.errors import NetworkFailed, RigError
from pytest_blynk_ota.rig.network.access_point import CommandAccessPoint

KILLED = """
import sys
from pytest_blynk_ota.rig.network.access_point import CommandAccessPoint
ap = CommandAccessPoint(sys.argv[1:4], ["true"], lambda *_, **__: None)
ap.switch(False)
print("off", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path / "locks"))


@pytest.fixture
def told():
    return []


@pytest.fixture
def access_point(tmp_path, told):
    """One whose commands leave their mark in a file."""

    def record(source, kind, board=None, /, **data):
        told.append((data["what"], marks(tmp_path)))

    return CommandAccessPoint(mark(tmp_path, "on"), mark(tmp_path, "off"), record)


def mark(folder, word):
    return ["sh", "-c", f"echo {word} >> {folder}/marks"]


def marks(folder):
    path = folder / "marks"
    return path.read_text().split() if path.exists() else []


def test_its_time_without_is_told_from_before_it_goes_until_after_it_is_back(access_point, told):
    access_point.switch(False)
    access_point.switch(True)
    assert told == [("ap.off", []), ("ap.on", ["off", "on"])]


def test_a_command_that_fails_is_a_rig_error_with_its_words():
    line = [sys.executable, "-c", "import sys; sys.exit('no route to ap')"]
    with pytest.raises(NetworkFailed, match=r"access point command .* with 1: no route to ap"):
        CommandAccessPoint(line, line, lambda *_, **__: None).switch(False)


def test_it_does_not_go_while_others_need_it(tmp_path, told):
    ap = CommandAccessPoint(
        mark(tmp_path, "on"),
        mark(tmp_path, "off"),
        lambda *_, **data: told.append(data),
        lambda: ["board b (/dev/b) is held by pid 7 of ann"],
    )
    with pytest.raises(RigError, match=r"cannot go: board b .* pid 7 of ann, and would lose its"):
        ap.switch(False)
    assert marks(tmp_path) == told == []


def test_one_that_a_killed_run_switched_off_comes_back_with_the_next_run(tmp_path, access_point):
    line = mark(tmp_path, "on")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *line], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout.readline() == b"off\n"
        assert access_point.leftover() == ""  # it lives, and wants it off
        run.kill()
    assert f"pid {run.pid} of" in access_point.leftover()
    assert marks(tmp_path) == ["on"]
    assert access_point.leftover() == ""
    assert marks(tmp_path) == ["on"]
