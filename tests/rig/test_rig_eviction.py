"""Asking a run to give a board back: politely, and only the one that has it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from pytest_blynk_ota.errors import LeaseHeld
from pytest_blynk_ota.rig.eviction import ask_to_end
from pytest_blynk_ota.rig.lease import state_of

HOLDER = """
import os, signal, sys, threading
from pytest_blynk_ota.rig.lease import Lease
if "stubborn" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
lease = Lease("a", "/dev/x", run=os.getppid() if "worker" in sys.argv else None)
print("held", flush=True)
try:
    threading.Event().wait(60)
except KeyboardInterrupt:
    lease.close()
    print("gave it back", flush=True)
"""
WORKER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], "worker"])
try:
    child.wait()
except KeyboardInterrupt:
    child.terminate()
    child.wait()
    print("tidied up", flush=True)
"""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))


@pytest.fixture
def start():
    """Starts a process that takes the lease."""
    started = []

    def one(*words):
        process = subprocess.Popen([sys.executable, "-c", *words], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield one
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_holder_is_interrupted_as_by_ctrl_c(start):
    holder = start(HOLDER)
    assert ask_to_end("a", "/dev/x", patience_s=10).pid == holder.pid
    assert holder.communicate()[0] == b"gave it back\n"
    assert not state_of("/dev/x").held


def test_a_board_that_nobody_holds_needs_nobody_asked():
    assert ask_to_end("a", "/dev/x", patience_s=10) is None


def test_one_that_does_not_end_keeps_its_board(start):
    holder = start(HOLDER, "stubborn")
    with pytest.raises(LeaseHeld, match=rf"held still, 0\.3 s after .*pid {holder.pid} of"):
        ask_to_end("a", "/dev/x", patience_s=0.3)
    assert holder.poll() is None
    assert state_of("/dev/x").held


def test_a_number_that_another_process_has_by_now_is_not_signalled(start, tmp_path, monkeypatch):
    holder = start(HOLDER)
    (label,) = tmp_path.glob("*.json")
    label.write_text(json.dumps({**json.loads(label.read_text()), "pid": os.getpid(), "run": 1}))
    sent = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", lambda *what: sent.append(what))
        with pytest.raises(LeaseHeld, match=rf"held by pid {holder.pid}, and its label does not"):
            ask_to_end("a", "/dev/x", patience_s=1)
    assert sent == []


def test_of_a_worker_its_controller_is_asked(start):
    controller = start(WORKER, HOLDER)
    holder = ask_to_end("a", "/dev/x", patience_s=10)
    assert holder.run == controller.pid != holder.pid
    assert b"tidied up" in controller.communicate()[0]


def test_a_run_of_another_user_is_said_to_be_one(start, monkeypatch):
    start(HOLDER)

    def refuse(_pid, number):
        assert number == signal.SIGINT
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        with pytest.raises(LeaseHeld, match="belongs to another user: ask them"):
            ask_to_end("a", "/dev/x", patience_s=1)
