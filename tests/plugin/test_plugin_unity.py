"""Unity's test menus, as ESP-IDF's test apps print them, through the ``dut`` of a board."""

from __future__ import annotations

import sys
import threading
import time
import xml.etree.ElementTree as ET

import pexpect
import pytest

from pytest_blynk_ota import embedded

MENU = """
Press ENTER to see the list of tests.
"""
CASES = """
Here's the test menu, pick your combo:
(1)\t"adds" [math]
(2)\t"divides" [math][timeout=10]

Enter test for running.
"""
RESULTS = {
    "1": "Running adds...\n/m.c:7:adds:PASS\nTest ran in 4ms\n",
    "2": "Running divides...\nby hunter22secret\n/m.c:9:divides:FAIL: 2 was 3\nTest ran in 1ms\n",
}
SUMMARY = """-----------------------
1 Tests {failed} Failures 0 Ignored
{word}
Enter next test, or 'enter' to see menu
"""


class TestApp:
    """A board that runs a Unity test app, behind a console of memory."""

    __test__ = False

    def __init__(self) -> None:
        self.console = self
        self.resets = 0
        self._ears = []

    def attach(self, ear):
        self._ears.append(ear)

    def detach(self, ear):
        self._ears.remove(ear)

    def say(self, text: str) -> None:
        for ear in self._ears:
            ear(text.replace("\n", "\r\n").encode())

    def reset(self) -> None:
        self.resets += 1
        self.say(MENU)

    def write(self, text: str) -> None:
        assert text.endswith("\n")
        number = text.strip()
        if not number:
            self.say(CASES)
        elif number in RESULTS:
            bad = number == "2"
            self.say(
                RESULTS[number] + SUMMARY.format(failed=int(bad), word="FAIL" if bad else "OK")
            )


def clean(text: str) -> str:
    return text.replace("hunter22secret", "[secret]")


@pytest.fixture
def app(tmp_path):
    app = TestApp()
    with embedded.dut_on(app, tmp_path, "a test", time.monotonic, clean) as (dut, pump):
        app.dut = dut
        app.reset()
        pump.start(since=0.0)
        yield app


def test_each_case_of_the_menu_is_run_and_its_result_is_kept(app, tmp_path):
    app.dut.run_all_single_board_cases(timeout=5)
    assert [case.name for case in app.dut.test_menu] == ["adds", "divides"]
    results = {case.name: case.result for case in app.dut.testsuite.testcases}
    assert results == {"adds": "PASS", "divides": "FAIL"}
    assert app.resets == 2  # once by us, and once after the menu was read


def test_what_unity_said_stands_in_the_evidence_without_secrets(tmp_path):
    app = TestApp()
    with embedded.dut_on(app, tmp_path, "t", time.monotonic, clean) as (dut, pump):
        app.reset()
        pump.start(since=0.0)
        dut.run_all_single_board_cases(timeout=5)
    text = (tmp_path / embedded.UNITY).read_text()
    assert "hunter22secret" not in text
    cases = ET.fromstring(text).iter("testcase")
    assert [case.get("name") for case in cases] == ["adds", "divides"]


def test_without_unity_cases_there_is_no_file_of_them(tmp_path):
    with embedded.dut_on(TestApp(), tmp_path, "t", time.monotonic) as (_, pump):
        pump.start(since=0.0)
    assert not (tmp_path / embedded.UNITY).exists()


def test_without_pytest_embedded_idf_a_dut_has_no_menu_and_still_expects(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytest_embedded_idf.unity_tester", None)
    app = TestApp()
    with embedded.dut_on(app, tmp_path, "t", time.monotonic) as (dut, pump):
        pump.start(since=0.0)
        threading.Timer(0.05, app.reset).start()
        dut.expect_exact("Press ENTER", timeout=5)
        assert not hasattr(dut, "test_menu")
        with pytest.raises(pexpect.TIMEOUT):
            dut.expect_exact("never", timeout=0.05)
