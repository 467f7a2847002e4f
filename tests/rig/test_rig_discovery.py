"""Boards are found by what USB says of them, and asked over their wires, with consent."""

import json
import re
import tomllib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from serial.tools.list_ports_common import ListPortInfo

from pytest_blynk_ota.board import usb
from pytest_blynk_ota.board.board import Board, Identity
from pytest_blynk_ota.board.naming import Known, Seen, best_name, label_of
from pytest_blynk_ota.cli import rig_scan
from pytest_blynk_ota.cli.rig import command
from pytest_blynk_ota.errors import (
    BlynkOtaError,
    ConfigError,
    LeaseHeld,
    PortGone,
    Unavailable,
    UsageError,
)
from pytest_blynk_ota.rig import discovery, one_board
from pytest_blynk_ota.rig.config import check, load
from pytest_blynk_ota.rig.discovery import Found, ask, identity_of, look, the_board
from pytest_blynk_ota.rig.lease import Lease
from pytest_blynk_ota.rig.one_board import is_one_board, rig_of_one
from pytest_blynk_ota.rig.rig_text import rig_text
from pytest_blynk_ota.rig.virtual_rack import VirtualRack

BOARDS = {
    "c3-a": ("esp32c3", "rfc2217"),
    "esp32-a": ("esp32", "rfc2217"),
    "s3-a": ("esp32s3", "rfc2217"),
    "pty-a": ("esp32c3", "pty"),
}
WIFI = {"WIFI": "lab:passphrase"}


@pytest.fixture(scope="module")
def rack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    path = folder / "rig.toml"
    path.write_text(
        '[rig]\nname = "found"\nspeed = 20\n'
        + "".join(
            f'[[board]]\nname = "{name}"\nchip = "{chip}"\nport = "virtual"\n'
            f'virtual = {{ wire = "{wire}" }}\n'
            for name, (chip, wire) in BOARDS.items()
        )
    )
    made = VirtualRack(path, list(BOARDS), folder / "rack.log")
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLYNK_OTA_LOCKS", str(tmp_path / "locks"))


@pytest.fixture
def plugged(monkeypatch, rack):
    """Puts virtual boards behind made-up USB devices: what the system lists leads to them."""

    def plug(*rows):
        ports = []
        for name, *ids in rows:
            device = rack.ports[name].url if name in BOARDS else name
            ports.append(ListPortInfo(device, skip_link_detection=True))
            keys = ("vid", "pid", "serial_number", "location")
            vars(ports[-1]).update(zip(keys, ids, strict=True))
        monkeypatch.setattr(usb.list_ports, "comports", lambda: ports)

    return plug


CP2102 = (0x10C4, 0xEA60)
MODEM = (0x2C7C, 0x0125)
ONE = ("c3-a", *CP2102, "5A6B", "1-1.2")
TWO = ("esp32-a", *CP2102, "0001", "1-1.3")
THREE = ("s3-a", *CP2102, "0001", "1-1.4")


# -- asking


@pytest.mark.parametrize("name", ["c3-a", "esp32-a", "s3-a"])
def test_a_board_says_its_chip_revision_mac_and_flash_size(rack, name):
    (found,) = look([rack.ports[name].url])
    told = ask(found).told
    assert (told.chip, told.mac, told.flash_bytes, told.virtual) == (
        BOARDS[name][0], rack.ports[name].mac, 4 << 20, True,
    )  # fmt: skip
    assert told.revision in ("v0.3", "v3.0", "v0.2")


def test_a_board_that_was_asked_runs_again(rack):
    identity_of(rack.ports["c3-a"].url)
    (row,) = (one for one in rack.control.boards() if one["name"] == "c3-a")
    assert "download" not in row["state"]


def test_a_port_without_lines_says_that_it_cannot_reset_the_chip(rack):
    (found,) = look([rack.ports["pty-a"].url])
    asked = ask(found)
    assert asked.told is None
    assert "cannot reset the chip; use rfc2217" in asked.error


def test_a_board_that_a_test_run_has_is_not_asked(rack):
    url = rack.ports["c3-a"].url
    lease = Lease("c3-a", url)
    try:
        with pytest.raises(LeaseHeld, match="is held by pid"):
            identity_of(url)
        assert "is held by pid" in ask(look([url])[0]).error
    finally:
        lease.close()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Found(Seen("/dev/x"), "usb:A", held="pid 7 (screen)"), "held by pid 7 .*Stop it first"),
        (Found(Seen("/dev/x"), "usb:A", denied="join dialout"), "not asked: join dialout"),
    ],
)
def test_a_port_that_is_held_or_closed_to_this_user_is_not_asked(found, says):
    assert re.search(says, ask(found).error)


