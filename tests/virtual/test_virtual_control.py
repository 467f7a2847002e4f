"""The rack's control port, through the client that tests use."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from virtual_bench import ThreadedRack, threaded_rack
from virtual_dump import APP0, dump

from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.firmware.otadata import State
from pytest_blynk_ota.rig.control import RackControl
from pytest_blynk_ota.virtual.chip.board import State as Doing
from pytest_blynk_ota.virtual.chip.flash import FLASH_BYTES
from pytest_blynk_ota.virtual.control import server

BOARD = "c3-a"


class Evidence:
    """What was recorded, as ``source kind board what``."""

    def __init__(self):
        self.lines = []
        self.times = []

    def __call__(self, source, kind, board=None, /, *, t=None, **data):
        words = [source, kind, board or "-", data.get("what") or data.get("by", "")]
        self.lines.append(" ".join(words))
        self.times.append(t)


@pytest.fixture
def evidence():
    return Evidence()


@pytest.fixture
def control(rack, evidence):
    return RackControl(rack.rack.control.url, evidence)


def board(rack):
    return rack.rack.boards[BOARD]


def booted(rack, control):
    """How often the board has booted, once all that was due has happened."""
    control.boards()
    return board(rack).boots


# ---- power and reset


def test_the_rack_lists_its_boards(control):
    first, second, *_ = control.boards()
    assert (first["name"], second["name"]) == ("c3-a", "esp32-a")
    assert first["power"] is first["wifi"] is True
    assert first["state"] == "running from flash"
    assert first["url"].startswith("rfc2217://127.0.0.1:")


def test_the_reset_button_boots_or_enters_download_mode(rack, control, evidence):
    control.reset(BOARD, download=True)
    assert board(rack).state is Doing.DOWNLOAD
    boots = board(rack).boots
    control.reset(BOARD)
    assert board(rack).state is Doing.RUNNING
    assert control.boards()[0]["state"] == "running from flash"
    assert board(rack).boots > boots
    assert evidence.lines == [f"rig reset {BOARD} test"] * 2


@pytest.mark.parametrize(
    ("ms", "effect", "cause"),
    [(5, "nothing", None), (50, "brownout", 0xF), (500, "power-on", 0x1)],
)
def test_a_dip_is_felt_by_its_length(ms, effect, cause, evidence):
    causes = []

    async def firmware(machine, how):
        causes.append(how)
        machine.stage = "app"
        await machine.read_line()
        return 0xC

    rack = ThreadedRack(execute=firmware)
    try:
        control = RackControl(rack.rack.control.url, evidence)
        control.boards()
        causes.clear()
        assert control.dip(BOARD, ms) == effect
        control.boards()
        assert causes == ([] if cause is None else [cause])
    finally:
        rack.close()
    felt = effect != "nothing"
    assert evidence.lines == [f"power off {BOARD} test", f"power on {BOARD} test"] * felt


def test_a_dip_makes_the_brownout_detector_of_an_application_speak(rack, control):
    said = []
    board(rack).stage = "app"
    board(rack).print = said.append
    control.dip(BOARD, 50)
    assert "Brownout detector was triggered" in said[0]


@pytest.mark.parametrize("what", ["reset", "dip"])
def test_a_board_without_power_is_neither_reset_nor_dipped(rack, control, what):
    control.power(BOARD, on=False)
    with pytest.raises(UsageError, match="c3-a has no power"):
        control.reset(BOARD) if what == "reset" else control.dip(BOARD, 50)
    assert board(rack).state is Doing.OFF


# ---- the flash


def test_a_loaded_flash_is_decoded_and_saved_as_it_was(rack, control, evidence):
    content, boots = dump("esp32c3"), board(rack).boots
    assert control.load(BOARD, content) > 0
    assert booted(rack, control) > boots, "it has started again"
    told = control.flash(BOARD)
    assert told["problem"] is None
    assert told["boots"] == "app0"
    assert told["bootloader"]["rollback"] is True
    first, second = told["otadata"]
    assert (first["seq"], first["state"], first["slot"], first["active"]) == (1, "VALID", 0, True)
    assert (second["seq"], second["active"]) == (None, False)
    app0, app1 = told["slots"]
    assert (app0["project"], app0["version"], app0["problem"]) == ("dump", "1.0.0", None)
    assert app1["version"] is None
    assert "magic byte" in app1["problem"]
    assert control.save(BOARD) == content
    assert control.load(BOARD, content) == 0, "nothing of it was different"
    assert evidence.lines[:3] == [
        f"test action {BOARD} flash.load",
        f"power off {BOARD} test",
        f"power on {BOARD} test",
    ]


def test_what_the_bootloader_would_write_is_told(control):
    control.load(BOARD, dump("esp32c3", states=(State.VALID, State.NEW)))
    told = control.flash(BOARD)
    assert told["boots"] == "app0", "the second slot is empty"
    assert told["otadata_after"] == ["app0 VALID", "app1 PENDING_VERIFY"]


def test_an_empty_flash_has_a_problem_and_no_slots(control):
    told = control.flash(BOARD)
    assert told["problem"]
    assert (told["slots"], told["boots"], told["bootloader"]["there"]) == ([], None, False)
    assert told["why"].startswith("invalid header: 0xffffffff")


def test_wear_is_told_by_partition(rack, control):
    control.load(BOARD, dump("esp32c3"))
    for _ in range(3):
        rack.call(board(rack).flash.erase, APP0.offset, 4096)
    worn = {row["label"]: row["most_erased"] for row in control.flash(BOARD)["table"]}
    assert (worn["app0"], worn["app1"]) == (3, 0)


def test_a_dump_of_another_size_is_refused_and_nothing_happens(rack, control):
    boots = board(rack).boots
    with pytest.raises(UsageError, match=f"c3-a has {FLASH_BYTES} bytes, the dump 5"):
        control.load(BOARD, b"short")
    assert board(rack).boots == boots


def test_a_board_that_was_off_stays_off_when_its_flash_is_loaded(rack, control):
    control.power(BOARD, on=False)
    control.load(BOARD, dump("esp32c3"))
    assert not board(rack).powered


def test_the_journal_shows_the_last_operations(rack, control):
    rack.call(board(rack).flash.erase, 0x10000, 4096)
    rack.call(board(rack).flash.program, 0x10000, b"\0" * 300)
    told = control.journal(BOARD, last=2)
    assert told["operations"] == 3
    assert [(one["kind"], one["offset"], one["length"]) for one in told["last"]] == [
        ("program", 0x10000, 256),
        ("program", 0x10100, 44),
    ]
    assert control.journal(BOARD, last=0)["last"] == []


# ---- the network


def test_damage_is_noise_where_it_is_done_and_nothing_else(rack, control, evidence):
    flash, boots = board(rack).flash, booted(rack, control)
    before = flash.read(0, FLASH_BYTES)
    control.damage(BOARD, 0x10010, 100)
    after = flash.read(0, FLASH_BYTES)
    differing = {at for at in range(0x10000, 0x10200) if before[at] != after[at]}
    assert differing
    assert differing <= set(range(0x10010, 0x10074))
    assert before[:0x10000] + before[0x10200:] == after[:0x10000] + after[0x10200:]
    assert booted(rack, control) == boots
    assert evidence.lines == [f"test action {BOARD} flash.damage"]


def test_a_sector_is_worn_until_it_is_mended(rack, control, evidence):
    flash = board(rack).flash
    control.wear(BOARD, 0x150000)
    flash.erase(0x150000, 4096)
    assert flash.read(0x150000, 4096).count(0xFF) == 4096 - 4096 // 32
    control.mend()
    flash.erase(0x150000, 4096)
    assert flash.read(0x150000, 4096) == b"\xff" * 4096
    assert evidence.lines == [f"test action {BOARD} flash.wear"]


def test_one_board_is_taken_out_of_range_and_brought_back(rack, control, evidence):
    control.wifi(BOARD, on=False)
    assert not board(rack).network.in_range
    assert rack.rack.boards["esp32-a"].network.in_range
    control.wifi(BOARD, on=True)
    assert board(rack).network.in_range
    assert evidence.lines == [f"test action {BOARD} wifi.off", f"test action {BOARD} wifi.on"]


def test_the_network_is_changed_key_by_key(rack, control, evidence):
    control.network(dns={"*": "nxdomain"})
    told = control.network(ap=False, dhcp=False)
    assert (told["ap"], told["dhcp"], told["dns"]) == (False, False, {"*": "nxdomain"})
    assert rack.rack.air.ap is False
    assert evidence.lines == [
        "test action - network.set",
        "test action - ap.off",
        "test action - network.set",
    ]


def test_a_black_hole_for_large_packets_is_on_record_and_ends_with_its_block(
    rack, control, evidence
):
    with control.black_hole(1400):
        assert rack.rack.air.mtu == 1400
    assert rack.rack.air.mtu == 0
    assert [line for line in evidence.lines if "link" in line] == ["test action - link.shaped"] * 2


def test_mending_undoes_all_of_it_once(rack, control, evidence):
    control.network(ap=False, sntp=False)
    control.wifi(BOARD, on=False)
    evidence.lines.clear()
    control.mend()
    control.mend()
    assert evidence.lines == [f"test action {BOARD} wifi.on", "test action - ap.on"]
    assert rack.rack.air.state() == type(rack.rack.air)().state()


def test_mending_keeps_the_ports_that_the_rig_itself_forwards(rack, control):
    control.furnish({"127.0.0.1:443": "127.0.0.1:8443"})
    control.furnish({"127.0.0.1:8883": "127.0.0.1:9000"})
    control.network(forward={})
    control.mend()
    assert rack.rack.air.forward == {
        "127.0.0.1:443": "127.0.0.1:8443",
        "127.0.0.1:8883": "127.0.0.1:9000",
    }


def test_a_board_that_there_is_not_needs_no_mending(control):
    with pytest.raises(UsageError, match="no board 'c3'"):
        control.wifi("c3", on=False)
    control.mend()


def test_a_board_stays_to_be_mended_if_the_rack_did_not_answer(rack, control, monkeypatch):
    control.wifi(BOARD, on=False)
    with monkeypatch.context() as patched:
        patched.setattr(control, "url", "http://127.0.0.1:1")
        with pytest.raises(RigError):
            control.mend()
    control.mend()
    assert board(rack).network.in_range


# ---- the end


def test_a_rack_that_ends_lets_go_of_every_file_and_socket(tmp_path):
    rig = tmp_path / "lab.toml"
    rig.write_text(
        "".join(
            f'[[board]]\nname = "{wire}"\nchip = "esp32c3"\nport = "virtual"\n'
            f'virtual = {{ wire = "{wire}", flash = "{tmp_path / wire}.bin" }}\n'
            for wire in ("rfc2217", "socket", "pty")
        )
    )
    with threaded_rack():
        pass  # what is loaded and opened once, such as /dev/urandom, is by now
    before = open_files()
    with threaded_rack(rig) as rack, contextlib.ExitStack() as stack:
        hand = RackControl(rack.rack.control.url)
        for one in hand.boards():
            hand.dip(one["name"], 50)
        address = urlsplit(rack.rack.control.url)
        # Somebody who still asks for something when the rack ends.
        peer = socket.create_connection((address.hostname, address.port), timeout=5)
        stack.callback(peer.close)
        peer.sendall(b"PUT /pty/dump HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    assert open_files() == before


def open_files():
    """What this process has open, but for the handles that looking takes."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()).split(":")[0])
    return sorted(one for one in found if "/fd" not in one)


