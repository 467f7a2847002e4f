"""Boards that are shared: by the workers of a run, and by runs."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_blynk_ota.rig.lease import Lease, state_of
from pytest_blynk_ota.rig.quarantine import Ward

BLYNK_OTA = Path(sys.executable).with_name("blynk-ota")
TWO = "[rig]\nname = 'bench'\nadvertise = '127.0.0.1'\n"
BOARD = "[[board]]\nname = '{}'\nchip = 'esp32c3'\nport = '{}'\ntoken = 'env:TOKEN_{}'\n"


@pytest.fixture
def bench(pytester, monkeypatch, tmp_path):
    """A rack of two boards behind ports that others can take, and its rig file."""
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("TOKEN_a", "a" * 32)
    monkeypatch.setenv("TOKEN_b", "b" * 32)
    process = subprocess.Popen(
        [str(BLYNK_OTA), "virtual", "--json"], stdout=subprocess.PIPE, text=True
    )
    ready = json.loads(process.stdout.readline())
    first, second, *_ = (board["url"] for board in ready["boards"])
    pytester.path.joinpath("rig.toml").write_text(
        TWO + BOARD.format("a", first, "a") + BOARD.format("b", second, "b")
    )
    yield {"a": first, "b": second}
    process.kill()
    process.communicate()


def run(pytester, *words):
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "--rig=rig.toml", *words)


def test_four_workers_share_two_boards_without_an_error(pytester, bench, run_json):
    pytester.makepyfile(
        "import pytest\n@pytest.mark.parametrize('n', range(12))\n"
        "def test_it(board, n): assert board.console.lost is None\n"
    )
    done = run(pytester, "-n4")
    done.assert_outcomes(passed=12)
    assert run_json()["result"] == "ok"
    assert not any(state_of(port).held for port in bench.values())


def test_a_board_of_another_run_is_an_error_that_says_who_has_it(pytester, bench):
    pytester.makepyfile("def test_it(board): pass\n")
    lease = Lease("a", bench["a"])
    done = run(pytester, "--board=a")
    lease.close()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([f"*LeaseHeld: board a (*) is held by pid {os.getpid()} of *"])
    done.stdout.fnmatch_lines(["*--board-wait=600 waits up to ten minutes*"])


def test_a_board_of_another_run_is_waited_for_if_that_is_asked(pytester, bench):
    pytester.makepyfile("def test_it(board): assert board.console.lost is None\n")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_FOR_A_WAITER, bench["a"]], stdout=subprocess.PIPE
    )
    assert holder.stdout.readline() == b"held\n"
    done = run(pytester, "--board=a", "--board-wait=60")
    holder.communicate()
    done.assert_outcomes(passed=1)


HOLD_FOR_A_WAITER = """
import sys, threading
from pytest_blynk_ota.rig.lease import Lease
from pytest_blynk_ota.rig.queue import waiting
lease = Lease("a", sys.argv[1])
print("held", flush=True)
pause = threading.Event()
while not waiting():
    pause.wait(0.05)
lease.close()
"""


def test_waiting_ends_with_who_has_the_board(pytester, bench):
    pytester.makepyfile("def test_it(board): pass\n")
    lease = Lease("a", bench["a"])
    done = run(pytester, "--board=a", "--board-wait=0.3")
    lease.close()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*LeaseHeld: waited 0.3 s for a: board a (*) is held by pid *"])


@pytest.mark.parametrize("wrong", ["soon", "-1", "nan", "inf"])
def test_a_wait_that_is_no_time_is_refused_before_anything(pytester, bench, wrong):
    pytester.makepyfile("def test_it(board): pass\n")
    done = run(pytester, f"--board-wait={wrong}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*--board-wait: expected seconds, as 600, got '{wrong}'*"])


def test_a_board_in_quarantine_is_passed_over_and_refused_by_name(pytester, bench):
    for _ in range(2):
        Ward("a", bench["a"]).strike("the loader did not answer")
    pytester.makepyfile("def test_it(board): assert board.name == 'b'\n")
    run(pytester).assert_outcomes(passed=1)
    done = run(pytester, "--board=a")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        ["*Quarantined: board a is in quarantine: it failed 2 times in a row since *"]
    )
    done.stdout.fnmatch_lines(["*blynk-ota rig doctor tries it again*"])


PHASES = 100


def processes_in(folder):
    """What still runs with this folder as its own: of a run, and what it has started."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.resolve() == folder:
                found.append(link.parent.name)
    return found


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_in_any_phase_leaves_no_lease_process_or_port(pytester, bench):
    pytester.makepyfile(
        "def test_it(board, cloud, delivery):\n    assert board.identity().virtual\n"
    )
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rig=rig.toml"]
    line.append("--board=a")
    others = processes_in(pytester.path)  # the bench itself
    begun = time.monotonic()
    assert subprocess.run(line, cwd=pytester.path, capture_output=True, check=False).returncode == 0
    whole_s = time.monotonic() - begun
    for phase in range(PHASES):
        run = subprocess.Popen(
            line, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(whole_s * phase / PHASES)
        run.kill()
        run.wait()
        assert not state_of(bench["a"]).held, phase
        assert processes_in(pytester.path) == others, phase
    done = subprocess.run(line, cwd=pytester.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
