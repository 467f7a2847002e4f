"""Updates with nothing in their way."""

from pytest_blynk_ota import AirStatus, Outcome


def test_clean_upgrade(ota, firmware):
    result = ota.ship()
    assert result.outcome is Outcome.UPGRADED
    assert result.air_status is AirStatus.SUCCESS
    assert result.running == firmware.new.version


def test_three_upgrades_in_a_row_alternate_the_slots(ota, firmware):
    versions = ["2.0.0", "2.0.1", "2.0.2"]
    results = [ota.ship(firmware.restamped(firmware.new, version)) for version in versions]
    assert [result.outcome for result in results] == [Outcome.UPGRADED] * 3
    assert [result.running for result in results] == versions
    assert [result.slot for result in results] == ["app1", "app0", "app1"]


def test_one_bare_offer_is_enough(ota):
    assert ota.offer().outcome is Outcome.UPGRADED
