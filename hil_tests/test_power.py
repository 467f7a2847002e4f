"""Power that goes away at the worst moment."""

import pytest

from pytest_blynk_ota import Outcome, faults


@pytest.mark.requires("power")
def test_a_power_cut_while_writing_is_survived(ota, power):
    # Slow enough that the cut comes long before the end of the file.
    with ota.shipping(faults=[faults.bandwidth(20_000)]) as shipment:
        shipment.wait_for(progress=0.6)
        power.cycle()
    assert shipment.result.outcome is Outcome.UPGRADED
    assert shipment.result.downloads[0].ended == "cut"
    assert len(shipment.result.downloads) == 2


@pytest.mark.requires("power")
def test_a_power_cut_at_any_moment_of_an_update_is_survived(ota):
    sweep = ota.sweep_power_cuts()
    assert sweep.all_well
