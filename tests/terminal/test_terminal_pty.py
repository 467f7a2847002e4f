"""A live line on a real terminal: seen while tests run, gone without a trace after.

The tests that run here write the events of an update themselves: no board is needed to look at
a screen. One, at the end, is on a board of the virtual rack.
"""

import re

import pytest
from tiny_terminal import Watched

CONFTEST = """
import json, pathlib, time
import pytest
from pytest_blynk_ota.evidence.bundle import folder_name
from pytest_blynk_ota.terminal import live

RUN = pathlib.Path(__file__).parent / "run"

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        live.begin(config, config.getoption("blynk_ota_live"), lambda: RUN)

@pytest.fixture
def board(request):
    folder = RUN / "tests" / folder_name(request.node.nodeid)
    folder.mkdir(parents=True)
    def happens(source, kind, **data):
        row = dict(schema=1, seq=1, t=time.monotonic(), wall=0.0, source=source, kind=kind)
        with (folder / "events.jsonl").open("a") as events:
            events.write(json.dumps(row | {"board": "c3-a", "data": data}) + "\\n")
    happens("test", "started")
    happens("ota", "operation", number=1)
    happens("delivery", "request", attempt=1)
    happens("delivery", "response", announced=1000)
    happens("delivery", "progress", acked=500)
    happens("delivery", "fault", index=0, phase="fired", fault="stall 50%")
    return happens

def go(name):
    while not (pathlib.Path(__file__).parent / name).exists():
        time.sleep(0.01)
"""
TESTS = """
import os
from conftest import go

def test_first(board):
    go("1")

def test_second(board):
    print("printed by the test")
    os.write(1, b"written by the test")
    go("2")
    assert False
"""


@pytest.fixture
def watched(pytester):
    """Starts pytest on the tests above, on a terminal."""
    started = []
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=TESTS)

    def start(*arguments: str, **more) -> Watched:
        started.append(Watched(pytester.path, *arguments, **more))
        return started[-1]

    yield start
    for one in started:
        one.close()


def live_line(run: Watched) -> str:
    return next((row for row in run.screen.lines if row.startswith("c3-a ")), "")


def see(run: Watched, test: str) -> None:
    run.until(lambda: test in live_line(run), f"the line of {test}")


WAYS = {
    "plain": [],
    "verbose": ["-v"],
    "quiet": ["-q"],
    "captured in Python": ["--capture=sys"],
    "xdist": ["-n1", "-v"],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_line_follows_each_test_and_leaves_no_trace(pytester, watched, way):
    run = watched(*WAYS[way])
    see(run, "test_first")
    assert re.search(r"downloading +50%  \d+ kB/s  stall 50%  \d+ s$", live_line(run))
    assert len(live_line(run)) < 80
    (pytester.path / "1").touch()
    see(run, "test_second")
    (pytester.path / "2").touch()
    assert run.end() == pytest.ExitCode.TESTS_FAILED
    text = "\n".join(run.screen.lines)
    assert "c3-a " not in text
    assert "1 failed, 1 passed" in text
    if way == "verbose":
        assert re.search(r"^test_it.py::test_first PASSED +\[ 50%\]$", text, re.MULTILINE)
        assert re.search(r"^test_it.py::test_second FAILED +\[100%\]$", text, re.MULTILINE)
    if way == "plain":
        assert re.search(r"^test_it.py \.F +\[100%\]$", text, re.MULTILINE)


@pytest.mark.parametrize(
    "workers",
    [pytest.param([], id="alone"), pytest.param(["-n1"], id="xdist", marks=pytest.mark.nightly)],
)
def test_ctrl_c_leaves_a_clean_screen(watched, workers):
    run = watched("-v", *workers)
    see(run, "test_first")
    run.interrupt()
    assert run.end() == pytest.ExitCode.INTERRUPTED
    text = "\n".join(run.screen.lines)
    assert "c3-a " not in text
    assert "KeyboardInterrupt" in text


def test_a_window_that_gets_narrow_gets_a_shorter_line(watched):
    run = watched()
    see(run, "test_first")
    run.resize(40)
    run.until(lambda: 0 < len(live_line(run)) < 40, "a shorter line")


def test_no_color_is_kept_to(watched):
    run = watched(NO_COLOR="1")
    see(run, "test_first")
    assert "\x1b[36m" not in run.raw
    assert "50%" in live_line(run)


def test_colour_is_there_otherwise(watched):
    run = watched()
    see(run, "test_first")
    assert "\x1b[36m" in run.raw


@pytest.mark.parametrize(
    "way", [["-s"], ["--capture=tee-sys"], ["--ota-live=off"], ["-p", "no:terminal"]]
)
def test_what_tests_print_themselves_has_the_terminal_for_itself(pytester, watched, way):
    run = watched(*way)
    for name in ("1", "2"):
        (pytester.path / name).touch()
    run.end()
    assert "downloading" not in run.raw


def test_a_dumb_terminal_is_left_alone(pytester, watched):
    run = watched(TERM="dumb")
    for name in ("1", "2"):
        (pytester.path / name).touch()
    run.end()
    assert "\x1b[" not in run.raw


BETWEEN = """
import logging
from conftest import go

def test_first(board, capfd):
    go("0")
    with capfd.disabled():
        print("\\nall of this line is the test's own, whatever stood here")
    logging.getLogger().warning("a warning in mid test")
    go("1")
    print("captured")
"""


def test_what_is_written_past_the_capturing_stands_there_whole(pytester, watched):
    pytester.makepyfile(test_it=BETWEEN)
    run = watched("-o", "log_cli=true")
    see(run, "test_first")
    (pytester.path / "0").touch()
    run.until(lambda: "mid test" in "\n".join(run.screen.lines), "the warning")
    see(run, "test_first")
    (pytester.path / "1").touch()
    assert run.end() == 0
    assert "all of this line is the test's own, whatever stood here" in run.screen.lines
    assert any(row.endswith("a warning in mid test") for row in run.screen.lines)
    assert "c3-a " not in "\n".join(run.screen.lines)


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_in_a_log_a_phase_that_lasts_is_one_line(pytester, workers):
    tests = TESTS.replace('go("1")', "import time; time.sleep(1.6)").replace('go("2")', "pass")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=tests)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-v", *workers)
    said = [line for line in done.outlines if "c3-a" in line]
    assert said == ["  c3-a: downloading, download 1 (stall 50%) - test_first"]
    done.stdout.fnmatch_lines(["*test_first*", "*PASSED*" if workers else "*test_first PASSED*"])
    assert "\x1b[" not in done.stdout.str()


def test_in_a_log_without_v_nothing_is_said(pytester):
    tests = TESTS.replace('go("1")', "import time; time.sleep(1.6)").replace('go("2")', "pass")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_it=tests)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert "c3-a" not in done.stdout.str()


REAL = """
from pytest_blynk_ota import Outcome, faults

def test_it(ota):
    assert ota.offer(faults=[faults.stall(after="50%")]).outcome is Outcome.STALLED
"""


def test_a_board_of_the_virtual_rack_is_seen_to_stall(pytester):
    pytester.makepyfile(test_it=REAL)
    run = Watched(pytester.path, "--board=c3-a", columns=100)
    try:
        see(run, "test_it")
        run.until(lambda: "stall after=50%" in live_line(run), "the stall")
        assert re.search(r"downloading +50%", live_line(run))
        assert run.end() == 0
        assert any(row.startswith("blynk-ota: 1 passed; evidence") for row in run.screen.lines)
        assert not live_line(run)
    finally:
        run.close()
