"""Updates with nothing in their way."""

import pytest

from pytest_blynk_ota import AirRules, AirStatus, Outcome, faults

BLOCK_BYTES, SECTOR_BYTES = 65536, 4096


@pytest.mark.smoke
@pytest.mark.scenario("H1")
def test_clean_upgrade(ota, firmware):
    result = ota.ship()
    assert result.outcome is Outcome.UPGRADED
    assert result.air_status is AirStatus.SUCCESS
    assert result.running == firmware.new.version


@pytest.mark.scenario("H1")
def test_one_bare_offer_is_enough(ota):
    assert ota.offer().outcome is Outcome.UPGRADED


@pytest.mark.scenario("H2", "E10")
def test_three_upgrades_in_a_row_one_of_them_over_a_version_alternate_the_slots(ota, firmware):
    versions = ["2.0.0", "2.1.0", "2.3.0"]
    slots = []
    for version in versions:
        result = ota.ship(firmware.restamped(firmware.new, version))
        assert result.outcome is Outcome.UPGRADED
        assert result.running == version
        slots.append(result.slot)
    assert slots[0] == slots[2] != slots[1]


def sizes(image_bytes):
    """The next sizes above an image whose remainders are where block-wise writers go wrong."""
    blocks = (image_bytes // BLOCK_BYTES + 1) * BLOCK_BYTES
    return {0: blocks, 1: blocks + 1, 16: blocks + 16, 4095: blocks + SECTOR_BYTES - 1}


@pytest.mark.parametrize("rest", [0, 1, 16, 4095])
@pytest.mark.scenario("H3")
def test_a_file_of_any_size_is_written_to_its_last_byte(ota, firmware, rest):
    size = sizes(len(firmware.new.data))[rest]
    result = ota.offer(firmware.padded(size, fill=0))  # ones are what an erased slot has anyway
    assert result.outcome is Outcome.UPGRADED
    assert result.flash.slots[result.slot] == "new"  # the digest of the slot is the file's


@pytest.mark.nightly
@pytest.mark.scenario("H4")
def test_a_file_as_large_as_the_slot_fits(ota, board, firmware):
    slot = board.read_table().ota_slots[1]
    result = ota.offer(firmware.padded(slot.size))
    assert result.outcome is Outcome.UPGRADED
    assert result.flash.slots[slot.label] == "new"


@pytest.mark.scenario("H5", "H6")
def test_ones_and_a_smaller_file_are_whole_over_what_was_there(ota, firmware):
    """Zeros stand in both slots: bits that only an erase can set again."""
    larger = sizes(len(firmware.new.data))[4095] + BLOCK_BYTES

    def version(number, **fill):
        image = firmware.restamped(firmware.new, f"2.0.{number}")
        return firmware.padded(larger, image, **fill) if fill else image

    for number in (0, 1):
        assert ota.offer(version(number, fill=0)).outcome is Outcome.UPGRADED
    for image in (version(2, fill=0xFF), version(3)):
        result = ota.offer(image)
        assert result.outcome is Outcome.UPGRADED
        assert result.flash.slots[result.slot] == "new"


@pytest.mark.parametrize(
    "seconds", [30, pytest.param(3600, marks=pytest.mark.nightly)], ids="{} s".format
)
@pytest.mark.scenario("H7")
def test_without_a_shipment_nothing_happens(ota, seconds):
    with ota.shipping(rules=AirRules(auto_update=False), timeout=2 * seconds) as shipment:
        shipment.stay(seconds)
    assert shipment.result.outcome is Outcome.NOT_STARTED
    assert (shipment.result.boots, len(shipment.result.downloads)) == (0, 0)


@pytest.mark.requires("https")
@pytest.mark.scenario("H8")
def test_over_https_it_is_the_same(ota):
    assert ota.offer(https=True).outcome is Outcome.UPGRADED


@pytest.mark.scenario("H9")
def test_a_bad_update_leaves_the_next_one_all_it_needs(ota, firmware):
    assert ota.offer(firmware.bad_checksum()).outcome is Outcome.REJECTED
    assert ota.offer(faults=[faults.status(404)]).outcome is Outcome.DOWNLOAD_FAILED
    assert ota.ship().outcome is Outcome.UPGRADED


@pytest.mark.scenario("H10", "I13")
def test_what_the_device_reports_is_what_the_file_s_tag_says(ota, cloud, board, firmware):
    result = ota.ship()
    assert result.outcome is Outcome.UPGRADED
    assert result.air_status is AirStatus.SUCCESS
    last = cloud.device(board.name).reports[-1]
    assert result.versions[-1] == last.version == firmware.new.version
    assert last.build == firmware.new.build


@pytest.mark.requires("power")
@pytest.mark.parametrize(
    "seconds", [1, pytest.param(600, marks=pytest.mark.nightly)], ids="{} s".format
)
@pytest.mark.scenario("H11", "T1")
def test_an_update_outlives_a_power_cycle(ota, power, firmware, seconds):
    assert ota.ship().outcome is Outcome.UPGRADED
    later = firmware.restamped(firmware.new, "3.0.0")
    rules = AirRules(auto_update=False)
    with ota.shipping(later, rules=rules, timeout=2 * seconds + 60) as shipment:
        shipment.stay(seconds)
        power.cycle()
        shipment.wait_for(report=firmware.new.version)
    assert shipment.result.running == firmware.new.version
    assert shipment.result.outcome is Outcome.NOT_STARTED
