"""Images that must not be started."""

import pytest

from pytest_blynk_ota import AirStatus, Outcome


@pytest.mark.parametrize("damage", ["wrong_chip", "bad_hash", "bad_checksum", "cut"])
def test_a_damaged_image_is_rejected(ota, firmware, damage):
    result = ota.offer(getattr(firmware, damage)())
    assert result.outcome is Outcome.REJECTED
    assert result.running == firmware.old.version


def test_a_bad_image_is_offered_until_the_limit(ota, firmware):
    result = ota.ship(firmware.bad_hash(), download_limit=2)
    assert result.outcome is Outcome.DOWNLOAD_LIMIT_REACHED
    assert result.air_status is AirStatus.DOWNLOAD_LIMIT_REACHED
    assert [download.ended for download in result.downloads] == ["complete"] * 2
