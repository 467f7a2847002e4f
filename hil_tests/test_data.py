"""What an update must not lose: settings, files, the traces of a crash."""

import pytest
from expected import Expected

from pytest_blynk_ota import Outcome, faults

SAMPLE_BYTES = 4096
"""Read at the begin of a data partition: where one that writes past its slot would write."""


def data_partitions(board):
    """Partitions that hold the user's files."""
    table = board.read_table()
    return [one for one in table.rows if one.label in ("spiffs", "littlefs", "ffat", "storage")]


@pytest.mark.requires("fixture-firmware")
@pytest.mark.scenario("T2")
def test_settings_of_the_older_edgent_are_taken_over(ota, rig, firmware):
    if firmware.profile.fixture != "edgent-old" or not rig.config.board[0].is_virtual:
        pytest.skip("an update from old Edgent to new Edgent, on a virtual board")
    _, port = rig.cloud.address_of("tcp")
    result = ota.ship(firmware.behaving(profile="edgent-new", ports=[port]))
    assert result.outcome is Outcome.UPGRADED


@pytest.mark.requires("fixture-firmware", "rollback")
@pytest.mark.finding("confirmation not seen")
@pytest.mark.scenario("T3")
def test_after_a_rollback_old_finds_its_settings(ota, firmware):
    result = ota.ship(firmware.recipe("new-self-test-fails"))
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.running == firmware.old.version


@pytest.mark.nightly
@pytest.mark.requires("fixture-firmware", "rollback")
@pytest.mark.finding("config lost")
@pytest.mark.scenario("T3")
def test_old_edgent_comes_back_unconfigured_from_a_trial_of_the_new_one(ota, rig, firmware):
    if firmware.profile.fixture != "edgent-old" or not rig.config.board[0].is_virtual:
        pytest.skip("an update from old Edgent to new Edgent, on a virtual board")
    _, port = rig.cloud.address_of("tcp")
    crash = {"when": "after_report", "how": "panic"}
    new = firmware.behaving(profile="edgent-new", ports=[port], confirm="never", crash=crash)
    result = ota.offer(new, timeout=150)
    assert result.outcome is Outcome.OFFLINE


@pytest.mark.finding("config lost", "offline too long")
@pytest.mark.scenario("T4")
def test_settings_that_are_spoilt_before_the_first_boot_are_the_end_for_who_has_no_others(
    ota, board, rig, expected: Expected
):
    if rig.virtual is None:
        pytest.skip("only a virtual rack can damage settings under a board that runs")
    place = board.read_table().find("nvs")
    with ota.offering(faults=[faults.bandwidth(80_000)], timeout=60) as offering:
        offering.wait_for(progress=0.5)
        rig.virtual.control.damage(board.name, place.offset, place.size)
    expected.check(offering.result, "OOUO", air="FD FD S FD")


@pytest.mark.scenario("T5")
def test_files_of_the_user_are_not_touched(ota, board):
    places = data_partitions(board)
    if not places:
        pytest.skip("its partition table has no partition for files")
    before = [board.read(one.offset, SAMPLE_BYTES) for one in places]
    assert ota.ship().outcome is Outcome.UPGRADED
    assert [board.read(one.offset, SAMPLE_BYTES) for one in places] == before


@pytest.mark.requires("fixture-firmware", "rollback")
@pytest.mark.finding("crash")
@pytest.mark.scenario("T10")
def test_the_core_dump_of_a_crashed_image_is_kept(ota, firmware):
    if firmware.profile.fixture == "edgent-new":
        pytest.skip("new Edgent uploads the dump of the crashed image, and erases it")
    crash = {"when": "before_login", "how": "panic"}
    result = ota.offer(firmware.behaving(confirm="login", crash=crash, coredump="flash"))
    assert result.outcome is Outcome.REVERTED
    assert result.core_dumps or ota.deep_check().core_dumps
