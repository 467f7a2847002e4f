"""A test's hand at the network of the virtual rack, and what the next test finds."""

import pytest

from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.config import load
from pytest_blynk_ota.rig.rack import Rig

RIG = """
[rig]
name = "air"
speed = 20
[[board]]
name = "c3"
chip = "esp32c3"
port = "virtual"
provision = { kind = "edgent-nvs" }
"""


@pytest.fixture
def rig(tmp_path):
    path = tmp_path / "air.toml"
    path.write_text(RIG)
    recorder = Recorder(Timeline())
    made = Rig(load(path), path, run=tmp_path, recorder=recorder, redactor=Redactor())
    made.place("c3")
    yield made
    made.close()


def actions(rig):
    """What is recorded of the test's deeds."""
    events = rig.recorder.timeline.events()
    return [(one.board, one.data["what"]) for one in events if one.source == "test"]


def test_what_a_test_does_to_the_network_is_evidence_and_undone_for_the_next(rig):
    hand = rig.virtual.control
    hand.wifi("c3", on=False)
    hand.network(ap=False, dns={"*": "silence"})
    assert not hand.boards()[0]["wifi"]
    rig.mend()
    assert hand.boards()[0]["wifi"]
    told = hand.request("GET", "/network")
    assert (told["ap"], told["dns"]) == (True, {})
    assert actions(rig) == [
        ("c3", "wifi.off"),
        (None, "ap.off"),
        (None, "network.set"),
        ("c3", "wifi.on"),
        (None, "ap.on"),
    ]


def test_an_untouched_network_is_left_alone(rig):
    rig.mend()
    assert actions(rig) == []
