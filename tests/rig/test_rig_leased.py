"""One board has one lease, however a rig file calls its port."""

import pytest

from pytest_blynk_ota.board.naming import Seen
from pytest_blynk_ota.rig.leased import leased_as, name_of

BRIDGE = Seen("/dev/ttyUSB0", 0x10C4, 0xEA60, "5A6B012345", "1-1.1", "CP2102")
CLONE = Seen("/dev/ttyUSB1", 0x10C4, 0xEA60, "0001", "1-1.2", "CP2102")
OTHER = Seen("/dev/ttyUSB2", 0x10C4, 0xEA60, "0001", "1-1.3", "CP2102")
NATIVE = Seen("/dev/ttyACM0", 0x303A, 0x1001, "84:F7:03:12:34:56", "1-1.4:1.0", "USB JTAG")
SEEN = [BRIDGE, CLONE, OTHER, NATIVE]


@pytest.mark.parametrize(
    ("names", "lease"),
    [
        (["/dev/ttyUSB0", "usb:5A6B012345", "usb:1-1.1"], "usb:5A6B012345"),
        (["/dev/ttyUSB1", "usb:1-1.2"], "usb:1-1.2"),
        (
            ["/dev/ttyACM0", "usb:84:F7:03:12:34:56", "mac:84:f7:03:12:34:56", "mac:84F703123456"],
            "mac:84:f7:03:12:34:56",
        ),
    ],
)
def test_all_names_of_a_board_are_one_lease(names, lease):
    assert {name_of(name, SEEN) for name in names} == {lease}


def test_a_board_with_its_own_usb_keeps_its_lease_while_it_is_unplugged():
    for name in ("usb:84:F7:03:12:34:56", "mac:84:f7:03:12:34:56"):
        assert name_of(name, SEEN) == name_of(name, [BRIDGE])


def test_a_port_that_is_no_usb_port_is_leased_by_its_real_path(tmp_path):
    (tmp_path / "port").touch()
    (tmp_path / "link").symlink_to(tmp_path / "port")
    assert name_of(str(tmp_path / "link"), SEEN) == str(tmp_path / "port")


def test_a_server_is_leased_by_its_address():
    assert leased_as("rfc2217://rack:4000") == "rfc2217://rack:4000"
