"""Each way to name a board leads to one port, or says which ports there are and what to write."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.board.naming import Known, Seen, best_name, locate, names_a_port
from pytest_blynk_ota.errors import ConfigError, PortGone

CP2102 = {"vid": 0x10C4, "pid": 0xEA60, "product": "CP2102 USB to UART Bridge Controller"}
NATIVE = {"vid": 0x303A, "pid": 0x1001, "product": "USB JTAG/serial debug unit"}
BRIDGED = Seen("/dev/ttyUSB0", serial="5A6B012345", location="1-1.1", **CP2102)
CLONE_A = Seen("/dev/ttyUSB1", serial="0001", location="1-1.2", **CP2102)
CLONE_B = Seen("/dev/ttyUSB2", serial="0001", location="1-1.3", **CP2102)
C3 = Seen("/dev/ttyACM0", serial="84:F7:03:12:34:56", location="1-1.4:1.0", **NATIVE)
PROG_A = Seen("/dev/ttyUSB3", 0x0403, 0x6010, "FT1", "1-2:1.0", "Dual RS232-HS")
PROG_B = Seen("/dev/ttyUSB4", 0x0403, 0x6010, "FT1", "1-2:1.1", "Dual RS232-HS")
BUILT_IN = Seen("/dev/ttyS0")
SEEN = [BRIDGED, CLONE_A, CLONE_B, C3, PROG_A, PROG_B, BUILT_IN]
ASKED = [Known("24:0a:c4:00:01:10", 0x10C4, 0xEA60, "5A6B012345", "1-1.1")]
CLONES = [
    Known("24:0a:c4:00:00:0a", 0x10C4, 0xEA60, "0001", "1-1.2"),
    Known("24:0a:c4:00:00:0b", 0x10C4, 0xEA60, "0001", "1-1.3"),
]
BY_ID = "/dev/serial/by-id/usb-Silicon_Labs_CP2102_USB_to_UART_Bridge_Controller_{}-if00-port0"


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("usb:5A6B012345", "/dev/ttyUSB0"),
        ("usb:5a6b012345", "/dev/ttyUSB0"),
        ("usb:84:F7:03:12:34:56", "/dev/ttyACM0"),
        ("usb:1-1.3", "/dev/ttyUSB2"),
        ("usb:1-1.4", "/dev/ttyACM0"),
        ("usb:1-1.4:1.0", "/dev/ttyACM0"),
        ("usb:FT1:1.1", "/dev/ttyUSB4"),
        ("usb:1-2:1.0", "/dev/ttyUSB3"),
        ("mac:84:f7:03:12:34:56", "/dev/ttyACM0"),
        ("mac:84F703123456", "/dev/ttyACM0"),
        ("mac:24-0A-C4-00-01-10", "/dev/ttyUSB0"),
        ("/dev/ttyUSB7", "/dev/ttyUSB7"),
        (BY_ID.format("5A6B012345"), BY_ID.format("5A6B012345")),
        ("/dev/serial/by-path/pci-0000:00-usb-0:1.2:1.0", None),
        ("rfc2217://rack-pi.local:4000", None),
        ("socket://rack-pi.local:4000", None),
    ],
)
def test_each_way_to_name_a_board_leads_to_its_port(name, device):
    assert locate(name, SEEN, ASKED) == (device or name)
    assert names_a_port(name)


@pytest.mark.parametrize("name", ["usb:5A6B012345", "mac:24:0a:c4:00:01:10"])
def test_a_board_is_found_on_whatever_port_it_comes_back(name):
    moved = Seen("/dev/ttyUSB9", serial="5A6B012345", location="3-2", **CP2102)
    assert locate(name, [CLONE_A, moved], ASKED) == "/dev/ttyUSB9"


def test_two_boards_with_the_same_serial_number_are_told_apart_by_their_sockets():
    with pytest.raises(PortGone) as caught:
        locate("usb:0001", SEEN)
    assert str(caught.value) == (
        "usb:0001 means 2 ports. Write one of these instead: "
        "usb:1-1.2 (/dev/ttyUSB1, CP210x, serial 0001); "
        "usb:1-1.3 (/dev/ttyUSB2, CP210x, serial 0001)"
    )
    assert locate("usb:1-1.2", SEEN) == "/dev/ttyUSB1"


def test_a_link_by_serial_number_is_refused_where_two_boards_have_that_number():
    link = BY_ID.format("0001")
    with pytest.raises(PortGone, match=r"leads to any one of 2 ports.*usb:1-1\.2 .*usb:1-1\.3"):
        locate(link, SEEN)
    assert locate(link, [CLONE_A, BRIDGED]) == link


def test_the_same_number_on_bridges_of_two_makers_is_no_clash_of_links():
    other = Seen("/dev/ttyUSB8", 0x1A86, 0x55D4, "0001", "1-4", "USB Single Serial")
    assert locate(BY_ID.format("0001"), [CLONE_A, other]) == BY_ID.format("0001")


def test_two_ports_of_one_device_are_told_apart_by_the_interface():
    with pytest.raises(PortGone, match=r"means 2 ports.*usb:FT1:1\.0 .*usb:FT1:1\.1 "):
        locate("usb:FT1", SEEN)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("usb:XYZ", "no USB serial port has the serial number XYZ; found: usb:5A6B012345 "),
        ("usb:9-1", "no USB serial port is at the place 9-1; found: "),
        ("mac:24:0a:c4:ff:ff:ff", "the MAC 24:0a:c4:ff:ff:ff; found: .*rig scan --ask"),
    ],
)
def test_a_name_that_nothing_has_says_what_there_is(name, says):
    with pytest.raises(PortGone, match=says):
        locate(name, SEEN, ASKED)


def test_with_no_port_at_all_the_message_says_none():
    with pytest.raises(PortGone, match=r"found: none\. Is the board plugged in"):
        locate("usb:XYZ", [])


@pytest.mark.parametrize("name", ["ttyUSB0", "mac:24:0a", "gopher://x", ""])
def test_what_names_no_board_is_a_configuration_error(name):
    with pytest.raises(ConfigError, match="expected "):
        locate(name, SEEN)


@pytest.mark.parametrize("name", ["lab1", "rigs/lab1.toml", "/dev/shm/rig.toml", "virtual"])
def test_the_name_or_file_of_a_rig_names_no_port(name):
    assert not names_a_port(name)


def test_clones_that_have_been_asked_are_known_by_their_sockets():
    assert locate("mac:24:0a:c4:00:00:0b", SEEN, CLONES) == "/dev/ttyUSB2"


def test_a_clone_in_the_socket_of_another_is_not_taken_for_one_that_is_gone():
    with pytest.raises(PortGone, match="no USB serial port is known to lead to the chip"):
        locate("mac:24:0a:c4:00:00:0b", [CLONE_A], CLONES)


def test_a_number_that_a_maker_gives_to_all_its_boards_is_no_name_for_a_rig_file():
    assert best_name(CLONE_A, [CLONE_A]) == "usb:1-1.2"
    assert best_name(BRIDGED, SEEN) == "usb:5A6B012345"
    assert best_name(C3, SEEN) == "mac:84:f7:03:12:34:56"
    assert best_name(BUILT_IN, SEEN) == "/dev/ttyS0"


PORTS = st.lists(
    st.builds(
        Seen,
        device=st.just(""),
        vid=st.sampled_from([None, 0x10C4, 0x303A]),
        pid=st.just(0xEA60),
        serial=st.sampled_from(["", "0001", "A", "a", "1-1", "84F703123456", "84:f7:03:12:34:56"]),
        location=st.sampled_from(["", "1-1", "1-1:1.0", "1-1:1.1", "1-2", "A"]),
    ),
    max_size=6,
).map(
    lambda ports: [
        Seen(f"/dev/ttyUSB{at}", one.vid, one.pid, one.serial, one.location)
        for at, one in enumerate(ports)
    ]
)


@given(PORTS)
def test_the_name_that_we_write_leads_back_to_the_port(seen):
    for port in seen:
        assert locate(best_name(port, seen), seen) == port.device


@given(PORTS)
def test_every_name_in_a_message_about_several_ports_leads_to_one(seen):
    for port in seen:
        try:
            locate(f"usb:{port.serial or 'x'}", seen)
        except PortGone as error:
            for word in re.findall(r"(\S+) \(/dev/", str(error)):
                assert locate(word, seen)
