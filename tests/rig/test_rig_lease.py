"""Leases: one board, one holder, freed when the holder dies."""

import subprocess
import sys

import pytest

from pytest_blynk_ota.errors import LeaseHeld
from pytest_blynk_ota.rig.lease import Lease

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
