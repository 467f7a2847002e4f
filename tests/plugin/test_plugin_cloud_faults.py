"""Faults of the cloud in a shipment on the virtual rig: the device gets through, or is judged."""

from __future__ import annotations

import pytest

TESTS = """
import pytest

from pytest_blynk_ota import AirStatus, Outcome, cloud_faults, faults

SURVIVED = [
    "drop on offer 1",
    "delay seconds=20",
    "twice seconds=1",
    "restart at=offer seconds=10",
    "restart at=request seconds=10",
    "restart at=delivered seconds=20",
    "silent at=delivered seconds=20",
    "refuse at=delivered seconds=20",
    "slow at=offer seconds=0.5",
]


@pytest.mark.parametrize("text", SURVIVED)
def test_it_gets_through(ota, text):
    result = ota.ship(faults=[cloud_faults.parse(text)])
    assert result.outcome is Outcome.UPGRADED, result
    assert result.air_status is AirStatus.SUCCESS
    assert not [one for one in result.findings if str(one.severity) != "info"], result.findings


def test_an_offer_that_never_leaves_is_not_started(ota):
    result = ota.offer(faults=[cloud_faults.ignore()])
    assert result.outcome is Outcome.NOT_STARTED
    assert any("withheld" in str(reason) for reason in result.reasons)


def test_a_url_that_is_none_leaves_old(ota):
    result = ota.offer(faults=[cloud_faults.url("")])
    assert result.outcome is Outcome.NOT_STARTED


def test_the_second_offer_gets_through_where_the_first_url_was_none(ota):
    result = ota.ship(faults=[cloud_faults.url("http://127.0.0.1:1/x").on_offer(1)])
    assert result.outcome is Outcome.UPGRADED


def test_another_version_is_a_third_image(ota):
    result = ota.ship(faults=[cloud_faults.other("1.0.9")])
    assert result.outcome is Outcome.REVERTED
    assert result.running == "1.0.9"
    assert result.air_status is AirStatus.VERSION_MISMATCH


def test_the_next_shipment_knows_what_the_other_version_left(ota):
    ota.offer(faults=[cloud_faults.other("1.0.9")])
    result = ota.ship()
    assert result.outcome is Outcome.UPGRADED
    assert result.versions[-1] == "1.1.0"


def test_both_kinds_of_faults_in_one_shipment(ota):
    result = ota.ship(
        faults=[faults.stall(after="50%").on_attempt(1), cloud_faults.drop().on_offer(2)]
    )
    assert result.outcome is Outcome.UPGRADED
    assert [one.ended for one in result.downloads] == ["stalled", "complete"]


def test_a_fault_that_never_fires_proves_nothing(ota):
    ota.ship(faults=[cloud_faults.drop().on_offer(7)])
"""
RIG = """
[rig]
name = "quick"
speed = 40
[[board]]
name = "a"
chip = "esp32c3"
port = "virtual"
power = "virtual"
provision = { kind = "edgent-nvs" }
profile = "edgent-old-info"
"""


@pytest.mark.nightly
def test_faults_of_the_cloud(pytester):
    pytester.path.joinpath("rig.toml").write_text(RIG)
    pytester.makepyfile(TESTS)
    run = pytester.runpytest_subprocess("--rig=rig.toml", "-v", "-p", "no:cacheprovider")
    run.assert_outcomes(passed=15, errors=1)
    run.stdout.fnmatch_lines(["*the fault 'drop on offer 7' never fired*"])
