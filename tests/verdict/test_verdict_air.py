"""What Blynk.Air would show after a tale."""

from __future__ import annotations

from tale import Tale

from pytest_blynk_ota.air import AirStatus, air_status


def test_there_are_the_twelve_statuses_of_the_console():
    assert len(AirStatus) == 12
    assert AirStatus("Download limit reached") is AirStatus.DOWNLOAD_LIMIT_REACHED


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


def test_a_request_told_before_its_url_was_sent_is_not_taken_back_by_that():
    """Cloud and firmware server have no order within the skew, but nobody asks without a URL."""
    tale = Tale().offered(disconnects=False).asks().gets(10)
    sent = next(e for e in tale.events if e.kind == "ota_sent")
    tale.shuffled(lambda events: [*(e for e in events if e is not sent), sent])
    assert air_status(tale.events) is AirStatus.REQUESTED
    tale.offered(disconnects=False)
    assert air_status(tale.events) is AirStatus.REQUEST_SENT
