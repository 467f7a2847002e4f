"""New images that start and are no good: the board goes back, or the verdict says why not."""

import re

import pytest
from expected import Expected

from pytest_blynk_ota import AirRules, AirStatus, Outcome

pytestmark = pytest.mark.requires("fixture-firmware")


SOON = 60.0
"""Device seconds in which New has started on a busy host, too. From then on the watch ends as soon
as the board loops, or has been away for as long as its profile says: to wait longer proves nothing.
"""
TRIAL = {"after_s": 20.0, "passes": True}
"""A self-test that is long enough for what a test does to come before it."""


def dies(when, how="panic", **more):
    """Trouble of an image, as the key ``crash`` of its behaviour."""
    return {"when": when, "how": how, **more}


@pytest.mark.requires("rollback")
@pytest.mark.finding("crash")
@pytest.mark.scenario("B1")
def test_a_crash_before_the_login_reverts(ota, firmware):
    result = ota.ship(firmware.crashes_before_login())
    assert result.outcome is Outcome.REVERTED
    assert result.air_status is not AirStatus.ROLLBACK  # Air never saw New
    assert result.crashes


@pytest.mark.requires("rollback")
@pytest.mark.finding("crash")
@pytest.mark.scenario("B2")
def test_a_crash_after_the_report_and_before_the_confirmation_rolls_back(ota, firmware):
    result = ota.ship(firmware.behaving(confirm="never", crash=dies("after_report")))
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.air_status is AirStatus.ROLLBACK


@pytest.mark.finding("crash", "confirmed before self-test")
@pytest.mark.scenario("B3")
def test_a_crash_after_the_confirmation_is_a_boot_loop(ota, firmware):
    image = firmware.behaving(confirm="init", crash=dies("after_report"))
    assert ota.offer(image, timeout=SOON).outcome is Outcome.BOOT_LOOP


@pytest.mark.nightly
@pytest.mark.finding("crash", "confirmed before self-test")
@pytest.mark.scenario("B4")
def test_a_crash_right_after_the_start_of_an_image_that_confirms_first_is_a_boot_loop(
    ota, firmware
):
    image = firmware.behaving(confirm="init", crash=dies("start"))
    assert ota.offer(image, timeout=SOON).outcome is Outcome.BOOT_LOOP


@pytest.mark.finding("crash", "late", "unexpected reset")
@pytest.mark.parametrize(
    "seconds", [40, pytest.param(600, marks=pytest.mark.nightly)], ids="{} s".format
)
@pytest.mark.scenario("B5")
def test_a_crash_long_after_the_update_is_seen(ota, firmware, seconds):
    image = firmware.behaving(crash=dies("after_s", after_s=seconds, times=1))
    assert ota.ship(image).outcome is Outcome.UPGRADED
    later = firmware.restamped(firmware.new, "3.0.0")
    with ota.shipping(later, rules=AirRules(auto_update=False), timeout=2 * seconds) as idle:
        idle.stay(seconds + 10)
    assert idle.result.crashes


@pytest.mark.requires("rollback")
@pytest.mark.finding("crash")
@pytest.mark.scenario("B6")
def test_one_crash_is_enough_to_go_back(ota, firmware):
    image = firmware.behaving(confirm="login", crash=dies("before_login", times=1))
    assert ota.offer(image).outcome is Outcome.REVERTED


@pytest.mark.finding("hang", "confirmed before self-test")
@pytest.mark.scenario("B7")
def test_an_image_that_hangs_without_a_word_is_offline(ota, firmware):
    image = firmware.behaving(confirm="init", crash=dies("before_login", "hang"))
    assert ota.offer(image, timeout=SOON).outcome is Outcome.OFFLINE


WATCHDOGS = ["task_wdt", pytest.param("int_wdt", marks=pytest.mark.nightly), "rtc_wdt"]


@pytest.mark.requires("rollback")
@pytest.mark.finding("crash", "unexpected reset")
@pytest.mark.parametrize("how", WATCHDOGS)
@pytest.mark.scenario("B9")
def test_a_watchdog_that_bites_before_the_login_reverts(ota, firmware, how):
    image = firmware.behaving(confirm="login", crash=dies("before_login", how))
    assert ota.offer(image, timeout=150).outcome is Outcome.REVERTED


@pytest.mark.requires("rollback")
@pytest.mark.finding("crash", "unexpected reset")
@pytest.mark.scenario("B10")
def test_a_brownout_when_the_radio_starts_reverts(ota, firmware):
    image = firmware.behaving(confirm="login", crash=dies("wifi", "brownout"))
    assert ota.offer(image, timeout=150).outcome is Outcome.REVERTED


@pytest.mark.requires("rollback")
@pytest.mark.scenario("B11")
def test_a_failed_self_test_after_the_report_rolls_back(ota, firmware):
    result = ota.ship(firmware.recipe("new-self-test-fails"))
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.air_status is AirStatus.ROLLBACK
    assert result.running == firmware.old.version


@pytest.mark.nightly
@pytest.mark.scenario("B12")
def test_new_that_finds_no_cloud_goes_back_only_by_its_own_rule(ota, firmware, expected: Expected):
    result = ota.offer(firmware.behaving(finds_cloud=False, cloud_s=30), timeout=120)
    if expected.profile.confirms == "self_test":
        assert result.outcome is Outcome.REVERTED
    else:
        assert result.outcome is Outcome.OFFLINE


