"""What Blynk.Air would show, step by step."""

from __future__ import annotations

from tale import Tale

from pytest_blynk_ota.air import AirStatus, Shipment, air_status


def test_there_are_the_twelve_statuses_of_the_console():
    assert len(AirStatus) == 12
    assert AirStatus("Download limit reached") is AirStatus.DOWNLOAD_LIMIT_REACHED


def shipment(limit: int = 3) -> Shipment:
    return Shipment(limit, "2.0.0", "b2")


def one_try(air: Shipment, attempt: int, *, whole: bool = False) -> None:
    assert air.on_login("1.0.0", "b1")
    air.on_sent()
    air.on_get(attempt)
    if whole:
        air.on_delivered()


def test_a_clean_shipment_goes_through_its_statuses():
    air = shipment()
    seen = [air.status]
    assert air.on_login("1.0.0", "b1")
    for step in (air.on_sent, lambda: air.on_get(1), air.on_delivered):
        step()
        seen.append(air.status)
    assert air.on_login("2.0.0", "b2") is False
    assert [*seen, air.status] == [
        AirStatus.STARTED, AirStatus.REQUEST_SENT, AirStatus.REQUESTED, AirStatus.DOWNLOADED,
        AirStatus.SUCCESS,
    ]  # fmt: skip
    assert air.closed == "success"


def test_the_url_goes_out_at_each_login_on_another_build_until_the_limit():
    air = shipment(limit=2)
    one_try(air, 1)
    one_try(air, 2)
    assert air.closed is None, "the limit is looked at before the next URL, not after the GET"
    assert air.on_login("1.0.0", "b1") is False
    assert (air.status, air.closed) == (AirStatus.DOWNLOAD_LIMIT_REACHED, "limit")


def test_the_same_version_of_another_build_is_not_new():
    assert shipment().on_login("2.0.0", "another build")


def test_a_build_that_nobody_tells_is_no_difference():
    assert shipment().on_login("2.0.0", "") is False


def test_further_requests_on_one_url_are_one_attempt():
    air = shipment()
    one_try(air, 1)
    air.on_get(1)
    assert air.attempts == 1


def test_success_comes_only_from_a_whole_file():
    air = shipment()
    one_try(air, 1)
    assert air.on_login("2.0.0", "b2") is False
    assert (air.status, air.closed) == (AirStatus.REQUESTED, None)


def test_old_after_success_is_a_rollback_and_ends_it():
    air = shipment()
    one_try(air, 1, whole=True)
    air.on_login("2.0.0", "b2")
    assert air.on_login("1.0.0", "b1") is False
    assert (air.status, air.closed) == (AirStatus.ROLLBACK, "rollback")
    assert air.on_login("1.0.0", "b1") is False


def test_air_cannot_see_that_new_crashed_before_its_login():
    tale = Tale().offered().downloads().boots("new").wait(1).crashes().comes_back("old").offered()
    assert air_status(tale.events) is AirStatus.REQUEST_SENT


def test_an_error_page_sent_whole_is_no_firmware_downloaded():
    tale = Tale().offered().asks(503, 10).ends("server", "complete", 10, announced=10)
    assert air_status(tale.events) is AirStatus.REQUESTED


def test_evidence_before_the_operation_does_not_count():
    tale = Tale(op="offer").offered().downloads().comes_back("new").over()
    assert air_status(tale.events) is AirStatus.SUCCESS
    assert air_status(tale.begins("offer").events) is AirStatus.STARTED