# -- names


def test_a_board_is_found_again_on_another_port(plugged, rack):
    plugged(ONE)
    assert identity_of("usb:5A6B").mac == rack.ports["c3-a"].mac
    plugged(("s3-a", *CP2102, "5A6B", "3-1"))
    assert identity_of("usb:5A6B").mac == rack.ports["s3-a"].mac


def test_a_board_behind_a_bridge_is_known_by_its_mac_once_it_was_asked(plugged, rack):
    plugged(ONE, TWO, THREE)
    mac = rack.ports["s3-a"].mac
    with pytest.raises(PortGone, match="rig scan --ask"):
        identity_of(f"mac:{mac}")
    discovery.remember([ask(one) for one in look()])
    assert identity_of(f"mac:{mac}").chip == "esp32s3"


def test_a_board_with_another_mac_than_its_name_says_is_refused_untouched(plugged, rack):
    plugged(ONE)
    wanted = "24:0a:c4:00:00:01"
    usb.remember([Known(wanted, *CP2102, "5A6B", "1-1.2")])
    before = rack.control.flash("c3-a")
    said = []
    with (
        Board("c3-a", "esp32c3", f"mac:{wanted}", lambda *row, **data: said.append(row)) as board,
        pytest.raises(ConfigError, match=f"MAC {rack.ports['c3-a'].mac} answers; nothing was wri"),
    ):
        board.read(0, 16)
    assert rack.control.flash("c3-a") == before


def test_a_path_that_is_not_there_says_what_is(plugged):
    plugged(ONE)
    with pytest.raises(PortGone, match=r"there is no /dev/ttyNONE; found: usb:5A6B \("):
        look(["/dev/ttyNONE"])


# -- a rig of one board


def test_auto_is_the_one_board_that_is_there(plugged, rack, tmp_path):
    plugged(ONE, ("/dev/ttyUSB7", *MODEM, "", "1-3"))
    config = load(rig_of_one("auto", tmp_path, has_firmware=False, environ=WIFI))
    (board,) = config.board
    assert (board.port, board.chip, board.provision.kind) == ("usb:5A6B", "esp32c3", "edgent-nvs")
    assert not board.is_virtual


def test_a_port_is_a_rig_of_the_board_there(rack, tmp_path):
    url = rack.ports["esp32-a"].url
    environ = {"BLYNK_TOKEN": "t" * 32}
    config = load(rig_of_one(url, tmp_path, has_firmware=False, environ=environ))
    (board,) = config.board
    assert (board.port, board.chip, board.token) == (url, "esp32", "env:BLYNK_TOKEN")
    assert board.provision.kind == "none"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no USB serial port is there. Is a board plugged in"),
        (
            [ONE, TWO, THREE],
            r"(?s)3 are there\. .*rig init\n(?=.*usb:5A6B )(?=.*usb:1-1\.3 )(?=.*usb:1-1\.4 )",
        ),
        ([("/dev/ttyUSB7", *MODEM, "", "1-3")], r"name it by --rig: usb:1-3 \(/dev/ttyUSB7"),
        ([("/dev/ttyS0", None, None, None, None)], "no USB serial port is there"),
    ],
    ids=["none", "three", "a modem", "built in"],
)
def test_auto_with_no_board_or_several_says_which_there_are(plugged, rows, says):
    plugged(*rows)
    with pytest.raises(Unavailable, match=says):
        the_board("auto")


def test_auto_takes_the_console_of_a_programmer_not_its_jtag(plugged):
    plugged(
        ("/dev/ttyUSB0", 0x0403, 0x6010, "FT1", "1-2:1.0"),
        ("/dev/ttyUSB1", 0x0403, 0x6010, "FT1", "1-2:1.1"),
    )
    assert the_board("auto").port.device == "/dev/ttyUSB1"


def test_without_settings_the_message_says_which_and_no_board_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(one_board, "the_board", pytest.fail)
    with pytest.raises(UsageError, match=r"WIFI to \"ssid:passphrase\".*BLYNK_TOKEN"):
        rig_of_one("auto", tmp_path, has_firmware=True, environ={})


