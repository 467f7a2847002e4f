"""Plain sockets and pseudo-terminals: what gets through, and how esptool works without lines."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import esptool
import pytest
import serial
from virtual_bench import ThreadedRack, threaded_rack

from pytest_blynk_ota.virtual.wire.baud import heard

WIRES = ("rfc2217", "socket", "pty")
LONG_S = 5.0
NOISE = bytes(range(256)) * 16


@pytest.fixture(scope="module")
def rack(tmp_path_factory) -> Iterator[ThreadedRack]:
    """A board at each wire."""
    rig = tmp_path_factory.mktemp("wires") / "rig.toml"
    rig.write_text(
        "\n".join(
            f'[[board]]\nname = "{wire}"\nchip = "esp32c3"\nport = "virtual"\n'
            f'virtual = {{ wire = "{wire}" }}'
            for wire in WIRES
        )
    )
    with threaded_rack(rig) as made:
        yield made


@pytest.fixture(params=WIRES)
def board(request, rack):
    """The board at each wire, running its echo firmware from a fresh reset."""
    return booted(rack, request.param)


@pytest.fixture
def pty(rack):
    """The one at the pseudo-terminal."""
    return booted(rack, "pty")


def booted(rack, wire):
    board = rack.rack.boards[wire]
    rack.call(lambda: board.press_reset())
    return board


def opened(board, baud=115200):
    return serial.serial_for_url(board.uart.url, baudrate=baud, timeout=LONG_S)


def until(condition) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + LONG_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return bool(condition())


def echoes(port, word: bytes) -> bool:
    """Whether the firmware is heard and hears, all bytes as they were."""
    port.write(word + b"\n")
    return port.read_until(word + b"\r\n").endswith(b"echo " + word + b"\r\n")


def test_clients_come_and_go(board):
    for number in range(3):
        with opened(board) as port:
            assert until(lambda: board.uart.connected)
            assert echoes(port, b"client %d" % number)
        assert until(lambda: not board.uart.connected)
    assert board.state.name == "RUNNING"


def test_every_byte_gets_through_both_ways(board, rack):
    arrived = bytearray()
    rack.call(lambda: setattr(board.uart, "_received", arrived.extend))
    try:
        with opened(board) as port:
            assert until(lambda: board.uart.connected)
            port.write(NOISE)
            rack.call(lambda: board.uart.send(NOISE))
            assert port.read(len(NOISE)) == NOISE
            assert until(lambda: len(arrived) >= len(NOISE))
            assert bytes(arrived) == NOISE
    finally:
        rack.call(lambda: setattr(board.uart, "_received", board._received))


def test_what_is_said_to_nobody_is_lost(board, rack):
    with opened(board) as port:
        assert until(lambda: board.uart.connected)
        rack.call(lambda: board.uart.send(b"never read"))
    assert until(lambda: not board.uart.connected)
    rack.call(lambda: board.uart.send(b"unheard"))
    with opened(board) as port:
        assert until(lambda: board.uart.connected)
        rack.call(lambda: board.uart.send(b"heard."))
        assert port.read_until(b".") == b"heard."


@pytest.mark.parametrize("wire", ["rfc2217", "pty"])
def test_another_rate_garbles_both_ways(rack, wire):
    board = booted(rack, wire)
    text = b"boot:0xd (SPI_FAST_FLASH_BOOT)\n"
    arrived = bytearray()
    with opened(board, baud=9600) as port:
        assert until(lambda: board.uart.connected)
        rack.call(lambda: setattr(board.uart, "_received", arrived.extend))
        try:
            garbage = heard(text, 115200, 9600)
            rack.call(lambda: board.uart.send(text))
            assert port.read(len(garbage)) == garbage
            port.write(text)
            assert until(lambda: arrived)
            assert text not in arrived
        finally:
            rack.call(lambda: setattr(board.uart, "_received", board._received))
        port.baudrate = 115200
        port.write(b"\n")  # ends the garbage's line
        assert echoes(port, b"again")


def test_a_pseudo_terminal_is_raw_and_at_115200_for_whoever_just_opens_it(pty):
    client = os.open(pty.uart.url, os.O_RDWR | os.O_NOCTTY)
    try:
        settings = termios.tcgetattr(client)
        assert settings[5] == termios.B115200
        assert not settings[3] & (termios.ECHO | termios.ICANON)
    finally:
        os.close(client)


def test_a_pseudo_terminal_hears_from_the_moment_it_is_opened(pty, rack):
    assert until(lambda: not pty.uart.connected)
    client = os.open(pty.uart.url, os.O_RDWR | os.O_NOCTTY)
    try:
        rack.call(lambda: pty.uart.send(b"first"))
        assert os.read(client, 5) == b"first"
    finally:
        os.close(client)


def test_what_the_last_client_of_a_pseudo_terminal_left_unread_is_not_for_the_next(pty, rack):
    client = os.open(pty.uart.url, os.O_RDWR | os.O_NOCTTY)
    assert until(lambda: pty.uart.connected)
    rack.call(lambda: pty.uart.send(b"never read"))
    os.close(client)
    assert until(lambda: not pty.uart.connected)
    client = os.open(pty.uart.url, os.O_RDWR | os.O_NOCTTY)  # pyserial would empty it itself
    try:
        rack.call(lambda: pty.uart.send(b"first"))
        assert os.read(client, 100) == b"first"
    finally:
        os.close(client)


def test_a_pseudo_terminal_at_no_rate_understands_all(pty):
    with opened(pty) as port:
        settings = termios.tcgetattr(port.fileno())
        settings[4] = settings[5] = termios.B0
        termios.tcsetattr(port.fileno(), termios.TCSANOW, settings)
        assert echoes(port, b"at 0 baud")


def test_more_than_a_pseudo_terminal_holds_waits_for_its_reader(pty, rack):
    much = NOISE * 100
    with opened(pty) as port:
        assert until(lambda: pty.uart.connected)
        rack.call(lambda: pty.uart.send(much))
        assert port.read(len(much)) == much


def test_a_hub_without_power_silences_a_pseudo_terminal_and_comes_back(pty, rack):
    with opened(pty) as port:
        assert until(lambda: pty.uart.connected)
        rack.call(pty.uart.unlink)
        rack.call(lambda: pty.uart.send(b"dark"))
        rack.call(pty.uart.link)
        assert until(lambda: pty.uart.connected)
        assert echoes(port, b"light")


def cli(url, *words):
    """Unmodified esptool on a wire without lines."""
    line = [
        sys.executable,
        "-m",
        "esptool",
        "--port",
        url,
        "--before",
        "no-reset",
        *map(str, words),
    ]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("wire", ["socket", "pty"])
def test_esptool_without_lines_works_again_and_again(rack, wire, tmp_path):
    """The board runs at first; each run leaves whatever loader it used."""
    board = booted(rack, wire)
    image, read = tmp_path / "image", tmp_path / "read"
    image.write_bytes(NOISE)
    runs = (
        (("write-flash", "0x10000", image), "Hash of data verified"),
        (("--no-stub", "verify-flash", "0x10000", image), "Verification successful"),
        (("-b", "921600", "read-flash", "0x10000", len(NOISE), read), "Read 4096 bytes"),
    )
    for words, wanted in runs:
        done = cli(board.uart.url, *words)
        assert wanted in done.stdout, done.stdout + done.stderr
        assert done.returncode == 0
    assert read.read_bytes() == NOISE
    rack.call(lambda: board.press_reset())
    with opened(board) as port:
        assert echoes(port, b"runs")


def test_the_rom_takes_the_rate_that_it_is_spoken_to_at(rack):
    board = rack.rack.boards["pty"]
    rack.call(lambda: board.press_reset(download=True))
    with opened(board, baud=9600) as port:
        assert until(lambda: board.uart.connected)
        esp = esptool.detect_chip(port, baud=9600, connect_mode="no-reset", connect_attempts=2)
        assert bytes(esp.read_mac()) == board.chip.mac
        assert board.uart.chip_baud == 9600
        port.baudrate = 115200
        with pytest.raises(esptool.FatalError):
            esp.read_mac()
