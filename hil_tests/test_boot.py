"""New images that start and are no good."""

import pytest

from pytest_blynk_ota import AirStatus, Outcome

pytestmark = pytest.mark.requires("fixture-firmware")


@pytest.mark.requires("rollback")
def test_a_failed_self_test_after_the_report_rolls_back(ota, firmware):
    result = ota.ship(firmware.recipe("new-self-test-fails"))
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.air_status is AirStatus.ROLLBACK
    assert result.running == firmware.old.version


@pytest.mark.requires("rollback")
def test_a_crash_before_the_login_reverts(ota, firmware):
    result = ota.ship(firmware.crashes_before_login())
    assert result.outcome is Outcome.REVERTED
    assert result.air_status is not AirStatus.ROLLBACK  # Air never saw New
    assert result.crashes


@pytest.mark.baseline(rollback=False)
def test_a_crash_without_rollback_is_a_boot_loop(ota, firmware):
    result = ota.offer(firmware.recipe("new-crash-loop"), timeout=90)
    assert result.outcome is Outcome.BOOT_LOOP


def test_a_version_never_reported_is_told_apart(ota, firmware):
    result = ota.offer(firmware.recipe("new-never-reports"))
    assert result.outcome is Outcome.NOT_REPORTED


def test_a_version_that_does_not_run_is_caught(ota, firmware):
    result = ota.offer(firmware.recipe("new-misreports"))
    assert result.outcome is Outcome.MISREPORTED


def test_new_without_a_cloud_is_offline(ota, firmware):
    result = ota.offer(firmware.recipe("new-no-cloud"), timeout=90)
    assert result.outcome is Outcome.OFFLINE


@pytest.mark.requires("rollback")
@pytest.mark.finding("confirmation not seen")
def test_an_update_that_is_never_confirmed_is_found_out(ota, firmware):
    result = ota.ship(firmware.behaving(confirm="never"))
    assert result.outcome is Outcome.UPGRADED
    assert [finding.name for finding in result.findings] == ["confirmation not seen"]
