"""Each way of esptool into and out of download mode, behind a bridge and on a chip's own USB."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import serial
from esptool.cmds import detect_chip, reset_chip, run_stub
from esptool.util import FatalError
from virtual_bench import ThreadedRack

from pytest_blynk_ota.board.rfc2217 import Rfc2217Port

BOOTED = {"bridge": 0x1, "jtag": 0x15}
"""Cause of a reset by the lines."""
RTC_WATCHDOG = 0x10
SOFTWARE = 0xC
LONG_S = 3


async def tell_cause(machine, cause):
    """A firmware that answers each line with why it runs."""
    while True:
        await machine.read_line()
        machine.print(f"cause {cause:#x}\n")


@pytest.fixture(scope="module")
def rack(tmp_path_factory) -> Iterator[ThreadedRack]:
    """A C3 behind a bridge, and one on its own USB port."""
    rig = tmp_path_factory.mktemp("resets") / "rig.toml"
    rig.write_text(
        "\n".join(
            f'[[board]]\nname = "{usb}"\nchip = "esp32c3"\nport = "virtual"\n'
            f'virtual = {{ usb = "{usb}" }}'
            for usb in BOOTED
        )
    )
    made = ThreadedRack(rig, tell_cause)
    yield made
    made.close()


@pytest.fixture(params=list(BOOTED))
def usb(request: pytest.FixtureRequest) -> str:
    """Each of the two."""
    return str(request.param)


@pytest.fixture
def board(rack, usb):
    """The board, running its firmware from a fresh reset."""
    board = rack.rack.boards[usb]
    rack.call(lambda: board.press_reset())
    return board


@contextmanager
def port_of(board):
    """Its port, through a client that is quick about it; esptool moves each line by itself."""
    port = Rfc2217Port()
    port.port, port.baudrate, port.timeout = board.uart.url, 115200, LONG_S
    port.open()
    try:
        yield port
    finally:
        port.close()


def cause(port) -> int:
    """Why the firmware runs; 0 if it does not answer."""
    port.write(b"\nwhy\n")
    found = re.search(rb"cause (0x[0-9a-f]+)\r\n", port.read_until(b"\r\n"))
    return int(found[1], 16) if found else 0


def connected(port, before):
    """The chip as esptool finds it; two attempts, one of each delay."""
    return detect_chip(port, connect_mode=before, connect_attempts=2)


def own_way(usb: str) -> str:
    """The ``--before`` that leads to the loader; esptool knows a local USB-JTAG port by its PID."""
    return "default-reset" if usb == "bridge" else "usb-reset"


def test_opening_a_port_never_resets(rack, board):
    boots = board.boots
    with serial.serial_for_url(board.uart.url, baudrate=115200, timeout=LONG_S) as port:
        assert (port.dtr, port.rts) == (True, True)
        assert cause(port) == 0x1
    rack.call(lambda: None)
    assert (board.boots, board.state.name) == (boots, "RUNNING")


def test_each_has_its_way_into_the_loader(board, usb):
    with port_of(board) as port:
        esp = connected(port, own_way(usb))
        assert esp.CHIP_NAME == "ESP32-C3"
        assert board.state.name == "DOWNLOAD"


def test_the_usb_sequence_boots_a_chip_behind_a_bridge(rack):
    board = rack.rack.boards["bridge"]
    boots = board.boots
    with port_of(board) as port:
        with pytest.raises(FatalError):
            detect_chip(port, connect_mode="usb-reset", connect_attempts=1)
        assert (board.boots, board.state.name) == (boots + 1, "RUNNING")


def test_no_reset_finds_the_loader_only_if_it_is_there(rack):
    board = rack.rack.boards["bridge"]
    rack.call(lambda: board.press_reset())
    with port_of(board) as port, pytest.raises(FatalError):
        detect_chip(port, connect_mode="no-reset", connect_attempts=1)
    rack.call(lambda: board.press_reset(download=True))
    with port_of(board) as port:
        assert connected(port, "no-reset").CHIP_NAME == "ESP32-C3"


def test_no_reset_no_sync_talks_to_a_stub_that_was_left(board, usb):
    with port_of(board) as port:
        stub = run_stub(connected(port, own_way(usb)))
        reset_chip(stub, "no-reset-stub")
    with port_of(board) as port:
        assert connected(port, "no-reset").sync_stub_detected
        again = connected(port, "no-reset-no-sync")
        assert again.CHIP_NAME == "ESP32-C3"
        assert bytes(again.read_mac()) == board.chip.mac


@pytest.mark.parametrize("stub", [False, True], ids=["rom", "stub"])
def test_each_way_out_of_the_loader(board, usb, stub):
    def in_loader():
        esp = connected(port, own_way(usb))
        return run_stub(esp) if stub else esp

    with port_of(board) as port:
        for after, wanted in (("hard-reset", BOOTED[usb]), ("watchdog-reset", RTC_WATCHDOG)):
            reset_chip(in_loader(), after)
            assert cause(port) == wanted, after
        reset_chip(in_loader(), "no-reset")
        assert connected(port, "no-reset").sync_stub_detected is False


def test_a_soft_reset_runs_the_application_from_the_rom_alone(board, usb):
    with port_of(board) as port:
        esp = connected(port, own_way(usb))
        reset_chip(esp, "soft-reset")
        assert cause(port) == SOFTWARE
        stub = run_stub(connected(port, own_way(usb)))
        with pytest.raises(FatalError, match="only supported on ESP8266"):
            reset_chip(stub, "soft-reset")


def test_usb_has_no_baud_rate(rack):
    board = rack.rack.boards["jtag"]
    rack.call(lambda: board.press_reset())
    with port_of(board) as port:
        port.baudrate = 9600
        assert cause(port) == 0x1


def test_a_chips_own_port_goes_with_its_power(rack):
    board = rack.rack.boards["jtag"]
    with port_of(board) as port:
        rack.call(lambda: board.power(False))
        with pytest.raises(serial.SerialException):
            port.read(1)
    rack.call(lambda: board.power(True))
    rack.call(board.uart.link)  # rather than wait until it is back
    with port_of(board) as port:
        assert cause(port) == 0x1


def test_a_client_that_goes_drops_both_lines_at_once(rack, board):
    moves, seen = [], threading.Event()
    circuit = board._circuit
    move = circuit.move

    def noted(dtr, rts):
        moves.append((dtr, rts))
        if (dtr, rts) == (False, False):
            seen.set()
        return move(dtr, rts)

    circuit.move = noted
    try:
        with port_of(board):
            moves.clear()
        assert seen.wait(5)
    finally:
        del circuit.move
    assert moves == [(False, False)]
    assert board.state.name == "RUNNING"
