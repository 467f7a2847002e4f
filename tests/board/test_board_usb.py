"""What the host says of its ports: umockdev's made-up devices, real nodes, real holders."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys

import pytest

from pytest_blynk_ota.board import usb
from pytest_blynk_ota.board.naming import Known
from pytest_blynk_ota.board.ports import open_port
from pytest_blynk_ota.board.usb import Node, User, why_denied
from pytest_blynk_ota.errors import ConfigError, PortGone
from pytest_blynk_ota.rig.config import load

ANN = User("ann", ["ann"], ["ann"])
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a node of another group: root")


@pytest.mark.parametrize(
    ("node", "user", "says"),
    [
        (Node("/dev/ttyUSB0", "uucp", 0o660), ANN, "sudo usermod -aG uucp ann, and log in again"),
        (
            Node("/dev/ttyUSB0", "dialout", 0o660),
            User("ann", ["ann"], ["ann", "dialout"]),
            "has been added to its group dialout after this login: log in again",
        ),
        (
            Node("/dev/ttyUSB0", "dialout", 0o660),
            User("ann", ["dialout"], ["dialout"]),
            "is in its group dialout, so something else refuses: in a container",
        ),
        (Node("/dev/ttyUSB0", "root", 0o660), ANN, r"\(root, mode 660\) does not let users in"),
        (Node("/dev/ttyUSB0", "dialout", 0o600), ANN, r"\(dialout, mode 600\) does not let users"),
        (Node("/dev/ttyUSB0", None, 0o660), ANN, "one without a name.*udev/rules.d"),
    ],
)
def test_a_port_without_permission_says_which_group_to_join_or_what_else_to_do(node, user, says):
    assert re.search(says, why_denied(node, user))


def test_nobody_is_told_to_join_the_group_root():
    assert "usermod" not in why_denied(Node("/dev/ttyUSB0", "root", 0o660), ANN)


def as_nobody(path):
    """What opening says to a user without rights, in a child: root may open everything."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            open_port("c3-a", path, 115200)
        except BaseException as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        return said.read()


@needs_root
def test_the_group_is_that_of_the_node_itself():
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    try:
        shutil.chown(path, "root", "tape")
        os.chmod(path, 0o660)  # noqa: PTH101
        said = as_nobody(path)
    finally:
        os.close(master)
        os.close(slave)
    assert "sudo usermod -aG tape nobody, and log in again" in said


