"""Waiting for a board: who came first gets it first, and one that died is not waited for."""

import subprocess
import sys

import pytest

from pytest_blynk_ota.rig.queue import folder, others_first, standing_in_line, waiting

WAITER = """
import os, sys
from pytest_blynk_ota.rig.queue import standing_in_line
with standing_in_line(sys.argv[1:], os.getpid()):
    print("waits", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))


@pytest.fixture
def waiter():
    """Starts a process that waits for some ports."""
    started = []

    def start(*ports):
        process = subprocess.Popen(
            [sys.executable, "-c", WAITER, *ports], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"waits\n"
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_who_comes_later_has_to_let_the_others_go_first(waiter):
    first = waiter("/dev/x", "/dev/y")
    with standing_in_line(["/dev/x", "/dev/z"], 1) as turn:
        assert not turn.has_come_for("/dev/x")
        assert turn.has_come_for("/dev/z")
        first.communicate()
        assert turn.has_come_for("/dev/x")


def test_one_who_does_not_wait_leaves_a_board_to_those_who_do(waiter):
    first = waiter("/dev/x")
    assert not others_first("/dev/x")
    assert others_first("/dev/y")
    first.communicate()
    assert others_first("/dev/x")


def test_one_that_was_killed_waits_no_more(waiter):
    killed = waiter("/dev/x")
    killed.kill()
    killed.wait()
    assert list(folder().glob("*.json")), "its ticket lies there still"
    assert waiting() == []
    assert others_first("/dev/x")


def test_a_place_in_the_line_leaves_nothing_behind():
    with standing_in_line(["/dev/x"], 1):
        assert [one.ports for one in waiting()] == [("/dev/x",)]
    assert list(folder().iterdir()) == []
