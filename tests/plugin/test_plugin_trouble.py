"""New images in trouble, judged over the wire."""

from __future__ import annotations

import pytest

TESTS = """
import pytest
from pytest_blynk_ota import Outcome


def test_task_watchdog(ota, firmware):
    crash = {"when": "before_login", "how": "task_wdt"}
    result = ota.ship(firmware.behaving(confirm="login", crash=crash))
    assert result.outcome is Outcome.REVERTED
    assert result.crashes[0].startswith("task watchdog (IDLE0 (CPU 0) did not reset it; ")
    assert result.crashes[0].endswith(" in boot 1, new (1.1.0)")


def test_silent_watchdog(ota, firmware):
    crash = {"when": "before_login", "how": "rtc_wdt"}
    result = ota.offer(firmware.behaving(confirm="init", crash=crash), timeout=120)
    assert result.outcome is Outcome.BOOT_LOOP
    assert not result.crashes


def test_hang(ota, firmware):
    crash = {"when": "before_login", "how": "hang"}
    result = ota.offer(firmware.behaving(confirm="init", crash=crash), timeout=60)
    assert result.outcome is Outcome.OFFLINE
    assert not result.crashes
"""


UNCONFIRMED = """
import pytest
from pytest_blynk_ota import Outcome


@pytest.mark.finding("confirmation not seen")
@pytest.mark.parametrize(
    ("reports", "outcome"),
    [("own", Outcome.UPGRADED), ("nothing", Outcome.NOT_REPORTED),
     ({"version": "9.9.9"}, Outcome.MISREPORTED)],
)
def test_it(ota, firmware, reports, outcome):
    result = ota.offer(firmware.behaving(confirm="never", reports=reports))
    assert result.outcome is outcome
    assert [finding.name for finding in result.findings] == ["confirmation not seen"]
"""


def test_new_that_never_confirms_itself_is_found_out_whatever_it_reports(pytester):
    pytester.makepyfile(test_it=UNCONFIRMED)
    done = pytester.runpytest_subprocess("--rig=virtual", "--board=esp32-a")
    done.assert_outcomes(passed=3)


@pytest.mark.nightly
def test_each_kind_of_trouble_has_the_outcome_that_it_deserves(pytester):
    pytester.makepyfile(test_it=TESTS)
    done = pytester.runpytest_subprocess("--rig=virtual", "--board=esp32-a")
    done.assert_outcomes(passed=3)
