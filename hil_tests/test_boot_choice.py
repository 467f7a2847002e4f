"""What the bootloader starts where the flash is not as an update leaves it: spoilt slots, spoilt
otadata. With any firmware: the bytes are written over the loader, and the board is mended by the
next restore."""

import pytest

from pytest_blynk_ota import AirRules, Outcome
from pytest_blynk_ota.firmware.otadata import SECTOR_BYTES, Entry, State

NOTHING = bytes(SECTOR_BYTES)
"""Neither an otadata entry nor the head of an image."""


@pytest.fixture
def watched(ota, firmware):
    """A watch in which nothing is shipped, for a hand in the middle."""

    def watch(timeout=None):
        later = firmware.restamped(firmware.new, "3.0.0")
        return ota.shipping(later, rules=AirRules(auto_update=False), timeout=timeout)

    return watch


@pytest.mark.scenario("B18")
def test_where_both_entries_were_given_up_the_first_slot_is_started(ota, board, firmware, watched):
    place = board.read_table().otadata
    assert ota.ship().outcome is Outcome.UPGRADED
    with watched() as watch:
        given_up = [Entry(number, State.ABORTED).build() for number in (1, 2)]
        board.write({place.offset + SECTOR_BYTES * at: one for at, one in enumerate(given_up)})
    assert watch.result.running == firmware.old.version


@pytest.mark.scenario("B19")
def test_with_both_slots_spoilt_a_board_is_named_dead(board, watched):
    slots = board.read_table()
    if slots.factory is not None:
        pytest.skip("its factory application is started then: B20")
    with watched(timeout=5) as watch:
        board.write({slot.offset: NOTHING for slot in slots.ota_slots})
    assert watch.result.outcome is Outcome.BRICKED
    assert watch.result.running is None


@pytest.mark.baseline(factory=True)
@pytest.mark.scenario("B20")
def test_with_both_slots_spoilt_the_factory_application_is_back(board, firmware, watched):
    table = board.read_table()
    if table.factory is None:
        pytest.skip("its partition table has no factory partition")
    with watched() as watch:
        board.write({slot.offset: NOTHING for slot in table.ota_slots})
    assert watch.result.running == firmware.factory.version
    assert watch.result.outcome is Outcome.REVERTED  # to what is neither Old nor New


@pytest.mark.parametrize(
    "spoilt",
    [pytest.param(0, id="the older", marks=pytest.mark.nightly), pytest.param(1, id="the newer")],
)
@pytest.mark.scenario("B21")
def test_with_one_entry_spoilt_the_slot_of_the_other_is_started(
    ota, board, firmware, watched, spoilt
):
    place = board.read_table().otadata
    assert ota.ship().outcome is Outcome.UPGRADED
    with watched() as watch:
        board.write({place.offset + SECTOR_BYTES * spoilt: NOTHING})
    stays = firmware.old if spoilt else firmware.new
    assert watch.result.running == stays.version


@pytest.mark.nightly
@pytest.mark.baseline(factory=True)
@pytest.mark.scenario("B21")
def test_without_any_entry_the_factory_application_is_started(board, firmware, watched):
    table = board.read_table()
    if table.factory is None:
        pytest.skip("its partition table has no factory partition")
    with watched() as watch:
        board.write({table.otadata.offset + SECTOR_BYTES * at: NOTHING for at in (0, 1)})
    assert watch.result.running == firmware.factory.version
