"""Images that must not be started, and some that may be."""

import random

import pytest
from expected import Expected

from pytest_blynk_ota import AirStatus, Outcome, faults

DAMAGED = {
    "I1": "wrong_chip",
    "I4a": "wrong_segment",
    "I4b": "too_many_segments",
    "I5": "bad_checksum",
    "I6": "bad_hash",
    "D31": "cut",
}


SMOKE = "bad_hash"
"""One of them is enough to say that damage is noticed."""


def params(rows):
    return [
        pytest.param(
            how,
            id=how,
            marks=[pytest.mark.scenario(id), *([pytest.mark.smoke] if how == SMOKE else [])],
        )
        for id, how in rows.items()
    ]


@pytest.mark.parametrize("how", params(DAMAGED))
def test_a_damaged_image_is_not_started(ota, firmware, how):
    result = ota.offer(getattr(firmware, how)())
    assert result.outcome in (Outcome.REJECTED, Outcome.DOWNLOAD_FAILED)
    assert result.running == firmware.old.version
    assert result.boots <= 1  # the restart of a client that gives up


@pytest.mark.finding("crash")  # the MQTT sample reads through a null pointer without a tag
@pytest.mark.scenario("I3")
def test_an_image_that_ends_in_its_header_is_not_started(ota, firmware, expected: Expected):
    result = ota.offer(firmware.cut(keep=180))
    expected.check(result, "RRNR", air="FD FD RS FD")
    assert result.running == firmware.old.version


@pytest.mark.scenario("I6")
def test_a_bad_image_is_offered_until_the_limit(ota, firmware, expected: Expected):
    result = ota.ship(firmware.bad_hash(), download_limit=2)
    expected.check(result, "LLRR")
    if result.outcome is Outcome.DOWNLOAD_LIMIT_REACHED:
        assert [download.ended for download in result.downloads] == ["complete"] * 2


@pytest.fixture
def other_file(tmp_path):
    """Serves bytes that are no firmware for this device in the place of New."""

    def serve(data: bytes, name: str = "other.bin"):
        path = tmp_path / name
        path.write_bytes(data)
        return [faults.other(path)]

    return serve


NOISE = random.Random(2).randbytes(200_000)
FILES = {
    "I2a": NOISE[:-1] + b"\0",
    "I2b": b"\x00" + NOISE,
    "I19a": b"\x7fELF" + NOISE,
    "I19b": b"PK\x03\x04" + NOISE,
    "I19c": b"\xff" * 0x1000 + NOISE,
}
"""Noise, a wrong first byte, an ELF file, a zip, and a whole flash with its bootloader behind."""


@pytest.mark.parametrize(
    "data",
    [pytest.param(data, id=id, marks=pytest.mark.scenario(id)) for id, data in FILES.items()],
)
def test_a_file_that_is_no_image_is_not_started(ota, firmware, other_file, data):
    result = ota.offer(faults=other_file(data))
    assert result.outcome in (Outcome.REJECTED, Outcome.DOWNLOAD_FAILED)
    assert result.running == firmware.old.version


@pytest.mark.requires("fixture-firmware", "rollback")
@pytest.mark.finding("crash")
@pytest.mark.scenario("I7", "B1")
def test_a_valid_image_that_crashes_before_anything_goes_back(ota, firmware):
    result = ota.offer(firmware.crashes_at_start(), timeout=200)
    assert result.outcome is Outcome.REVERTED
    assert result.running == firmware.old.version


@pytest.mark.scenario("I8")
def test_an_image_that_is_larger_than_the_slot_is_refused(ota, board, firmware, expected: Expected):
    slot = board.read_table().ota_slots[1]
    result = ota.offer(firmware.padded(slot.size + 4096))
    expected.check(result, "RFRR", air="NR NR FD NR")  # new Edgent leaves by its restart
    assert result.running == firmware.old.version


@pytest.mark.scenario("I8")
def test_a_slot_is_not_erased_for_a_file_that_does_not_fit(ota, board, firmware):
    assert ota.ship().outcome is Outcome.UPGRADED
    table = board.read_table()
    slot = table.ota_slots[0]
    larger = firmware.padded(slot.size + 4096, firmware.restamped(firmware.new, "3.0.0"))
    result = ota.offer(larger)
    assert result.running == firmware.new.version
    if result.air_status is AirStatus.REQUESTED:  # its length was enough to refuse it
        images = {"old": firmware.new.data, "older": firmware.old.data}
        left = board.read_flash(table, images)["slots"][slot.label]["image"]
        assert left == "older", "a slot was erased for a file that does not fit"


@pytest.mark.parametrize("least", [pytest.param(9900, id="min too high")])
@pytest.mark.scenario("I9")
def test_an_image_for_a_later_revision_of_the_chip_is_not_started(ota, firmware, least):
    result = ota.offer(firmware.for_revision(least))
    assert result.outcome in (Outcome.REJECTED, Outcome.DOWNLOAD_FAILED)


@pytest.mark.scenario("I10")
def test_an_image_without_a_description_is_for_arduino_alone(ota, firmware, expected: Expected):
    result = ota.offer(firmware.without_description())
    expected.check(result, "UUUR", air="S S S NR")


@pytest.mark.scenario("I11")
def test_an_image_for_another_template_is_refused_by_the_cautious_alone(
    ota, firmware, expected: Expected
):
    other = firmware.new.fw_type[:-1] + "9"
    result = ota.ship(firmware.retyped(other))
    expected.check(result, "UUUR", air="TM TM TM FD")


@pytest.mark.requires("fixture-firmware")
@pytest.mark.scenario("I12")
def test_a_version_that_is_not_the_files_is_told(ota, firmware, expected: Expected):
    result = ota.ship(firmware.recipe("new-misreports"))
    assert result.outcome is Outcome.MISREPORTED


@pytest.mark.requires("fixture-firmware")
@pytest.mark.scenario("I14")
def test_another_build_of_the_version_that_runs_is_taken_once(ota, firmware):
    again = firmware.recipe("new", version=firmware.old.version, build="Dec 24 2026 10:00:00")
    result = ota.ship(again)
    assert result.outcome is Outcome.UPGRADED
    assert len(result.downloads) == 1


@pytest.mark.scenario("I15", "E11")
def test_an_older_version_is_taken_where_the_shipment_says_so(ota, firmware):
    result = ota.ship(firmware.restamped(firmware.new, "0.9.0"))
    assert result.outcome is Outcome.UPGRADED
    assert result.running == "0.9.0"


@pytest.mark.scenario("I20")
def test_the_flash_size_in_the_header_of_another_board_stops_nothing(ota, firmware):
    assert ota.offer(firmware.for_flash("2MB")).outcome is Outcome.UPGRADED


@pytest.mark.requires("anti-rollback", "fixture-firmware")
@pytest.mark.scenario("I16")
def test_an_image_below_the_burnt_secure_version_is_refused(ota, firmware):
    """On a board for such tests alone: a secure version in the eFuses never goes down again."""
    assert ota.offer(firmware.recipe("new", secure_version=2)).outcome is Outcome.UPGRADED
    result = ota.offer(firmware.recipe("new", version="3.0.0", secure_version=1))
    assert result.outcome is Outcome.REJECTED
    assert result.running == firmware.new.version
