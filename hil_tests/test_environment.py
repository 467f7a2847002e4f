"""Networks that go, boards that share one, and updates by the dozen."""

import pytest
from expected import Expected

from pytest_blynk_ota import Outcome, faults

SECTOR_BYTES = 4096
TRIES = 18
"""More than the sockets, timers and tasks that a firmware has by default."""


@pytest.mark.requires("ap")
@pytest.mark.parametrize(
    "seconds", [10, pytest.param(300, marks=pytest.mark.nightly)], ids="{} s".format
)
@pytest.mark.scenario("E1")
def test_an_access_point_that_goes_in_the_download_costs_no_more_than_a_try(
    ota, network, expected: Expected, seconds
):
    with ota.shipping(faults=[faults.bandwidth(40_000)]) as shipment:
        shipment.wait_for(progress=0.4)
        network.ap_cycle(seconds)
    expected.check(shipment.result, "UUUU")


@pytest.mark.requires("ap")
@pytest.mark.scenario("E2")
def test_an_access_point_that_is_away_after_the_restart_is_no_reason_to_go_back(
    ota, network, expected: Expected
):
    with ota.shipping() as shipment:
        shipment.wait_for(progress=1.0)
        network.ap_cycle(20)
    expected.check(shipment.result, "UUUU")
    assert shipment.result.boots == 1


@pytest.mark.requires("fixture-firmware")
@pytest.mark.nightly
@pytest.mark.scenario("E3")
def test_new_that_finds_no_network_goes_back_if_its_firmware_knows_how(
    ota, firmware, expected: Expected
):
    result = ota.ship(firmware.behaving(finds_cloud=False))
    expected.check(result, "OOOV", air="FD FD FD NR")


@pytest.mark.requires("fixture-firmware")
@pytest.mark.scenario("E6")
def test_a_heap_that_has_no_room_for_a_buffer_costs_the_update_and_not_the_device(
    ota, firmware, expected: Expected
):
    short = firmware.behaving(largest_block=800)
    assert ota.offer(short).outcome is Outcome.UPGRADED
    result = ota.offer(firmware.restamped(firmware.new, "3.0.0"))
    expected.check(result, "RFRR", air="NR NR NR NR")  # new Edgent leaves by its restart
    assert result.running == short.version
    assert not result.crashes


@pytest.mark.nightly
@pytest.mark.scenario("E7")
def test_many_downloads_that_fail_leave_the_next_one_all_it_needs(ota, expected: Expected):
    """As many tries in one boot as a leak takes to show; four where each costs a restart."""
    mine = expected.profile
    restarts = mine.tries == 1 and mine.error_restart_s
    offers = 4 if restarts else -(-TRIES // mine.tries)
    results = [ota.offer(faults=[faults.status(503)]) for _ in range(offers)]
    assert {result.outcome for result in results} == {Outcome.DOWNLOAD_FAILED}
    assert ota.ship().outcome is Outcome.UPGRADED


@pytest.mark.nightly
@pytest.mark.scenario("E7")
def test_fifty_updates_in_a_row_take_no_longer_at_the_end(ota, firmware):
    versions = [f"3.{number}.0" for number in range(50)]
    results = [ota.ship(firmware.restamped(firmware.new, version)) for version in versions]
    assert {result.outcome for result in results} == {Outcome.UPGRADED}
    first, last = results[:10], results[-10:]
    assert sum(one.seconds for one in last) < 1.5 * sum(one.seconds for one in first)


@pytest.mark.requires("netem")
@pytest.mark.scenario("D47", "E4")
def test_a_network_that_loses_and_holds_back_packets_costs_time_alone(ota, network):
    with network.shaped(loss="5%", delay=0.2):
        result = ota.offer(timeout=600)
    assert result.outcome is Outcome.UPGRADED


@pytest.mark.nightly
@pytest.mark.scenario("D48")
def test_where_no_large_packet_comes_through_a_download_ends_and_the_next_is_whole(
    ota, rig, expected: Expected
):
    """Over such a path a device logs in, asks and gets its answer's head: only the file, in full
    packets, never comes. So it is a stall."""
    if rig.virtual is None:
        pytest.skip("only a virtual rack drops packets by their size")
    with rig.virtual.control.black_hole(1400):
        result = ota.offer(faults=[faults.stall(after=0, seconds=1)])  # the head goes alone
    expected.check(result, "SSSS")
    assert ota.ship().outcome is Outcome.UPGRADED


@pytest.mark.scenario("E13")
def test_while_nobody_reads_the_serial_port_the_other_witnesses_tell(ota, console):
    with ota.shipping(faults=[faults.bandwidth(40_000)]) as shipment:
        shipment.wait_for(progress=0.2)
        with console.lend():
            shipment.stay(20)
    assert shipment.result.outcome is Outcome.UPGRADED


@pytest.mark.requires("https")
@pytest.mark.scenario("E5")
def test_a_clock_that_is_wrong_stops_only_who_looks_at_dates(ota, rig, expected: Expected):
    if not rig.config.board[0].is_virtual:
        pytest.skip("only a virtual rack can give a board a wrong time")
    rig.virtual.control.network(clock_offset_s=-56 * 365 * 86400)  # before any certificate
    try:
        result = ota.offer(https=True)
    finally:
        rig.virtual.control.network(clock_offset_s=0)
    expected.check(result, "UUUN")


@pytest.mark.scenario("E8")
def test_a_worn_sector_costs_the_update_and_not_the_device(
    ota, board, rig, firmware, expected: Expected
):
    """Flash does not tell that it did not take what was written: each of them sends for all of the
    file, and refuses it when it looks at the whole."""
    if rig.virtual is None:
        pytest.skip("only a virtual rack can wear a sector out")
    slot = board.read_table().ota_slots[1]
    rig.virtual.control.wear(board.name, slot.offset + 8 * SECTOR_BYTES)
    result = ota.offer()
    expected.check(result, "RRRR")
    assert result.running == firmware.old.version