def test_a_real_board_needs_firmware_of_its_own(plugged, monkeypatch, tmp_path):
    plugged(ONE)
    real = Identity("esp32c3", "24:0a:c4:00:00:01", 4 << 20, virtual=False)
    monkeypatch.setattr(one_board, "identity_of", lambda name: real)
    with pytest.raises(UsageError, match=r"is a real esp32c3.*--old build/firmware.bin"):
        rig_of_one("auto", tmp_path, has_firmware=False, environ=WIFI)
    assert rig_of_one("auto", tmp_path, has_firmware=True, environ=WIFI).is_file()


def test_a_chip_that_cannot_be_tested_is_named(plugged, monkeypatch, tmp_path):
    plugged(ONE)
    c6 = Identity("esp32c6", "24:0a:c4:00:00:01", 4 << 20, virtual=False)
    monkeypatch.setattr(one_board, "identity_of", lambda name: c6)
    with pytest.raises(Unavailable, match="is an esp32c6; chips that can be tested: esp32, "):
        rig_of_one("auto", tmp_path, has_firmware=True, environ=WIFI)


def test_a_board_that_does_not_answer_is_said_as_what_the_request_lacks(rack, tmp_path):
    url = rack.ports["c3-a"].url
    lease = Lease("c3-a", url)
    try:
        with pytest.raises(Unavailable, match=r"--rig rfc2217://.*is held by pid"):
            rig_of_one(url, tmp_path, has_firmware=True, environ=WIFI)
    finally:
        lease.close()


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("auto", "auto"),
        ("/dev/ttyUSB0", "ttyUSB0"),
        ("usb:1-1.2", "usb-1-1.2"),
        ("rfc2217://rack-pi:4000", "rfc2217-rack-pi-4000"),
    ],
)
def test_a_rig_of_one_board_has_a_file_that_is_named_like_it(word, label):
    assert is_one_board(word)
    assert label_of(word) == label


# -- the commands


def run(*words, **more):
    return CliRunner().invoke(command, list(words), **more)


@pytest.fixture
def _no_port_is_opened(monkeypatch):
    def refuse(*_):
        raise AssertionError("a port was opened without consent")

    monkeypatch.setattr("pytest_blynk_ota.board.console.open_port", refuse)


