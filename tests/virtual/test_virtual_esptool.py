"""Unmodified esptool against virtual boards: its Python API, and its command line."""

from __future__ import annotations

import random
import subprocess
import sys

import esptool
import pytest
import serial
from virtual_bench import threaded_rack

NOISE = random.Random(7).randbytes(24 << 10)


@pytest.fixture(params=["esp32", "esp32c3"])
def board(request, rack):
    return rack.board(request.param)


@pytest.fixture
def connected(board):
    """The board in its ROM loader. One time-out for all: pyserial renegotiates at each change."""
    with serial.serial_for_url(board.uart.url, baudrate=115200, timeout=3) as port:
        yield esptool.detect_chip(port)


def test_the_stub_does_all_that_esptool_asks_of_it(board, connected):
    assert {"esp32": "ESP32", "esp32c3": "ESP32-C3"}[board.chip.name] == connected.CHIP_NAME
    assert bytes(connected.read_mac()) == board.chip.mac
    assert connected.get_chip_revision() == board.chip.revision
    stub = esptool.run_stub(connected)
    esptool.attach_flash(stub)
    assert stub.flash_id() == 0x1640EF
    esptool.write_flash(stub, [(0x10000, NOISE)], compress=True)
    esptool.write_flash(stub, [(0x20000, NOISE)], no_compress=True)
    esptool.verify_flash(stub, [(0x10000, NOISE), (0x20000, NOISE)])
    assert esptool.read_flash(stub, 0x10000, 8192, None) == NOISE[:8192]
    esptool.erase_region(stub, 0x11000, 0x1000)
    assert board.flash.read(0x10000, len(NOISE)) == NOISE[:4096] + b"\xff" * 4096 + NOISE[8192:]
    stub.change_baud(921600)
    with pytest.raises(esptool.FatalError, match="Verification failed"):
        esptool.verify_flash(stub, [(0x10000, NOISE)])
    esptool.erase_flash(stub)
    assert board.flash.read(0x20000, 4096) == b"\xff" * 4096
    stub._port.baudrate = 115200  # the rate of a chip that boots
    stub.hard_reset()
    assert stub._port.read(10) == b"boot 0x1\r\n"


def test_the_rom_alone_writes_reads_and_runs(board, connected):
    esptool.attach_flash(connected)
    esptool.write_flash(connected, [(0x10000, NOISE[:4096])])
    assert connected.flash_md5sum(0x10000, 4096) == connected.flash_md5sum(0x10000, 4096)
    assert connected.read_flash(0x10000, 128) == NOISE[:128]
    connected.change_baud(460800)
    assert bytes(connected.read_mac()) == board.chip.mac
    connected.run()
    connected._port.baudrate = 115200  # the rate of a chip that boots
    connected._port.write(b"app\n")
    assert connected._port.read_until(b"echo app\r\n").endswith(b"echo app\r\n")


def cli(url, *arguments):
    """Start esptool as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "esptool", "--port", url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


COMMANDS = {
    "flash-id": ((), "Detected flash size: 4MB"),
    "write-flash": (("0x10000",), "Hash of data verified"),
    "verify-flash": (("0x10000",), "digest matched"),
}


def test_the_command_line_reads_writes_and_verifies(tmp_path):
    """All at once, a board for each: every command takes 20 s, in which pyserial sleeps."""
    image = tmp_path / "noise.bin"
    image.write_bytes(NOISE)
    rig = tmp_path / "rig.toml"
    rig.write_text(
        "\n".join(
            f'[[board]]\nname = "{chip}-{command}"\nchip = "{chip}"\nport = "virtual"'
            for chip in ("esp32", "esp32c3")
            for command in COMMANDS
        )
    )
    with threaded_rack(rig) as rack:
        started = {}
        for name, board in rack.rack.boards.items():
            command = name.split("-", 1)[1]
            if command == "verify-flash":
                board.flash.program(0x10000, NOISE)
            files = () if command == "flash-id" else (str(image),)
            started[name] = cli(board.uart.url, command, *COMMANDS[command][0], *files)
        for name, process in started.items():
            said, _ = process.communicate(timeout=120)
            assert process.returncode == 0, f"{name}: {said}"
            assert COMMANDS[name.split("-", 1)[1]][1] in said
            if "write" in name:
                assert rack.rack.boards[name].flash.read(0x10000, len(NOISE)) == NOISE
