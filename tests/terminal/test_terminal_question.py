"""A question in the middle of a run: seen, answered, and nothing of pytest's own is disturbed."""

import pytest
from tiny_terminal import Watched

TESTS = """
import pathlib
from pytest_blynk_ota.terminal.question import asking

def test_it(pytestconfig):
    print("printed before")
    ask = asking(pytestconfig.pluginmanager.getplugin("capturemanager"))
    answer = ask("board c3-a is yours.")
    print("printed after")
    pathlib.Path("answer").write_text(repr(answer))
"""


@pytest.fixture
def asked(pytester):
    """Starts pytest on the test above, on a terminal."""
    started = []
    pytester.makepyfile(test_it=TESTS)

    def start(*arguments: str) -> Watched:
        started.append(Watched(pytester.path, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("y\n", True), ("YES\n", True), ("\n", False), ("nay\n", False), ("\x04", False)],
    ids=["y", "YES", "enter", "nay", "end of input"],
)
def test_only_a_yes_is_one(asked, pytester, typed, answer):
    run = asked()
    run.until(lambda: any("Go on? [y/N]" in row for row in run.screen.lines), "the question")
    assert "board c3-a is yours." in run.screen.lines
    run.type(typed)
    assert run.end() == 0
    assert (pytester.path / "answer").read_text() == repr(answer)
    assert not any("printed" in row for row in run.screen.lines), "capturing goes on as before"


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_it_is_answered_under_each_way_of_capturing(asked, pytester, capture):
    run = asked(f"--capture={capture}")
    run.until(lambda: any("Go on? [y/N]" in row for row in run.screen.lines), "the question")
    run.type("y\n")
    assert run.end() == 0
    assert (pytester.path / "answer").read_text() == "True"


def test_where_no_terminal_is_there_nobody_has_answered(pytester):
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert done.ret == 0
    assert (pytester.path / "answer").read_text() == "None"
    assert "Go on?" not in done.stdout.str()