# ---- what is refused


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/c3-b/reset", None, "no board 'c3-b'; did you mean 'c3-a'?"),
        ("POST", "/c3-a/reset", {"download": 1}, "download: expected true or false, not 1"),
        ("POST", "/c3-a/reset", {"donwload": True}, "unknown key 'donwload'; did you mean"),
        ("POST", "/c3-a/reset", b"{", "expected JSON, not '{'"),
        ("POST", "/c3-a/reset", b"[]", "expected a JSON object, not '[]'"),
        ("POST", "/c3-a/dip", {}, "ms: expected device milliseconds"),
        ("POST", "/c3-a/dip", {"ms": -1}, "ms: expected device milliseconds"),
        ("POST", "/c3-a/dip", {"ms": 1e9}, "at most 60000"),
        ("POST", "/c3-a/damage", {"offset": 0}, "bytes: expected a number of bytes, not None"),
        ("POST", "/c3-a/damage", {"offset": 4 << 20, "bytes": 1}, "outside the flash"),
        ("POST", "/c3-a/wear", {"offset": 7}, "0x7 is no sector"),
        ("PUT", "/c3-a/wifi", b"2", "expected the body 0 or 1, not '2'"),
        ("PUT", "/network", {"app": True}, "unknown key 'app'; did you mean 'ap'?"),
        ("PUT", "/network", {"dhcp": "no"}, "dhcp: expected true or false, not 'no'"),
        ("GET", "/c3-a/journal?last=x", None, "last: expected a number"),
        ("GET", "/c3-a/nothing", None, "404"),
        ("DELETE", "/c3-a", None, "405"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(control, method, path, body, words):
    with pytest.raises(UsageError) as refused:
        control.request(method, path, body)
    assert words in str(refused.value)


def test_no_rack_is_a_rig_error(unused_tcp_port):
    with pytest.raises(RigError, match="no virtual rack answers at http://127"):
        RackControl(f"http://127.0.0.1:{unused_tcp_port}").boards()


def test_another_server_is_a_rig_error():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with contextlib.suppress(OSError), server.accept()[0] as peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises(RigError, match="is no virtual rack: 'hello'"):
                RackControl("http://{}:{}".format(*server.getsockname())).boards()
        finally:
            thread.join()


def test_a_control_port_that_cannot_be_served_breaks_the_rack(monkeypatch):
    monkeypatch.setattr(server, "ROUTES", "pytest_blynk_ota.virtual.no_such_routes")
    with threaded_rack() as rack:

        async def broken():
            await asyncio.wait([rack.rack.broken], timeout=10)
            return rack.rack.broken.exception()

        assert isinstance(rack.call(broken), ModuleNotFoundError)


def test_whoever_comes_before_the_framework_is_loaded_is_answered_all_the_same(rack):
    address = urlsplit(rack.rack.control.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as peer:
        peer.sendall(b"GET /c3-a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert peer.makefile("rb").read().endswith(b"\r\n\r\n1")
