"""Power that goes away at the worst moment."""

import pytest
from expected import Expected

from pytest_blynk_ota import AirStatus, Outcome, faults

pytestmark = pytest.mark.requires("power")

SLOW = 20_000
"""Bytes a device second: the cut comes long before the end of the file."""


@pytest.mark.scenario("P1")
def test_a_cut_before_the_get_is_survived(ota, power):
    nobody = faults.unreachable("silent").on_attempt(1).maybe()  # so that no GET comes before it
    with ota.shipping(faults=[nobody]) as shipment:
        shipment.wait_for(air_status=AirStatus.REQUEST_SENT)
        power.cycle()
    assert shipment.result.outcome is Outcome.UPGRADED
    *before, last = shipment.result.downloads
    assert not any(download.acked for download in before)
    assert last.ended == "complete"


def assert_all_was_cut(sweep):
    """Where the rack tells its journal: each kind of operation of an update was hit."""
    if sweep.decided:
        phases = {row.phase.split()[0] for row in sweep.rows}
        assert phases >= {"writing", "selecting"}, phases


@pytest.mark.scenario("P3", "P21")
def test_a_cut_while_writing_is_survived(ota, power):
    with ota.shipping(faults=[faults.bandwidth(SLOW)]) as shipment:
        shipment.wait_for(progress=0.6)
        power.cycle()
    assert shipment.result.outcome is Outcome.UPGRADED
    assert shipment.result.downloads[0].ended == "cut"
    assert len(shipment.result.downloads) == 2


CUTS = ("P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P11", "P15")
"""What a sweep of one update cuts: each operation on the flash, not begun and torn."""


@pytest.mark.scenario(*CUTS, "P18")
def test_a_cut_at_any_moment_of_an_update_is_survived(ota):
    sweep = ota.sweep_power_cuts()
    assert sweep.all_well, sweep
    assert_all_was_cut(sweep)


@pytest.mark.nightly
@pytest.mark.baseline(slot=1)
@pytest.mark.scenario(*CUTS, "P18")
def test_a_cut_at_any_moment_is_survived_where_old_is_in_the_second_slot(ota):
    sweep = ota.sweep_power_cuts()
    assert sweep.all_well, sweep
    assert_all_was_cut(sweep)


@pytest.mark.nightly
@pytest.mark.requires("fixture-firmware", "rollback")
@pytest.mark.scenario("P10", "P12", "P13")
def test_a_cut_at_any_moment_of_a_rollback_leaves_a_board_that_runs(ota, firmware):
    sweep = ota.sweep_power_cuts(firmware.recipe("new-self-test-fails"))
    assert not sweep.bricks, sweep
    assert {row.result.outcome for row in sweep.rows} <= {Outcome.ROLLED_BACK, Outcome.REVERTED}
    assert {row.result.running for row in sweep.rows} == {firmware.old.version}


@pytest.mark.scenario("P10", "P14")
def test_a_cut_in_the_first_boot_ends_with_the_image_that_is_to_be_kept(
    ota, power, expected: Expected
):
    with ota.shipping() as shipment:
        shipment.wait_for(log=r"^(\[\d+\]|I \(\d+\) boot: Loaded|entry 0x)")
        power.cycle()
    assert shipment.result.outcome in (Outcome.UPGRADED, Outcome.REVERTED, Outcome.ROLLED_BACK)
    if expected.profile.confirms == "init":
        assert shipment.result.outcome is not Outcome.ROLLED_BACK


@pytest.mark.scenario("P16")
def test_five_cuts_in_one_update_are_survived(ota, power):
    with ota.shipping(faults=[faults.bandwidth(SLOW * 2)], download_limit=9) as shipment:
        for number in range(1, 6):
            shipment.wait_for(progress=0.1 * number, download=number)
            power.cycle()
    assert shipment.result.outcome is Outcome.UPGRADED
    assert [one.ended for one in shipment.result.downloads] == ["cut"] * 5 + ["complete"]


@pytest.mark.finding("crash", "unexpected reset")  # the brownout detector prints a panic
@pytest.mark.scenario("P17")
def test_a_dip_of_the_supply_costs_a_try_and_no_later_one(ota, rig, board):
    if rig.virtual is None:
        pytest.skip("only a virtual rack can make the supply dip")
    with ota.shipping(faults=[faults.bandwidth(SLOW)]) as shipment:
        shipment.wait_for(progress=0.4)
        rig.virtual.control.dip(board.name, 50)
    assert shipment.result.outcome is Outcome.UPGRADED


@pytest.mark.requires("ap")
@pytest.mark.scenario("P19")
def test_power_that_comes_back_before_the_network_is_no_reason_to_go_back(ota, power, network):
    with ota.shipping(faults=[faults.bandwidth(SLOW)]) as shipment:
        shipment.wait_for(progress=0.5)
        with network.without_ap():
            power.cycle(5)
    assert shipment.result.outcome is Outcome.UPGRADED
