"""Unmodified esptool against virtual boards: its command line and its Python API."""

from __future__ import annotations

import struct

import esptool
import pytest
import serial
from esptool_matrix import CASES, NOISE, chips, run

from pytest_blynk_ota.virtual.chip.chips import MODELS

CHIP_NAMES = {"esp32": "ESP32", "esp32c3": "ESP32-C3", "esp32s3": "ESP32-S3"}
CONSOLE_BAUD = 115200


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_command_line_does_all_that_it_can_over_a_plain_socket(name, tmp_path):
    with chips(tmp_path, "socket") as made:
        for case in (one for one in CASES if name in one.chips):
            assert (problem := run(made[name], case)) is None, problem


@pytest.fixture(params=sorted(MODELS))
def board(request, rack):
    return rack.board(request.param)


@pytest.fixture
def connected(board):
    """The board in its ROM loader. One time-out for all: pyserial renegotiates at each change."""
    with serial.serial_for_url(board.uart.url, baudrate=CONSOLE_BAUD, timeout=3) as port:
        yield esptool.detect_chip(port)


def test_the_stub_does_all_that_esptool_asks_of_it_over_rfc2217(board, connected):
    assert CHIP_NAMES[board.chip.name] == connected.CHIP_NAME
    assert bytes(connected.read_mac()) == board.chip.mac
    assert connected.get_chip_revision() == board.chip.revision
    stub = esptool.run_stub(connected)
    esptool.attach_flash(stub)
    assert stub.flash_id() == 0x1640EF
    esptool.write_flash(stub, [(0x10000, NOISE)], compress=True)
    esptool.verify_flash(stub, [(0x10000, NOISE)])
    stub.change_baud(921600)
    assert esptool.read_flash(stub, 0x10000, 8192, None) == NOISE[:8192]
    assert board.flash.read(0x10000, len(NOISE)) == NOISE
    stub.hard_reset()
    stub._port.baudrate = CONSOLE_BAUD
    stub._port.write(b"app\n")
    assert stub._port.read_until(b"echo app\r\n").endswith(b"echo app\r\n")


def test_the_rom_alone_writes_reads_and_runs_over_rfc2217(board, connected):
    esptool.attach_flash(connected)
    connected.change_baud(460800)
    esptool.write_flash(connected, [(0x10000, NOISE[:4096])])
    assert connected.flash_md5sum(0x10000, 4096) == connected.flash_md5sum(0x10000, 4096)
    assert connected.read_flash(0x10000, 128) == NOISE[:128]
    connected.run()
    connected._port.baudrate = CONSOLE_BAUD
    connected._port.write(b"app\n")
    assert connected._port.read_until(b"echo app\r\n").endswith(b"echo app\r\n")


@pytest.mark.parametrize("rate", [0, 0xFFFFFFFF])
def test_a_baud_rate_that_cannot_be_costs_no_more_than_a_reset(rack, rate):
    board = rack.board("esp32c3")
    with serial.serial_for_url(board.uart.url, baudrate=CONSOLE_BAUD, timeout=3) as port:
        esptool.detect_chip(port).command(0x0F, struct.pack("<II", rate, 0))
        port.write(NOISE[:100])
        assert bytes(esptool.detect_chip(port).read_mac()) == board.chip.mac
