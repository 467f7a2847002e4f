"""Power that goes away at the worst moment."""

import pytest

from pytest_blynk_ota import Outcome


@pytest.mark.requires("power")
def test_a_power_cut_while_writing_is_survived(ota, power):
    with ota.shipping() as shipment:
        shipment.wait_for(progress=0.6)
        power.cycle()
    assert shipment.result.outcome is Outcome.UPGRADED
    assert shipment.result.downloads[0].ended == "cut"
    assert len(shipment.result.downloads) == 2
