"""In the guest: the boards are USB devices of a real kernel."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from serial.tools import list_ports

from pytest_blynk_ota.board.baseline import Baseline, Region
from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.partitions import DEFAULT_TABLE, TABLE_OFFSET
from pytest_blynk_ota.rig.shelf import Kitchen

PATIENCE_S = 30.0
ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "bridge": ("esp32", os.environ["LAB_SERIAL_BRIDGE"], 0x10C4, 0xEA60, "/dev/ttyUSB"),
    "jtag": ("esp32c3", os.environ["LAB_SERIAL_JTAG"], 0x303A, 0x1001, "/dev/ttyACM"),
}
CYCLES = int(os.environ.get("LAB_CYCLES", "50"))


def until(what, seconds=PATIENCE_S):
    """Wait for something that the kernel does; what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"did not come within {seconds} s: {what.__doc__}"
        threading.Event().wait(0.05)
    return found


def port_of(serial):
    def there():
        """the port with this serial number"""
        return next((p for p in list_ports.comports() if p.serial_number == serial), None)

    return there


def outlet(board, on):
    url = f"{os.environ['LAB_OUTLET']}/{board}"
    request = urllib.request.Request(url, b"1" if on else b"0", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(params=KINDS)
def kind(request):
    until(port_of(KINDS[request.param][1]))
    return request.param


@pytest.fixture
def board(kind):
    chip, serial, *_ = KINDS[kind]
    timeline = Timeline()
    with Board(kind, chip, f"usb:{serial}", Recorder(timeline)) as one:
        one.timeline = timeline
        yield one


def test_the_kernel_makes_a_port_of_each_and_its_serial_number_is_seen(kind):
    _, serial, vid, pid, path = KINDS[kind]
    port = port_of(serial)()
    assert (port.vid, port.pid) == (vid, pid)
    assert port.device.startswith(path)


def test_unmodified_esptool_talks_to_it(kind):
    _, serial, *_ = KINDS[kind]
    port = port_of(serial)().device
    before = "usb-reset" if kind == "jtag" else "default-reset"
    line = [sys.executable, "-m", "esptool", "--port", port, "--before", before, "flash-id"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"flash size: 4MB", done.stdout)


def test_our_own_loader_says_who_it_is_and_resets_it_back(board, kind):
    found = board.identity()
    assert (found.chip, found.virtual) == (KINDS[kind][0], True)


def test_flash_is_written_and_read_back(board):
    data = os.urandom(8192)
    board.restore(Baseline((Region("x", 0x200000, data),)), prove=True)
    assert board.read(0x200000, 8192) == data


def test_unplugged_in_the_middle_of_its_log_it_is_found_again_by_its_number(board, kind):
    """Again and again: each time is noticed, none hangs."""
    console, timeline = board.console, board.timeline

    def count(what):
        return sum(event.kind == what for event in timeline.events())

    for cycle in range(1, CYCLES + 1):
        board.reset(by="rig")  # it prints
        outlet(kind, False)

        def gone(cycle=cycle):
            """a port_lost for each unplugging"""
            return count("port_lost") >= cycle

        until(gone)
        outlet(kind, True)

        def back(cycle=cycle):
            """a port_back for each plugging in"""
            return count("port_back") >= cycle

        until(back)
        assert console.lost is None
        cursor = console.cursor
        board.reset(by="rig")
        assert console.find(re.compile(r"rst:0x"), after=cursor, wall_s=5) is not None
    assert count("port_lost") == count("port_back") == CYCLES


def test_rows_of_the_stock_suite_pass_on_both_and_their_evidence_is_of_virtual_boards(tmp_path):
    for kind, (chip, serial, *_) in KINDS.items():
        until(port_of(serial))
        bootloader = Kitchen(ROOT, tmp_path / "images").make("bootloader", chip, log="info")
        pieces = (
            Region("bootloader", CHIPS[chip].bootloader_offset, bootloader),
            Region("partition table", TABLE_OFFSET, DEFAULT_TABLE.build()),
        )
        with Board(kind, chip, f"usb:{serial}", Recorder(Timeline())) as one:
            one.restore(Baseline(pieces))
    rows = shlex.split(os.environ["LAB_ROWS"])
    line = [sys.executable, "-m", "pytest", "hil_tests", "--rig=lab-vm", "--boards=all", "-n2"]
    line += ["-v", "-p", "no:cacheprovider", "--timeout=900", "--durations=0"]
    line += [f"--evidence={tmp_path / 'run'}", *rows]
    with Path("/out/rows.log").open("w") as said:  # a guest that is cut off has said so much
        done = subprocess.run(line, cwd=ROOT, stdout=said, stderr=said, check=False)
    assert done.returncode == 0, "see rows.log"
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["result"] == "ok"
    assert run["rig_kind"] == "virtual", "the file says nothing of it, their eFuses do"