@pytest.mark.usefixtures("_no_port_is_opened")
def test_a_scan_without_consent_lists_and_opens_no_port(plugged):
    plugged(ONE, TWO)
    done = run("scan", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["ports"]
    assert {(one["name"], one["usb"], one["chip"]) for one in rows} == {
        ("usb:5A6B", "10c4:ea60", None),
        ("usb:1-1.3", "10c4:ea60", None),
    }
    assert run("scan").exit_code == 0
    assert run("init", "rig.toml").exit_code == 0


@pytest.mark.usefixtures("_no_port_is_opened")
def test_on_a_terminal_a_no_leaves_the_boards_alone(plugged, monkeypatch):
    plugged(ONE)
    monkeypatch.setattr(rig_scan, "_on_a_terminal", lambda: True)
    done = run("scan", input="n\n")
    assert done.exit_code == 0
    assert "Ask usb:5A6B for chip, MAC and flash size? Each is reset" in done.stdout


def test_a_yes_asks_each_board_and_remembers_its_mac(plugged, monkeypatch, rack):
    plugged(ONE, ("/dev/ttyUSB7", *MODEM, "M", "1-3"))
    monkeypatch.setattr(rig_scan, "_on_a_terminal", lambda: True)
    done = run("scan", input="y\n")
    assert done.exit_code == 0, done.output
    mac = rack.ports["c3-a"].mac
    assert f"esp32c3 v0.3 (virtual), MAC {mac}, 4 MB flash" in done.stdout
    assert [one.mac for one in usb.known_boards()] == [mac]


def test_a_board_that_does_not_answer_makes_code_3_and_the_others_are_listed(rack):
    done = run("scan", "--ask", "--json", rack.ports["pty-a"].url, rack.ports["c3-a"].url)
    assert done.exit_code == 3
    deaf, fine = json.loads(done.stdout)["ports"]
    assert "cannot reset the chip" in deaf["error"]
    assert fine["chip"] == "esp32c3"


def test_a_scan_of_nothing_says_what_to_look_at(plugged):
    plugged()
    done = run("scan")
    assert done.exit_code == 0
    assert "Is a board plugged in" in done.stdout
    assert json.loads(run("scan", "--json").stdout) == {"ports": []}


def test_init_writes_a_rig_of_the_boards_that_answered(plugged, rack, tmp_path):
    plugged(ONE, TWO, THREE, ("/dev/ttyUSB7", *MODEM, "M", "1-3"))
    done = run("init", "--ask", "rigs/bench.toml")
    assert done.exit_code == 0, done.output
    config = load(tmp_path / "rigs" / "bench.toml")
    assert config.rig.name == "bench"
    assert {(one.name, one.chip, one.port) for one in config.board} == {
        ("c3-a", "esp32c3", "usb:5A6B"),
        ("esp32-a", "esp32", "usb:1-1.3"),
        ("s3-a", "esp32s3", "usb:1-1.4"),
    }
    text = (tmp_path / "rigs" / "bench.toml").read_text()
    assert rack.ports["s3-a"].mac in text
    assert '"-l", "1-1", "-p", "4"' in text
    assert run("check", "rigs/bench.toml").exit_code == 0


def test_a_board_that_does_not_answer_is_left_out_of_the_rig_file(plugged, rack, tmp_path):
    plugged(ONE, ("pty-a", *CP2102, "DEAF", "1-1.9"))
    assert run("init", "--ask", "bench.toml").exit_code == 3
    assert [one.port for one in load(tmp_path / "bench.toml").board] == ["usb:5A6B"]
    (line,) = re.findall("# Left out: .*", (tmp_path / "bench.toml").read_text())
    assert "serial number DEAF" in line
    assert "cannot reset the chip" in line


def test_init_does_not_replace_a_file_unless_it_is_told_to(plugged, tmp_path):
    plugged()
    (tmp_path / "mine.toml").write_text("mine")
    done = run("init", "mine.toml")
    assert isinstance(done.exception, UsageError)
    assert "mine.toml is there already" in str(done.exception)
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert run("init", "--force", "mine.toml").exit_code == 0
    assert run("check", "mine.toml").exit_code == 0


def test_init_with_no_board_says_so_and_leaves_one_to_fill_in(plugged, tmp_path):
    plugged()
    done = run("init")
    assert done.exit_code == 0
    assert "Is a board plugged in" in done.stdout
    (board,) = load(tmp_path / "rigs" / "lab.toml").board
    with pytest.raises(PortGone, match="no USB serial port has the serial number SERIAL-NUMBER"):
        identity_of(board.port)


TEXT = st.text(max_size=12)
FOUND = st.lists(
    st.builds(
        Found,
        port=st.builds(
            Seen,
            device=st.integers(0, 99).map("/dev/ttyUSB{}".format),
            vid=st.sampled_from([0x303A, 0x10C4, 0x1234]),
            pid=st.just(0xEA60),
            serial=st.one_of(TEXT, st.sampled_from(["0001", "84:F7:03:12:34:56"])),
            location=st.sampled_from(["", "1-1", "1-1.4:1.0", "2-3.1"]),
            product=TEXT,
        ),
        name=st.just(""),
        error=st.one_of(st.just(""), TEXT),
        told=st.one_of(
            st.none(),
            st.builds(
                Identity,
                chip=st.sampled_from(["esp32", "esp32c3", "esp32c6", "esp32s3"]),
                mac=st.just("24:0a:c4:00:00:01"),
                flash_bytes=st.just(4 << 20),
                virtual=st.booleans(),
                revision=st.just("v0.4"),
            ),
        ),
    ),
    max_size=30,
    unique_by=lambda one: one.port.device,
)


@given(FOUND, TEXT)
def test_a_rig_file_of_any_boards_is_one_that_check_takes(boards, name):
    seen = [one.port for one in boards]
    named = [
        Found(one.port, best_name(one.port, seen), told=one.told, error=one.error) for one in boards
    ]
    config = check(tomllib.loads(rig_text(name, name, named)), "made")
    fit = [
        one.name
        for one in named
        if not one.error and (one.told is None or one.told.chip != "esp32c6")
    ]
    assert [one.port for one in config.board] == (fit or ["usb:SERIAL-NUMBER"])


def test_an_unknown_word_for_a_port_says_what_is_expected():
    with pytest.raises(BlynkOtaError, match=r"expected .*usb:LOCATION as usb:1-1\.2"):
        look(["ttyUSB0"])
