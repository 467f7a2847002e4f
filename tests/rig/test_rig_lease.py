"""Leases: one board, one holder, freed when the holder dies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_blynk_ota.errors import LeaseHeld
from pytest_blynk_ota.rig import lease as leases
from pytest_blynk_ota.rig.lease import Lease, left_behind, lock_folder, state_of

HOLDER = """
import sys
from pytest_blynk_ota.rig.lease import Lease
lease = Lease("a", "/dev/x")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))


@pytest.fixture
def holder():
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_held_board_says_who_has_it(holder):
    with pytest.raises(LeaseHeld, match=rf"board a \(/dev/x\) is held by pid {holder.pid} of"):
        Lease("a", "/dev/x")


def test_a_board_is_free_at_once_when_its_holder_is_killed(holder):
    holder.kill()
    holder.wait()
    Lease("a", "/dev/x").close()


def test_a_closed_lease_frees_the_board():
    Lease("a", "/dev/x").close()
    Lease("a", "/dev/x").close()


def test_two_boards_have_two_leases():
    first, second = Lease("a", "/dev/x"), Lease("b", "/dev/y")
    first.close()
    second.close()


def test_a_user_without_a_name_gets_a_lease(monkeypatch, tmp_path):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654)
    lease = Lease("a", "/dev/x")
    label = next(tmp_path.glob("*.json")).read_text()
    lease.close()
    assert "user 987654" in label


def test_a_look_says_who_holds_a_board_and_takes_nothing(holder):
    state = state_of("/dev/x")
    assert state.held
    assert state.is_sure
    assert state.pid == state.holder.pid == holder.pid
    assert state_of("/dev/x").held
    assert not state_of("/dev/y").held


def test_a_look_at_what_a_killed_holder_left_says_free_and_who_it_was(holder):
    holder.kill()
    holder.wait()
    state = state_of("/dev/x")
    assert not state.held
    assert state.holder.pid == holder.pid
    assert left_behind("/dev/x")


def test_a_label_of_another_process_is_not_taken_for_the_holder(holder, tmp_path):
    (label,) = tmp_path.glob("*.json")
    label.write_text(json.dumps({**json.loads(label.read_text()), "pid": os.getpid()}))
    state = state_of("/dev/x")
    assert state.held
    assert state.pid == holder.pid
    assert not state.is_sure


def test_where_the_system_keeps_no_list_a_look_is_a_try(holder, monkeypatch, tmp_path):
    monkeypatch.setattr(leases, "LOCKS", tmp_path / "none")
    assert state_of("/dev/x").held
    assert not state_of("/dev/y").held
    holder.kill()
    holder.wait()
    assert not state_of("/dev/x").held


def test_a_label_that_says_nothing_is_no_holder(holder, tmp_path):
    (label,) = tmp_path.glob("*.json")
    for text in ("", "{", "[]", '{"pid": "x"}', '{"pid": 1}', '{"pid": null}'):
        label.write_text(text)
        assert state_of("/dev/x").holder is None
        with pytest.raises(LeaseHeld, match="another process, which left no label"):
            Lease("a", "/dev/x")


AS_NOBODY, AS_THIRD = 65534, 65533
PROTECTED = Path("/proc/sys/fs/protected_regular")


@pytest.fixture
def protected():
    """Linux's rule for files of others in folders with the sticky bit, as Debian has it on."""
    before = PROTECTED.read_text()
    try:
        PROTECTED.write_text("2")
    except OSError as error:
        pytest.skip(f"cannot set {PROTECTED}: {error}")
    yield
    PROTECTED.write_text(before)


def as_nobody(what, user=AS_NOBODY):
    """Do something as another user; the text that it returns, or the error."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(user)
            os.setuid(user)
            said = what()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def take_and_give_back():
    lease = Lease("a", "/dev/x")
    said = f"mine, left by {lease.left_by}" if lease.left_by else "mine"
    lease.close()
    return said


@pytest.fixture
def for_all(tmp_path, monkeypatch):
    """A lock folder that other users reach, as in /tmp."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    folder = Path("/tmp") / f"locks-of-{tmp_path.parent.name}-{tmp_path.name}"
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(folder))
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_two_users_lease_one_board_in_turn(for_all, protected):
    Lease("a", "/dev/x").close()
    assert as_nobody(take_and_give_back) == "mine"
    mine = Lease("a", "/dev/x")
    assert f"LeaseHeld: board a (/dev/x) is held by pid {os.getpid()}" in as_nobody(
        take_and_give_back
    )
    mine.close(done=False)
    assert f"mine, left by pid {os.getpid()}" in as_nobody(take_and_give_back)
    assert not left_behind("/dev/x"), "another user's label stays, and must be empty"
    assert as_nobody(take_and_give_back) == "mine"
    assert lock_folder() == for_all


def test_a_third_user_leases_what_a_second_one_has_had(for_all, protected):
    Lease("b", "/dev/y").close()
    assert as_nobody(take_and_give_back) == "mine"
    assert as_nobody(take_and_give_back, AS_THIRD) == "mine"
    assert as_nobody(take_and_give_back) == "mine"
