"""Eleven statuses, each reached by what a device does; run by ``test_air_on_the_rig.py``.

The twelfth, Firmware uploaded to mobile, needs a phone: ``test_air_machine.py`` has it.
"""

from __future__ import annotations

from pytest_blynk_ota import AirRules, AirStatus, Outcome, faults

STALL = faults.stall(after="50%")


def test_started(ota):
    """Noon, and the shipment is for the night."""
    rules = AirRules(window="night", begins_at="2026-11-23T12:00")
    result = ota.ship(rules=rules, timeout=20)
    assert result.air_status is AirStatus.STARTED
    assert result.outcome is Outcome.NOT_STARTED


def test_request_sent(ota, power):
    """The power goes before the device has asked for the file; then the shipment is cancelled."""
    with ota.shipping() as shipment:
        shipment.wait_for(air_status=AirStatus.REQUEST_SENT)
        power.cycle()
        shipment.cancel()
    assert shipment.result.air_status is AirStatus.REQUEST_SENT
    assert shipment.result.outcome is Outcome.NOT_STARTED


def test_requested(ota):
    """The download stalls, and no further one is offered."""
    result = ota.offer(faults=[STALL])
    assert result.air_status is AirStatus.REQUESTED
    assert result.outcome is Outcome.STALLED


def test_downloaded(ota, firmware):
    """New runs and never says so."""
    result = ota.ship(firmware.recipe("new-never-reports"), timeout=60)
    assert result.air_status is AirStatus.DOWNLOADED
    assert result.outcome is Outcome.NOT_REPORTED


def test_success(ota):
    result = ota.ship()
    assert result.air_status is AirStatus.SUCCESS
    assert result.outcome is Outcome.UPGRADED


def test_upload_failure(ota):
    """The device waits for the rest of a stalled file, longer than Air does."""
    rules = AirRules(upload_failure_after_s=15, upload_failure_closes=True)
    result = ota.ship(faults=[STALL], rules=rules)
    assert result.air_status is AirStatus.UPLOAD_FAILURE
    assert result.outcome is Outcome.STALLED
    assert any("upload failure" in str(reason) for reason in result.reasons)


def test_download_limit_reached(ota):
    result = ota.ship(faults=[STALL], download_limit=1)
    assert result.air_status is AirStatus.DOWNLOAD_LIMIT_REACHED
    assert result.outcome is Outcome.DOWNLOAD_LIMIT_REACHED


def test_rollback(ota, firmware):
    """New logs in, then its self-test fails."""
    result = ota.ship(firmware.recipe("new-self-test-fails"))
    assert result.air_status is AirStatus.ROLLBACK
    assert result.outcome is Outcome.ROLLED_BACK


def test_type_mismatch(ota):
    """The shipment is for another product; the device is told apart when it comes back."""
    result = ota.ship(rules=AirRules(template="TMPLanother01"))
    assert result.air_status is AirStatus.TYPE_MISMATCH
    assert result.outcome is Outcome.UPGRADED


def test_version_mismatch(ota, firmware):
    """New claims a version that is not the shipped one."""
    result = ota.ship(firmware.recipe("new-misreports"))
    assert result.air_status is AirStatus.VERSION_MISMATCH
    assert result.outcome is Outcome.MISREPORTED
    assert len(result.downloads) == 1


def test_awaiting_user_action(ota):
    """The user has switched automatic updates off, and does not click."""
    result = ota.ship(rules=AirRules(auto_update=False))
    assert result.air_status is AirStatus.AWAITING_USER_ACTION
    assert result.outcome is Outcome.NOT_STARTED
    assert any("awaiting the user" in str(reason) for reason in result.reasons)


# what hands and rules do to a device


def test_a_click_lets_the_url_out(ota):
    with ota.shipping(rules=AirRules(auto_update=False)) as shipment:
        shipment.wait_for(air_status=AirStatus.AWAITING_USER_ACTION)
        assert shipment.air_status is AirStatus.AWAITING_USER_ACTION
        shipment.click()
    assert shipment.result.air_status is AirStatus.SUCCESS


def test_a_paused_shipment_goes_on_when_it_is_resumed(ota, cloud, power):
    with ota.shipping(faults=[STALL.on_attempt(1)]) as shipment:
        shipment.wait_for(progress=0.4)
        shipment.pause()
        shipment.wait_for(log="Restarting after error")
        shipment.wait_for(log="boot:|ets Jun|ESP-ROM")
        assert shipment.air_status is AirStatus.REQUESTED
        shipment.resume()
    assert shipment.result.air_status is AirStatus.SUCCESS
    assert len(shipment.result.downloads) == 2


def test_a_shipment_that_stays_paused_ends_with_what_has_happened(ota):
    with ota.shipping(faults=[STALL]) as shipment:
        shipment.wait_for(progress=0.4)
        shipment.pause()
    assert shipment.result.outcome is Outcome.STALLED
    assert shipment.result.air_status is AirStatus.REQUESTED
    assert len(shipment.result.downloads) == 1


def test_a_window_that_opens_lets_the_url_out(ota):
    rules = AirRules(window="afternoon", begins_at="2026-11-23T11:59:50")
    result = ota.ship(rules=rules)
    assert result.air_status is AirStatus.SUCCESS


def test_a_lower_version_is_not_shipped_where_the_rules_forbid_it(ota, firmware):
    older = firmware.restamped(firmware.new, "0.9.0")
    result = ota.ship(older, rules=AirRules(condition="lower version"))
    assert result.air_status is AirStatus.VERSION_MISMATCH
    assert result.outcome is Outcome.NOT_STARTED
    assert ota.ship(older).outcome is Outcome.UPGRADED  # by default New is what the test ships


def test_the_library_of_the_device_is_compared(ota):
    result = ota.ship(rules=AirRules(condition="lower library"))
    assert result.outcome is Outcome.NOT_STARTED
    assert any("condition not met" in str(reason) for reason in result.reasons)


def test_new_that_was_not_in_for_long_enough_is_tried_again(ota, firmware):
    rules = AirRules(rollback_after_s=600)
    result = ota.ship(firmware.recipe("new-self-test-fails"), download_limit=2, rules=rules)
    assert result.air_status is AirStatus.DOWNLOAD_LIMIT_REACHED
    assert len(result.downloads) == 2
