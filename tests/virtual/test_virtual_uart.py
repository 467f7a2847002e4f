"""The RFC 2217 port, seen by pyserial and by clients that behave badly."""

from __future__ import annotations

import asyncio
import time

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_bench import Terminal

from pytest_blynk_ota.virtual.wire.rfc2217 import Rfc2217Wire, TelnetClient
from pytest_blynk_ota.virtual.wire.tcp import HANDOVER_S
from pytest_blynk_ota.virtual.wire.uart import Uart


class Port:
    """A port that notes what reaches the board."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.moves: list[tuple[bool, bool]] = []
        self.uart = Uart(
            self.bytes.extend, lambda dtr, rts: self.moves.append((dtr, rts)), Rfc2217Wire
        )


class Wire(asyncio.Transport):
    """A transport without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False

    def write(self, data):
        self.sent += data

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.closed

    def abort(self):
        self.closed = True


def connect(port):
    client, wire = TelnetClient(port.uart), Wire()
    client.connection_made(wire)
    return client, wire


@given(st.binary(max_size=400), st.integers(1, 60))
def test_every_byte_reaches_the_board_however_it_is_cut(data, step):
    port = Port()
    client, _ = connect(port)
    stream = data.replace(b"\xff", b"\xff\xff")
    for start in range(0, len(stream), step):
        client.data_received(stream[start : start + step])
    assert bytes(port.bytes) == data


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [
                    b"\xff",
                    b"\xff\xfa",
                    b"\xff\xf0",
                    b"\xff\xfa\x2c\x01\0\0\xff\xf0",
                    b"\xff\xfa\x2c\x03\x63\xff\xf0",
                ]
            ),
        ),
        max_size=12,
    )
)
def test_senseless_telnet_ends_at_worst_this_client(pieces):
    port = Port()
    client, wire = connect(port)
    for piece in pieces:
        client.data_received(piece)
    if wire.closed:
        client.connection_lost(None)
        assert not port.uart.connected


def test_line_changes_and_bytes_keep_their_order():
    port = Port()
    order = []
    port.uart = Uart(order.append, lambda dtr, rts: order.append((dtr, rts)), Rfc2217Wire)
    client, _ = connect(port)
    rts_on, rts_off = b"\xff\xfa\x2c\x05\x0b\xff\xf0", b"\xff\xfa\x2c\x05\x0c\xff\xf0"
    client.data_received(b"before" + rts_on + b"between" + rts_off + b"after")
    assert order == [b"before", (False, True), b"between", (False, False), b"after"]


def test_both_lines_fall_at_once_when_the_client_goes():
    port = Port()
    client, _ = connect(port)
    port.uart.lines.set(True, True)
    client.connection_lost(None)
    assert port.moves == [(True, True), (False, False)]


def test_ff_is_doubled_on_its_way_out():
    port = Port()
    _, wire = connect(port)
    wire.sent.clear()
    port.uart.send(b"a\xffb")
    assert bytes(wire.sent) == b"a\xff\xffb"


def test_a_second_client_is_refused_and_the_first_keeps_the_port():
    async def scenario():
        port = Port()
        await port.uart.start()
        first = await Terminal.open(port.uart.url)
        with pytest.raises((EOFError, ConnectionError)):
            await Terminal.open(port.uart.url)
        port.uart.send(b"still yours")
        await first.until("still yours")
        await port.uart.stop()

    asyncio.run(scenario())


def test_a_client_that_comes_as_another_goes_gets_the_port():
    async def scenario():
        port = Port()
        await port.uart.start()
        first = await Terminal.open(port.uart.url)
        asyncio.get_running_loop().call_later(HANDOVER_S / 5, first.writer.close)
        second = await Terminal.open(port.uart.url)
        port.uart.send(b"yours now")
        await second.until("yours now")
        await port.uart.stop()

    asyncio.run(scenario())


def test_pyserial_opens_it_quickly_and_its_commands_take_no_time(rack):
    board = rack.board("esp32c3")
    begun = time.monotonic()
    with serial.serial_for_url(board.uart.url, baudrate=115200, timeout=3) as port:
        assert time.monotonic() - begun < 2, "pyserial itself needs 0.35 s"
        port.write(b"hello\n")
        assert port.read(12) == b"echo hello\r\n"
        begun = time.monotonic()
        for _ in range(20):
            port.write(b"x\n")
            assert port.read(8) == b"echo x\r\n"
        assert (time.monotonic() - begun) / 20 < 0.05, "a round trip"
        port.rts = True
        port.dtr = False
        port.rts = False
        assert port.read(10) == b"boot 0x1\r\n"
