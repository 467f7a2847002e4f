"""What a rig file may say of a board's serial port."""

from __future__ import annotations

import pytest

from pytest_blynk_ota.errors import UsageError
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
    ],
)
def test_what_cannot_be_is_refused_by_its_key(chip, virtual, words):
    with pytest.raises(UsageError, match=words):
        settings(chip, **virtual)
