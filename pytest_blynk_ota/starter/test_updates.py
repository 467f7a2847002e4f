"""Updates of our firmware, on good days and on bad ones.

pytest                                          boards made of software
pytest --rig=auto --old build/firmware.bin      the board on USB
"""

from pytest_blynk_ota import AirStatus, Outcome, faults


def test_clean_upgrade(ota):
    result = ota.ship()  # old -> new, healthy network
    assert result.outcome is Outcome.UPGRADED


def test_a_stalled_download_is_survived(ota):
    result = ota.offer(faults=[faults.stall(after="50%")])  # one offer, no second chance
    assert result.outcome is Outcome.STALLED
    assert ota.ship().outcome is Outcome.UPGRADED  # the next shipment gets through


def test_the_download_limit(ota):
    result = ota.ship(faults=[faults.stall(after="50%")], download_limit=3)
    assert result.outcome is Outcome.DOWNLOAD_LIMIT_REACHED
    assert result.air_status is AirStatus.DOWNLOAD_LIMIT_REACHED


def test_power_cut_while_writing(ota, power):
    with ota.shipping() as shipment:  # the same, with a hand in it
        shipment.wait_for(progress=0.6)
        power.cycle()
    assert shipment.result.outcome is Outcome.UPGRADED  # came back on old, was offered again
    assert shipment.result.downloads[0].ended == "cut"
