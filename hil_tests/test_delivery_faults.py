"""Downloads that go wrong; the device must come back on Old and take the next one."""

import pytest

from pytest_blynk_ota import AirStatus, Outcome, faults


@pytest.mark.parametrize("after", [0, "50%", "last 4096"])
def test_a_stalled_download_is_survived(ota, after):
    result = ota.offer(faults=[faults.stall(after=after)])
    assert result.outcome is Outcome.STALLED
    assert ota.ship().outcome is Outcome.UPGRADED


def test_every_download_stalled_ends_at_the_limit(ota):
    result = ota.ship(faults=[faults.stall(after="50%")], download_limit=3)
    assert result.outcome is Outcome.DOWNLOAD_LIMIT_REACHED
    assert result.air_status is AirStatus.DOWNLOAD_LIMIT_REACHED
    assert [download.ended for download in result.downloads] == ["stalled"] * 3


def test_not_found_is_a_failed_download(ota):
    result = ota.offer(faults=[faults.status(404)])
    assert result.outcome is Outcome.DOWNLOAD_FAILED


def test_unavailable_twice_then_fine(ota):
    result = ota.ship(faults=[faults.status(503).on_attempt(1, 2)])
    assert result.outcome is Outcome.UPGRADED
    assert [download.ended for download in result.downloads] == ["refused", "refused", "complete"]


def test_a_truncated_download_is_not_started(ota):
    result = ota.offer(faults=[faults.truncate(after="50%")])
    assert result.outcome is Outcome.DOWNLOAD_FAILED
    assert result.downloads[0].ended == "cut"


def test_a_reset_connection_is_survived(ota):
    result = ota.ship(faults=[faults.reset(after="50%").on_attempt(1)])
    assert result.outcome is Outcome.UPGRADED
    assert result.downloads[0].ended == "cut"


def test_a_corrupted_body_is_refused(ota):
    assert ota.offer(faults=[faults.corrupt(at="50%")]).outcome is Outcome.REJECTED


def test_a_slow_but_steady_download_succeeds(ota):
    result = ota.ship(faults=[faults.bandwidth(20_000)])
    assert result.outcome is Outcome.UPGRADED
