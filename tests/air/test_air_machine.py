"""One device in one shipment, step by step: the machine and its two tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from air_device import DAY_S, HOUR_S, NEW, OLD, Device

from pytest_blynk_ota.air import AirRules, AirStatus, Named
from pytest_blynk_ota.air.status import CLOSED, OPEN
from pytest_blynk_ota.air.table import GATES, GUARDS, TRANSITIONS

S = AirStatus


def test_a_clean_shipment_goes_through_its_statuses():
    device = Device().takes(whole=True).logs_in(NEW)
    assert device.air.history == [
        S.STARTED, S.REQUEST_SENT, S.REQUESTED, S.DOWNLOADED, S.SUCCESS,
    ]  # fmt: skip
    assert device.air.closed == "success"


def test_the_url_goes_out_at_each_login_on_another_build_until_the_limit():
    device = Device(download_limit=2).takes().takes()
    assert device.air.closed is None, "the limit is looked at before the next URL, not at the GET"
    device.logs_in(OLD)
    assert not device.air.wants_url
    assert (device.air.status, device.air.closed) == (S.DOWNLOAD_LIMIT_REACHED, "limit")


def test_one_login_gets_one_url():
    device = Device().logs_in(OLD).is_sent()
    assert not device.air.wants_url
    device.air.on_login(device.session, OLD, device.now)
    assert not device.air.wants_url


def test_a_device_that_left_gets_no_url():
    assert not Device().logs_in(OLD).leaves().air.wants_url


def test_the_end_of_an_older_session_is_no_end_of_the_newer_one():
    device = Device().logs_in(OLD).logs_in(OLD)
    device.air.on_gone(device.session - 1, device.now)
    assert device.air.wants_url


def test_the_same_version_of_another_build_is_not_new():
    assert Device().logs_in(replace(NEW, build=OLD.build)).air.wants_url


def test_builds_of_one_version_are_one_where_they_do_not_count():
    device = Device(build_counts=False).logs_in(replace(NEW, build=OLD.build))
    assert not device.air.wants_url


def test_a_build_that_nobody_tells_is_no_difference():
    assert not Device().logs_in(replace(NEW, build="")).air.wants_url


def test_further_requests_on_one_url_are_one_attempt():
    device = Device().takes()
    device.air.on_get(device.attempt, device.now)
    assert device.air.attempts == 1


def test_success_comes_only_from_a_whole_file():
    device = Device().takes().logs_in(NEW)
    assert (device.air.status, device.air.closed) == (S.REQUESTED, None)


def test_old_after_success_is_a_rollback_and_ends_it():
    device = Device().takes(whole=True).logs_in(NEW).logs_in(OLD)
    assert (device.air.status, device.air.closed) == (S.ROLLBACK, "rollback")
    assert not device.logs_in(OLD).air.wants_url


def test_new_that_was_not_in_for_long_enough_is_one_more_failed_attempt():
    device = Device(rollback_after_s=60).takes(whole=True).logs_in(NEW)
    assert device.air.closed is None
    device.later(59).logs_in(OLD)
    assert device.air.status is S.SUCCESS
    assert device.is_sent().air.status is S.REQUEST_SENT


def test_new_that_was_in_for_long_enough_closes_with_success_and_can_roll_back():
    device = Device(rollback_after_s=60).takes(whole=True).logs_in(NEW).later(61)
    assert device.air.closed == "success"
    assert device.logs_in(OLD).air.status is S.ROLLBACK


# the limit and its period


def test_a_new_reset_period_opens_the_limit():
    device = Device(download_limit=1).takes().logs_in(OLD)
    assert device.later(DAY_S - HOUR_S).air.closed == "limit"
    device.later(HOUR_S)
    assert device.air.wants_url
    assert device.air.status is S.DOWNLOAD_LIMIT_REACHED, "until the next URL goes out"
    assert device.is_sent().air.status is S.REQUEST_SENT


def test_the_period_begins_with_its_first_attempt():
    device = Device(download_limit=2).later(DAY_S / 2).takes().later(DAY_S / 2).takes()
    assert device.logs_in(OLD).air.status is S.DOWNLOAD_LIMIT_REACHED


def test_further_attempts_do_not_lengthen_the_period():
    device = Device(download_limit=2).takes().later(0.9 * DAY_S).takes().logs_in(OLD)
    assert device.air.closed == "limit"
    assert device.later(0.1 * DAY_S).air.wants_url


def test_a_url_that_was_on_its_way_when_the_shipment_closed_changes_nothing():
    device = Device().takes(whole=True).logs_in(NEW)
    device.air.on_sent(device.session, device.now)
    assert device.air.status is S.SUCCESS


# Upload failure


def test_silence_in_a_download_is_an_upload_failure_and_no_end():
    device = Device(upload_failure_after_s=60).takes().later(60)
    assert (device.air.status, device.air.closed) == (S.UPLOAD_FAILURE, None)
    assert device.logs_in(OLD).air.wants_url


def test_bytes_that_move_are_no_silence():
    device = Device(upload_failure_after_s=60).takes().later(59)
    device.air.on_moved(device.now)
    assert device.later(59).air.status is S.REQUESTED


def test_a_broken_transfer_is_a_failure_where_the_rules_say_so():
    broken = Device().takes()
    broken.air.on_broken(broken.now)
    assert broken.air.status is S.REQUESTED
    told = Device(upload_failure_on_break=True).takes()
    told.air.on_broken(told.now)
    assert told.air.status is S.UPLOAD_FAILURE


def test_an_upload_failure_is_the_end_where_the_rules_say_so():
    device = Device(upload_failure_after_s=60, upload_failure_closes=True).takes().later(60)
    assert device.air.closed == "upload failure"
    assert not device.logs_in(OLD).air.wants_url


def test_the_rest_of_a_failed_file_may_still_come():
    device = Device(upload_failure_after_s=60).takes().later(60)
    device.air.on_whole(device.now)
    assert device.logs_in(NEW).air.status is S.SUCCESS


# mismatches

OTHER_TYPE = replace(OLD, fw_type="TMPLother")


def test_by_default_another_type_is_told_apart_after_a_whole_file():
    device = Device().logs_in(OTHER_TYPE)
    assert device.air.wants_url
    device.is_sent().gets(whole=True).logs_in(OTHER_TYPE)
    assert (device.air.status, device.air.closed) == (S.TYPE_MISMATCH, "type mismatch")


def test_new_of_another_type_that_runs_is_a_mismatch_too():
    device = Device().logs_in(OTHER_TYPE).is_sent().gets(whole=True).logs_in(NEW)
    assert device.air.status is S.TYPE_MISMATCH


def test_a_device_of_another_type_gets_no_url_where_it_is_checked_before():
    device = Device(type_mismatch="before").logs_in(OTHER_TYPE)
    assert (device.air.status, device.air.wants_url) == (S.TYPE_MISMATCH, False)


def test_the_template_of_the_shipment_counts_before_the_type_of_its_image():
    device = Device(type_mismatch="before", template="TMPLother").logs_in(OTHER_TYPE)
    assert device.air.wants_url


def test_a_type_that_nobody_tells_is_no_mismatch():
    assert Device(type_mismatch="before").logs_in(replace(OLD, fw_type="")).air.wants_url


def test_a_version_that_was_never_heard_of_after_a_whole_file_is_a_mismatch():
    device = Device().takes(whole=True).logs_in(replace(NEW, version="9.9.9"))
    assert (device.air.status, device.air.closed) == (S.VERSION_MISMATCH, "version mismatch")


def test_a_version_of_before_after_a_whole_file_is_one_more_failed_attempt():
    assert Device().takes(whole=True).logs_in(OLD).air.wants_url


def test_a_strange_version_is_sent_new_again_where_it_is_no_mismatch():
    device = Device(version_mismatch=False).takes(whole=True)
    assert device.logs_in(replace(NEW, version="9.9.9")).air.wants_url


# conditions


@pytest.mark.parametrize(
    ("condition", "runs", "sent"),
    [
        ("not new", Named("3.0.0"), True),
        ("lower version", Named("1.9.9"), True),
        ("lower version", Named("2.0.0-rc.1"), True),
        ("lower version", Named("2.0.0", "Nov 2 2026 09:14:05"), False),
        ("lower version", Named("no version"), False),
        ("earlier build", Named("3.0.0", "Nov  2 2026 09:14:05"), True),
        ("earlier build", Named("1.0.0", "Nov 24 2026 09:14:05"), False),
        ("earlier build", Named("1.0.0", ""), False),
        ("other build", Named("2.0.0", "Nov 24 2026 09:14:05"), True),
        ("other build", Named("1.0.0", "Nov 23 2026  17:29:49"), False),
        ("lower library", Named("1.0.0", library="1.3.2"), True),
        ("lower library", Named("1.0.0", library="1.4.0"), False),
        ("lower library", Named("1.0.0"), False),
    ],
)
def test_a_condition_says_who_is_sent_new(condition, runs, sent):
    device = Device(condition=condition).logs_in(runs)
    assert device.air.wants_url is sent
    assert device.air.held == (None if sent else "condition not met")


def test_a_newer_device_under_lower_version_is_a_version_mismatch():
    device = Device(condition="lower version").logs_in(replace(NEW, version="2.0.1"))
    assert (device.air.status, device.air.closed) == (S.VERSION_MISMATCH, "version mismatch")


def test_a_condition_is_looked_at_again_at_each_login():
    device = Device(condition="lower library").logs_in(Named("1.0.0", library="1.4.0"))
    assert device.logs_in(Named("1.0.0", library="1.3.0")).air.wants_url


# user, window, hands


def test_a_shipment_that_the_user_decides_waits_from_its_begin():
    device = Device(auto_update=False)
    assert device.air.status is S.AWAITING_USER_ACTION
    assert not device.logs_in(OLD).air.wants_url
    device.air.click(device.now)
    assert device.air.wants_url
    assert device.is_sent().air.status is S.REQUEST_SENT


def test_a_click_while_the_device_is_away_counts_when_it_comes():
    device = Device(auto_update=False)
    device.air.click(device.now)
    assert device.logs_in(OLD).air.wants_url


def test_a_click_ignores_the_window():
    device = Device(auto_update=False, window="night", begins_at="2026-11-23T12:00").logs_in(OLD)
    device.air.click(device.now)
    assert device.air.wants_url


def test_a_critical_shipment_does_not_ask_the_user():
    device = Device(auto_update=False, critical=True)
    assert device.air.status is S.STARTED
    assert device.logs_in(OLD).air.wants_url


def test_a_device_that_runs_new_awaits_nothing():
    assert Device(auto_update=False).logs_in(NEW).air.status is S.STARTED


@pytest.mark.parametrize(
    ("window", "clock", "opens_in_h"),
    [
        ("any", "12:00", 0),
        ("night", "05:59", 0),
        ("night", "06:00", 18),
        ("morning", "05:00", 1),
        ("afternoon", "17:59", 0),
        ("afternoon", "18:00", 18),
        ("evening", "12:00", 6),
        ("evening", "23:59", 0),
    ],
)
def test_a_window_is_six_hours_of_the_devices_day(window, clock, opens_in_h):
    device = Device(window=window, begins_at=f"2026-11-23T{clock}").logs_in(OLD)
    assert device.air.wants_url is (opens_in_h == 0)
    if opens_in_h:
        assert device.later(opens_in_h * HOUR_S - 1).air.held == "window"
        assert device.later(1).air.wants_url


def test_the_window_is_of_the_devices_zone():
    rules = {"window": "night", "begins_at": "2026-11-23T22:30+00:00"}
    assert not Device(**rules).logs_in(OLD).air.wants_url
    assert Device(**rules, zone="+02:00").logs_in(OLD).air.wants_url


def test_a_day_of_25_hours_moves_the_window():
    """Kyiv, 2026-10-25: clocks go back at 04:00."""
    device = Device(window="morning", zone="Europe/Kyiv", begins_at="2026-10-25T00:00").logs_in(OLD)
    assert device.air.due() - device.now == 7 * HOUR_S


def test_a_paused_shipment_sends_nothing_until_it_is_resumed():
    device = Device()
    device.air.pause(device.now)
    assert not device.logs_in(OLD).air.wants_url
    device.air.resume(device.now)
    assert device.air.wants_url


def test_a_download_under_way_goes_on_through_a_pause_and_a_cancel():
    device = Device().takes()
    device.air.pause(device.now)
    device.air.cancel(device.now)
    device.air.on_whole(device.now)
    assert device.logs_in(NEW).air.status is S.SUCCESS


def test_a_cancelled_shipment_sends_nothing_and_keeps_its_status():
    device = Device().takes()
    device.air.cancel(device.now)
    device.air.resume(device.now)
    assert not device.logs_in(OLD).air.wants_url
    assert device.air.status is S.REQUESTED


def test_a_device_that_was_not_chosen_gets_nothing():
    device = Device(devices=("other",)).logs_in(OLD)
    assert device.air.held == "not chosen"


# a phone


def test_a_phone_that_has_the_file_is_firmware_uploaded_to_mobile():
    device = Device()
    device.air.on_mobile(device.now)
    assert device.air.status is S.UPLOADED_TO_MOBILE
    assert device.logs_in(NEW).air.status is S.SUCCESS


# the tables


def test_every_status_is_reached_by_a_row_or_a_gate():
    told = {row.to for row in TRANSITIONS} | {
        S.DOWNLOAD_LIMIT_REACHED, S.AWAITING_USER_ACTION, S.VERSION_MISMATCH,
    }  # fmt: skip
    assert told - {None} == set(AirStatus)


def test_every_row_and_gate_names_its_source():
    pages = (
        "statuses",
        "new-shipping",
        "user-controlled",
        "management",
        "ota-updates",
        "default, ",
    )
    for row in (*TRANSITIONS, *GATES):
        assert row.source.startswith(pages), row


def test_every_guard_is_used_and_known():
    assert {row.when for row in TRANSITIONS} == set(GUARDS)


def test_open_and_closed_are_all_statuses():
    assert OPEN | CLOSED.keys() == set(AirStatus)
    assert not OPEN & CLOSED.keys()


def test_a_machine_says_where_it_stands():
    device = Device(auto_update=False).logs_in(OLD)
    assert repr(device.air) == (
        "<Shipment of 2.0.0: Awaiting user action, 0 of 3 attempts, held: awaiting the user>"
    )


def test_time_never_goes_back():
    device = Device().takes().later(100)
    device.air.on_moved(device.now - 50)
    assert device.air.now == device.now


def test_rules_print_what_differs():
    assert repr(AirRules(window="night")) == "AirRules(window='night')"


THIRD = Named("3.0.0", "Dec 1 2026 10:00:00", "TMPL", "1.4.0")


def test_a_firmware_that_takes_new_s_place_is_sent_to_a_device_in_its_download():
    device = Device().takes()
    device.air.supersede(THIRD, device.now)
    assert device.air.wants_url
    device.is_sent().leaves().logs_in(NEW)  # what was under way went on
    assert device.air.wants_url
    assert device.air.status is not AirStatus.VERSION_MISMATCH
    device.is_sent().gets(whole=True).leaves().logs_in(THIRD)
    assert device.air.status is AirStatus.SUCCESS


def test_a_firmware_that_takes_the_place_of_one_that_is_in_begins_anew():
    device = Device().takes(whole=True).leaves().logs_in(NEW)
    assert device.air.closed == "success"
    device.air.supersede(THIRD, device.now)
    assert device.air.closed is None
    assert device.air.wants_url


def test_what_was_cancelled_stays_so_for_the_firmware_that_follows():
    device = Device().takes()
    device.air.cancel(device.now)
    device.air.supersede(THIRD, device.now)
    assert not device.air.wants_url
