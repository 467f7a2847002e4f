"""pytest-embedded's ``dut`` on our boards, its own services beside us, and async tests."""

import json
import subprocess
import sys

import pytest
from plugin_runs import living, wait_until

QUIET = ("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestExperimentalApiWarning")

UNCHANGED = r"""
import re
import pexpect
import pytest
from pytest_embedded import Dut


def test_boots_and_answers(dut: Dut) -> None:
    dut.expect(r"rst:0x1 \((\w+)\),boot:0x", timeout=5)  # the first boot after the flashing
    assert b"invalid header" not in dut.pexpect_proc.before
    dut.expect_exact("Ready (ping", timeout=5)
    dut.write("devinfo\r\n")
    match = dut.expect(re.compile(rb'"fw_ver":"(\d+\.\d+\.\d+)"'), timeout=5)
    assert match.group(1) == b"1.0.0"
    dut.write("reboot\r\n")
    dut.expect(["rst:0xc", "never"], timeout=5)
    with pytest.raises(pexpect.TIMEOUT, match="Not found"):
        dut.expect_exact("no such line", timeout=0.2)


@pytest.mark.parametrize("word", ["devinfo", "reboot"])
def test_each_test_has_a_dut_of_its_own(dut, word):
    dut.expect_exact("rst:0x", timeout=5)
    dut.write(word)  # as to a serial port: the end of the line is added
"""
BESIDE_OTA = """
from pytest_blynk_ota import Outcome


def test_unread(dut, console, ota):
    for _ in range(400):  # far more than a socket takes
        console.write("help\\r\\n")
    console.expect("Available commands", timeout=100)
    assert ota.ship().outcome is Outcome.UPGRADED
    dut.expect_exact("Available commands", timeout=5)


def test_read_at_once(ota, dut):
    assert ota.ship().outcome is Outcome.UPGRADED
    dut.expect_exact("rst:0x", timeout=5)
"""


def test_a_test_written_for_pytest_embedded_runs_unchanged(pytester):
    pytester.makepyfile(test_it=UNCHANGED)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=3)


def test_a_dut_and_an_update_share_the_console(pytester):
    pytester.makepyfile(test_it=BESIDE_OTA)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=2)


def test_a_dut_that_waits_in_vain_fails_with_the_last_lines(pytester):
    pytester.makepyfile(
        test_it="def test_it(dut):\n    dut.expect_exact('no such line', timeout=1)\n"
    )
    done = pytester.runpytest_subprocess(*QUIET)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*- board -*", "last lines of the log:", "*evidence: *"])


@pytest.fixture
def foreign_port():
    """The URL of a virtual board that no session of ours holds."""
    command = [sys.executable, "-m", "pytest_blynk_ota.virtual", "--json", "--lifeline"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as rack:
        assert rack.stdout is not None
        ready = json.loads(rack.stdout.readline())
        yield ready["boards"][0]["url"]
        rack.communicate(timeout=10)


HELD = """
import time
from pathlib import Path


def test_it(dut):
    assert type(dut.serial).__name__ == "Serial"
    dut.expect_exact("invalid header", timeout=20)  # its flash is empty
    Path("begun").touch()
    while not Path("done").exists():
        time.sleep(0.02)
"""


def services(background, port: str):
    """A session with pytest-embedded's serial service, in the middle of its test."""
    run = background(HELD, *QUIET, "--embedded-services=serial", f"--port={port}")
    wait_until(
        lambda: (run.folder / "begun").exists() or run.process.poll() is not None, "the test"
    )
    assert run.process.poll() is None, run.text()
    return run


def test_services_of_pytest_embedded_are_its_own(background, foreign_port):
    run = services(background, foreign_port)
    (run.folder / "done").touch()
    assert run.process.wait(30) == 0, run.text()
    assert not (run.folder / ".blynk-ota").exists()


def test_processes_of_pytest_embedded_do_not_outlive_a_killed_session(background, foreign_port):
    run = services(background, foreign_port)
    children = run.children
    assert len(children) > 1, "its manager and its listener"
    run.process.kill()
    run.process.wait(10)
    wait_until(lambda: not living(children), f"the end of {children}", 10)


ASYNC = """
import asyncio
import pytest
from pytest_blynk_ota import Outcome


@pytest.mark.asyncio
async def test_on_a_thread(ota):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    beside = asyncio.create_task(tick())
    result = await asyncio.to_thread(ota.ship)
    beside.cancel()
    assert result.outcome is Outcome.UPGRADED
    assert ticks > 10


@pytest.mark.asyncio
async def test_directly(ota):
    assert ota.offer().outcome is Outcome.UPGRADED
"""


def test_async_tests_use_the_same_fixtures(pytester):
    pytester.makepyfile(test_it=ASYNC)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=2)