def test_a_port_held_by_another_program_is_named_with_its_pid_and_command():
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    os.close(slave)
    hold = "import serial,sys; port = serial.Serial(sys.argv[1], exclusive=True); input(port)"
    other = subprocess.Popen(
        [sys.executable, "-u", "-c", hold, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=True,
    )
    try:
        assert other.stdout.read(1)
        with pytest.raises(PortGone) as caught:
            open_port("c3-a", path, 115200)
    finally:
        other.communicate(b"\n", timeout=30)
        os.close(master)
    assert f"is held by another program: pid {other.pid} ({sys.executable} -u -c import" in str(
        caught.value
    )


# -- twenty boards that umockdev makes up

KINDS = (  # driver, node, vendor, product id, product, interfaces
    ("cp210x", "ttyUSB", "10c4", "ea60", "CP2102N USB to UART Bridge Controller", 1),
    ("ch341", "ttyUSB", "1a86", "7523", "USB Serial", 1),
    ("ftdi_sio", "ttyUSB", "0403", "6010", "Dual RS232-HS", 2),
    ("cdc_acm", "ttyACM", "303a", "1001", "USB JTAG/serial debug unit", 3),
)


def device(path, subsystem, attributes=(), properties=()):
    rows = [f"P: {path}", f"E: SUBSYSTEM={subsystem}"]
    rows += [f"E: {key}={value}" for key, value in properties]
    rows += [f"A: {key}={value}" for key, value in attributes]
    return rows


def tty(parent, node, driver):
    above = f"{parent}/{node}" if driver != "cdc_acm" else parent
    rows = [] if driver == "cdc_acm" else [*device(above, "usb-serial"), ""]
    rows += [f"P: {above}/tty/{node}", f"N: {node}", "E: SUBSYSTEM=tty", f"E: DEVNAME=/dev/{node}"]
    rows += [f"L: device=../../../{node}" if driver != "cdc_acm" else "L: device=../.."]
    return [*rows, ""]


@pytest.fixture
def mock(tmp_path):
    """Runs Python where umockdev shows twenty boards; what it prints is JSON."""
    tool = shutil.which("umockdev-run")
    if tool is None:
        pytest.skip("umockdev-run is not installed (apt-get install umockdev)")
    rows, wanted, counts = [], {}, {"ttyUSB": 0, "ttyACM": 0}
    for number in range(20):
        driver, kind, vendor, product_id, product, interfaces = KINDS[number % 4]
        place = f"1-1.{number + 1}"
        top = f"/devices/pci0000:00/0000:00:14.0/usb1/1-1/{place}"
        serial = {1: "", 3: f"84:F7:03:00:00:{number:02X}"}.get(number % 4, f"SER{number}")
        if number in (4, 8):
            serial = "0001"
        about = [("idVendor", vendor), ("idProduct", product_id), ("product", product)]
        about += [("bNumInterfaces", f" {interfaces}")]
        about += [("serial", serial)] if serial else []
        rows += [*device(top, "usb", about, [("DEVTYPE", "usb_device")]), ""]
        ports = 2 if driver == "ftdi_sio" else 1
        for interface in range(ports):
            node = f"{kind}{counts[kind]}"
            counts[kind] += 1
            under = f"{top}/{place}:1.{interface}"
            rows += [*device(under, "usb", (), [("DEVTYPE", "usb_interface")]), ""]
            rows += tty(under, node, driver)
            location = f"{place}:1.{interface}" if interfaces > 1 else place
            wanted[f"/dev/{node}"] = [f"{vendor}:{product_id}", serial, location, product]
    made = tmp_path / "boards.umockdev"
    made.write_text("\n".join(rows) + "\n")

    def run(code, *words):
        done = subprocess.run(
            [tool, "-d", str(made), "--", sys.executable, *(["-c", code] if code else []), *words],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run.wanted = wanted
    return run


LIST = """
import json
from pytest_blynk_ota.board.usb import seen_ports
rows = {one.device: [one.ids, one.serial, one.location, one.product] for one in seen_ports()}
print(json.dumps(rows))
"""
ROUND = """
import json
from pytest_blynk_ota.board.naming import best_name, locate, usb_ports
from pytest_blynk_ota.board.usb import seen_ports
seen = usb_ports(seen_ports())
rows = {one.device: [best_name(one, seen), locate(best_name(one, seen), seen)] for one in seen}
print(json.dumps(rows))
"""


def test_twenty_boards_are_listed_with_their_ids_serial_numbers_and_places(mock):
    assert len({row[2].partition(":")[0] for row in mock.wanted.values()}) == 20
    assert mock(LIST) == mock.wanted


def test_each_of_twenty_boards_has_a_name_that_finds_it_again(mock):
    rows = mock(ROUND)
    assert all(found == device for device, (_, found) in rows.items())
    names = [name for name, _ in rows.values()]
    assert len(set(names)) == len(mock.wanted)
    assert not any(name.startswith("/dev") or name == "usb:0001" for name in names)
    assert "usb:SER0" in names
    assert "mac:84:f7:03:00:00:03" in names
    assert "usb:SER2:1.1" in names
    assert {"usb:1-1.5", "usb:1-1.9"} <= set(names)


# -- what has been asked before


def test_what_a_board_said_of_its_mac_is_kept_and_replaced_by_what_it_says_later(tmp_path):
    path = tmp_path / "of" / "boards.json"
    first = Known("24:0a:c4:00:00:01", 0x10C4, 0xEA60, "A", "1-1")
    other = Known("24:0a:c4:00:00:02", 0x10C4, 0xEA60, "B", "1-2")
    usb.remember([first, other], path)
    assert usb.known_boards(path) == [first, other]
    behind_another = Known(first.mac, 0x10C4, 0xEA60, "C", "1-3")
    new_in_its_place = Known("24:0a:c4:00:00:03", 0x10C4, 0xEA60, "B", "1-2")
    usb.remember([behind_another, new_in_its_place], path)
    assert usb.known_boards(path) == [behind_another, new_in_its_place]


@pytest.mark.parametrize("text", ["{", '[{"mac": 1}]', "3"])
def test_a_damaged_list_of_known_boards_is_said_with_its_path(tmp_path, text):
    path = tmp_path / "boards.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"boards\.json: 1 problem\n.*delete it"):
        usb.known_boards(path)


def test_a_device_that_goes_while_the_list_is_made_is_looked_past(monkeypatch):
    told = iter([TypeError("int() can't convert non-string with explicit base"), []])

    def comports():
        answer = next(told)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(usb.list_ports, "comports", comports)
    assert usb.seen_ports() == []


COMMAND = "import sys; from pytest_blynk_ota.cli import main; sys.argv[0] = 'blynk-ota'; main()"


def test_rig_scan_lists_the_twenty_and_rig_init_writes_a_rig_of_them(mock, tmp_path):
    rows = mock(COMMAND, "rig", "scan", "--json")["ports"]
    assert {
        one["device"]: [one["usb"], one["serial"] or "", one["location"], one["product"]]
        for one in rows
    } == mock.wanted
    assert all(one["bridge"] and one["chip"] is None and one["denied"] is None for one in rows)
    said = mock(COMMAND, "rig", "init", "--json", "bench.toml")
    assert len(said["boards"]) == len(mock.wanted)
    config = load(tmp_path / "bench.toml")
    assert [one.port for one in config.board] == [one["name"] for one in rows]
    assert len({one.name for one in config.board}) == len(mock.wanted)
