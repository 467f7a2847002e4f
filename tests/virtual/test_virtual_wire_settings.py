"""What a rig file may say of a board's serial port."""

from __future__ import annotations

import pytest

from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.virtual.settings import board_settings


def settings(chip="esp32c3", **virtual):
    return board_settings({"name": "a", "chip": chip, "virtual": virtual})


def test_what_is_said_counts():
    said = settings(wire="pty", usb="bridge", paced=True)
    assert (said.wire, said.usb, said.paced) == ("pty", "bridge", True)
    assert settings(usb="jtag").usb == "jtag"


@pytest.mark.parametrize(
    ("chip", "virtual", "words"),
    [
        ("esp32", {"usb": "jtag"}, "virtual.usb: an esp32 has no USB port of its own.*'bridge'"),
        ("esp32c3", {"usb": "jtag", "paced": True}, "virtual.paced: .*has no baud rate"),
        ("esp32c3", {"wire": "usb"}, "virtual.wire: expected 'rfc2217' or 'socket' or 'pty'"),
        ("esp32c3", {"paced": 1}, "virtual.paced: expected true or false"),
        ("esp32c3", {"mac": "02:b1"}, "virtual.mac: expected a MAC address"),
        ("esp32c3", {"revision": "3"}, "virtual.revision: expected a chip revision"),
        ("esp32c3", {"bad_sectors": [1]}, "virtual.bad_sectors: .*multiples of 0x1000"),
        ("esp32c3", {"bad_sectors": [4 << 20]}, "virtual.bad_sectors: .*below 0x400000"),
        ("esp32c3", {"flsh": "x"}, "virtual.flsh: unknown key; did you mean 'flash'"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(chip, virtual, words):
    with pytest.raises(UsageError, match=words):
        settings(chip, **virtual)


def test_every_mistake_of_a_board_is_said():
    with pytest.raises(ConfigError) as refused:
        settings("esp32", usb="jtag", mac="x", paced=True, bad_sectors=[1])
    keys = [problem.partition(":")[0] for problem in refused.value.problems]
    assert keys == ["virtual.mac", "virtual.bad_sectors", "virtual.usb", "virtual.paced"]
