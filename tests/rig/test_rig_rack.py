"""A rig opens its boards and servers when asked, and mends what a failure or a test left."""

import threading
from functools import partial

import pytest

from pytest_blynk_ota.board.console import Console
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.errors import PortGone, RigError, UsageError
from pytest_blynk_ota.evidence.redact import Redactor
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.rig.config import check
from pytest_blynk_ota.rig.power import CommandOutlet
from pytest_blynk_ota.rig.rack import Rig

BOARD = {
    "chip": "esp32c3",
    "provision": {"kind": "edgent-nvs", "wifi": "env:WIFI"},
    "power": {"command": {"on": ["true"], "off": ["true"]}},
}
DATA = {
    "rig": {"name": "lab", "advertise": "127.0.0.1"},
    "board": [
        {"name": "s2", "port": "/dev/none-0", **BOARD, "chip": "esp32"},
        {"name": "c3", "port": "/dev/none-1", **BOARD},
        {"name": "bare", "port": "/dev/none-2", "chip": "esp32c3"},
    ],
}


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path))
    monkeypatch.setenv("WIFI", "lab:passphrase")
    recorder = Recorder(Timeline())
    made = Rig(check(DATA, "lab"), tmp_path, run=tmp_path, recorder=recorder, redactor=Redactor())
    yield made
    made.close()
    assert not [one for one in threading.enumerate() if one.name == "blynk-ota servers"]


@pytest.fixture
def ports_open(monkeypatch):
    monkeypatch.setattr(Console, "open", lambda self: None)


def test_a_board_whose_port_did_not_open_can_be_tried_again(rig):
    for _ in range(2):
        with pytest.raises(PortGone, match="cannot open"):
            rig.place("c3")


@pytest.mark.usefixtures("ports_open")
def test_the_choice_of_a_board_keeps_to_the_names_given(rig):
    assert rig.place(among=["c3"]).name == "c3"
    assert rig.place().name == "c3"  # open already
    assert rig.place("s2").name == "s2"


@pytest.mark.usefixtures("ports_open")
def test_a_board_that_a_test_left_without_power_is_switched_on_for_the_next(rig, monkeypatch):
    switched = []
    monkeypatch.setattr(CommandOutlet, "switch", lambda self, on: switched.append(on))
    rig.place("c3").power.off()
    rig.place("c3")
    rig.place("c3")
    assert switched == [False, True]
    last = rig.recorder.timeline.events()[-1]
    assert (last.source, last.kind, last.data) == ("power", "on", {"by": "rig"})


def test_servers_that_cannot_start_leave_nothing_and_say_so_each_time(rig, monkeypatch):
    async def start(self):
        raise RigError("no port for the firmware server")

    with monkeypatch.context() as broken:
        broken.setattr(DeliveryServer, "start", start)
        for _ in range(2):
            with pytest.raises(RigError, match="no port for the firmware server"):
                _ = rig.cloud
    assert not [one for one in threading.enumerate() if one.name == "blynk-ota servers"]
    assert rig.cloud.address[1] > 0


@pytest.mark.usefixtures("ports_open")
def test_a_rig_closes_all_that_it_has_though_one_port_does_not_close(rig, monkeypatch):
    def stuck(self):
        raise RigError("the port is stuck")

    rig.place("c3")
    with monkeypatch.context() as broken:
        broken.setattr(Console, "close", stuck)
        with pytest.raises(RigError, match="stuck"):
            rig.close()
    assert not [one for one in threading.enumerate() if one.name == "blynk-ota servers"]
    rig.close()


@pytest.mark.usefixtures("ports_open")
def test_a_board_without_a_token_is_told_which_keys_give_one(rig):
    with pytest.raises(UsageError, match='token = "env:NAME", or provision = '):
        rig.place("bare")


@pytest.mark.usefixtures("ports_open")
def test_what_a_server_sees_comes_after_what_the_boards_have_printed(rig, monkeypatch):
    """And on a busy host it says for how long it may have waited."""
    looked = []
    monkeypatch.setattr(Console, "notice", lambda self: looked.append(self.name))
    rig.place("c3")
    rig.place("s2")
    background = rig.background
    record = partial(rig._servers._record_seen, background)
    record("cloud", "login", "c3", session=1)
    assert sorted(looked) == ["c3", "s2"]
    monkeypatch.setattr(type(background), "behind_s", 0.1234)
    record("cloud", "login", "c3", session=2)
    logins = [e.data for e in rig.recorder.timeline.events() if e.kind == "login"]
    assert [one for one in logins if one["session"] == 2] == [{"session": 2, "waited_s": 0.123}]