@pytest.mark.baseline(rollback=False)
@pytest.mark.finding("crash", "no rollback protection", "confirmed before self-test")
@pytest.mark.scenario("B14")
def test_a_crash_without_rollback_is_a_boot_loop(ota, firmware):
    result = ota.offer(firmware.crashes_before_login(), timeout=SOON)
    assert result.outcome is Outcome.BOOT_LOOP


@pytest.mark.requires("rollback")
@pytest.mark.scenario("B15")
def test_a_reset_in_the_trial_takes_old_back_healthy_as_new_may_be(ota, board, firmware):
    image = firmware.behaving(confirm="self_test", self_test=TRIAL)
    with ota.shipping(image) as shipment:
        shipment.wait_for(report=firmware.new.version)
        board.reset()
    assert shipment.result.outcome is Outcome.ROLLED_BACK


@pytest.mark.requires("rollback")
@pytest.mark.finding("unexpected reset", "crash", "offline too long")
@pytest.mark.scenario("B16")
def test_a_wake_from_deep_sleep_in_the_trial_takes_old_back(ota, firmware):
    image = firmware.behaving(
        confirm="never", crash=dies("after_report", "deep_sleep", sleep_s=5.0, times=1)
    )
    assert ota.ship(image).outcome is Outcome.ROLLED_BACK


@pytest.mark.requires("rollback")
@pytest.mark.finding("confirmation not seen")
@pytest.mark.scenario("B13")
def test_new_stays_though_its_self_test_fails_where_there_is_nothing_to_go_back_to(
    ota, board, rig, firmware
):
    if rig.virtual is None:
        pytest.skip("only a virtual rack can damage a slot under a board that runs")
    home = board.read_table().ota_slots[0]
    image = firmware.behaving(confirm="self_test", self_test={**TRIAL, "passes": False})
    with ota.offering(image) as offering:
        offering.wait_for(report=image.version)
        rig.virtual.control.damage(board.name, home.offset, len(firmware.old.data))
        offering.wait_for(log="Self-test failed")
    assert offering.result.outcome is Outcome.UPGRADED
    assert offering.result.boots == 1


@pytest.mark.requires("rollback")
@pytest.mark.scenario("B17")
def test_an_update_in_the_trial_of_another_gives_that_one_up_unless_the_firmware_waits(
    ota, firmware
):
    """Arduino's Update looks at no state, and writes over the last good image; the reference waits
    for the end of the trial. The MQTT sample's bootloader knows no trial."""
    first = firmware.behaving(confirm="self_test", self_test=TRIAL)
    second = firmware.restamped(first, "3.0.0")
    with ota.offering(first) as offering:
        offering.wait_for(report=first.version)
        offering.supersede(second)
    assert offering.result.outcome is Outcome.UPGRADED
    assert offering.result.running == second.version
    given_up = any("aborted" in entry for entry in offering.result.flash.otadata)
    assert given_up is (firmware.profile.fixture != "reference")


@pytest.mark.finding("false success")  # an error finding that must not come: looked at below
@pytest.mark.scenario("B23")
def test_no_success_is_printed_that_is_none(ota, firmware):
    good, bad = ota.offer(), ota.offer(firmware.bad_hash(firmware.restamped(firmware.new, "3.0.0")))
    assert good.outcome is Outcome.UPGRADED
    assert bad.outcome in (Outcome.REJECTED, Outcome.DOWNLOAD_FAILED)
    assert "false success" not in [finding.name for finding in (*good.findings, *bad.findings)]


@pytest.mark.requires("rollback")
@pytest.mark.scenario("B24")
def test_what_was_rolled_back_is_refused_or_rolled_back_again(ota, firmware, expected: Expected):
    image = firmware.recipe("new-self-test-fails")
    assert ota.ship(image).outcome is Outcome.ROLLED_BACK
    expected.check(ota.offer(image), "BBBR", air="RB RB RB NR")


@pytest.mark.requires("rollback")
@pytest.mark.finding("crash")
@pytest.mark.scenario("B25")
def test_after_a_fall_back_the_next_update_leaves_an_entry_for_each_slot(ota, firmware):
    assert ota.offer(firmware.crashes_before_login()).outcome is Outcome.REVERTED
    result = ota.ship(firmware.restamped(firmware.new, "3.0.0"))
    assert result.outcome is Outcome.UPGRADED
    numbers = [
        int(one[1]) for entry in result.flash.otadata if (one := re.match(r"seq (\d+)", entry))
    ]
    assert sorted(number % 2 for number in numbers) == [0, 1]


def test_a_version_never_reported_is_told_apart(ota, firmware):
    result = ota.offer(firmware.recipe("new-never-reports"))
    assert result.outcome is Outcome.NOT_REPORTED


@pytest.mark.requires("rollback")
@pytest.mark.finding("confirmation not seen")
def test_an_update_that_is_never_confirmed_is_found_out(ota, firmware):
    result = ota.ship(firmware.behaving(confirm="never"))
    assert result.outcome is Outcome.UPGRADED
    assert [finding.name for finding in result.findings] == ["confirmation not seen"]


@pytest.mark.nightly
@pytest.mark.finding("unexpected reset", "confirmed before self-test", "offline too long")
@pytest.mark.scenario("B8")
def test_a_template_that_is_none_keeps_who_looks_at_it_off_the_air(
    ota, firmware, expected: Expected
):
    if firmware.profile.fixture == "sketch":
        pytest.skip("a plain sketch does not look at its template")
    other = firmware.retyped("XXXX" + firmware.new.fw_type[4:])
    result = ota.offer(other, timeout=150)
    expected.check(result, "OCOR", air="FD FD FD FD")
