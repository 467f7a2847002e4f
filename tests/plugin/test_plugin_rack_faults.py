"""A rack that dies is an error of the test, never a failure of the firmware, and no verdict."""

import json

import pytest

KILL = """
import os, signal
import pytest
from pytest_blynk_ota import Outcome, RigError, faults


def kill(rig):
    os.kill(rig.virtual.pid, signal.SIGKILL)


"""
IN_MID_DOWNLOAD = {
    "shipment": """
def test_it(rig, ota):
    with ota.shipping() as shipment:
        shipment.wait_for(progress=0.3)
        kill(rig)
    assert shipment.result.outcome is Outcome.UPGRADED
""",
    "expected to fail": """
@pytest.mark.xfail(reason="a known bug of this firmware")
def test_it(rig, ota):
    with ota.offering() as offering:
        offering.wait_for(progress=0.3)
        kill(rig)
""",
    "failing for it": """
def test_it(rig, board, dut):
    kill(rig)
    rig.virtual._process.wait()
    dut.expect_exact("never printed", timeout=0.5)
""",
    "in a group": """
def test_it(rig, board):
    kill(rig)
    rig.virtual._process.wait()
    try:
        rig.check()
    except RigError as error:
        raise ExceptionGroup("two at once", [ValueError("other"), error])
""",
}


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(how, marks=[pytest.mark.nightly] if how == "failing for it" else [])
        for how in IN_MID_DOWNLOAD
    ],
)
def test_a_killed_rack_is_an_error_everywhere(pytester, run_folder, run_json, junit, how):
    pytester.makepyfile(test_it=KILL + IN_MID_DOWNLOAD[how])
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--junitxml=junit.xml")
    done.assert_outcomes(errors=1)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    output = done.stdout.str()
    assert "of the rack: " in output
    assert "was killed (SIGKILL)" in output
    properties, tags = junit()["test_it"]
    assert "error" in tags
    assert "failure" not in tags
    assert "blynk_ota_outcome" not in dict(properties)
    data = run_json()
    assert (data["complete"], data["result"], data["counts"]) == (True, "rig", {"rig": 1})
    for path in run_folder().glob("tests/*/verdict.json"):
        assert json.loads(path.read_text())["verdicts"] == []


def test_after_a_killed_rack_each_test_says_that_it_ended(pytester):
    pytester.makepyfile(
        KILL
        + """
def test_it(rig, board):
    kill(rig)
    rig.virtual._process.wait()

def test_next(board):
    pass
"""
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.stdout.fnmatch_lines(
        ["  *::test_next", "    RigError: the virtual rack (pid *) was killed (SIGKILL)*"]
    )
    assert "plugged in" not in done.stdout.str()


def test_a_rack_that_does_not_start_says_why_in_the_summary(pytester):
    pytester.path.joinpath("short.bin").write_bytes(b"short")
    pytester.path.joinpath("rig.toml").write_text(
        '[rig]\nname = "x"\n[[board]]\nname = "a"\nchip = "esp32c3"\nport = "virtual"\n'
        'virtual = { flash = "short.bin" }\n'
    )
    pytester.makepyfile("def test_it(board): pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--rig=rig.toml")
    done.stdout.fnmatch_lines(
        ["  *::test_it", "    RigError: *ended with 2: board a: flash file short.bin has 5 bytes*"]
    )


@pytest.mark.nightly
def test_under_xdist_a_killed_rack_is_an_error_too(pytester, run_json, junit):
    pytester.makepyfile(test_it=KILL + IN_MID_DOWNLOAD["shipment"] + "\ndef test_no_rig(): pass\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n2", "--junitxml=junit.xml")
    done.assert_outcomes(errors=1, passed=1)
    assert "error" in junit()["test_it"][1]
    assert run_json()["counts"] == {"rig": 1}


def test_a_worker_that_dies_is_no_good_run(pytester, run_json):
    pytester.makepyfile(
        "import os\ndef test_1(firmware): pass\ndef test_2(firmware): os._exit(9)\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n1", "--max-worker-restart=0")
    assert done.ret != 0
    assert run_json()["result"] == "incomplete"
