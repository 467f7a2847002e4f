"""The RFC 2217 client against pyserial's own server."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serial import rfc2217
from serial.serialutil import SerialException
from serial_server import SerialServer, eventually

from pytest_blynk_ota.board.ports import open_port
from pytest_blynk_ota.board.reset import LOADER, RUN, perform
from pytest_blynk_ota.board.telnet import TelnetParser
from pytest_blynk_ota.errors import ConfigError, PortGone


@pytest.fixture
def link(server):
    link = open_port("c3-a", server.url, 115200)
    link.timeout = 2
    yield link
    link.close()


def passed_through(states: list[tuple[bool, bool]]) -> list[tuple[bool, bool]]:
    """(DTR, RTS) as they followed each other, without repetitions."""
    return [state for state, _ in itertools.groupby(states)]


def test_opening_never_arms_the_reset(server, link):
    assert server.uart.lines[-1] == (False, False)
    assert (False, True) not in server.uart.lines


def test_opening_takes_no_50_ms_polls(server):
    start = time.monotonic()
    open_port("c3-a", server.url, 115200).close()
    assert time.monotonic() - start < 0.25


def test_a_new_time_out_is_no_new_negotiation(server, link):
    before = list(server.uart.settings)
    for timeout in (3, 0.1, None, 3):
        link.timeout = timeout
    link.write_timeout = 10
    assert server.uart.settings == before
    link.baudrate = 460800
    assert server.uart.settings == [*before, 460800]


def test_a_hundred_control_changes_take_no_second(server, link):
    before, start = len(server.uart.lines), time.monotonic()
    for _ in range(50):
        link.dtr = True
        link.dtr = False
    assert time.monotonic() - start < 1
    assert server.uart.lines[before:].count((True, False)) == 50


def test_the_run_reset_holds_and_releases(server, link):
    before = len(server.uart.lines)
    perform(RUN, link, name="c3-a", speed=20)
    states = passed_through(server.uart.lines[before - 1 :])
    assert states == [(False, False), (False, True), (False, False)]


def test_the_loader_reset_never_releases_the_chip_with_io0_high(server, link):
    before = len(server.uart.lines)
    perform(LOADER, link, name="c3-a", speed=20)
    states = passed_through(server.uart.lines[before - 1 :])
    flag, reset = [(True, False), (True, True)], [(False, True), (True, True), (True, False)]
    assert states == [(False, False), *flag, *reset, (False, False)]


def test_a_socket_cannot_reset(server):
    class Lineless:
        port = "socket://x"

    with pytest.raises(ConfigError, match="socket://x cannot reset the chip; use rfc2217://"):
        perform(RUN, Lineless(), name="c3-a")


def test_a_pseudo_terminal_cannot_reset():
    ours, theirs = os.openpty()
    try:
        port = open_port("c3-a", os.ttyname(theirs), 115200)
        with pytest.raises(ConfigError, match="cannot reset the chip"):
            perform(RUN, port, name="c3-a")
        port.close()
    finally:
        os.close(ours)
        os.close(theirs)


def test_data_with_iac_bytes_passes_both_ways(server, link):
    data = bytes(range(256)) * 4
    link.write(data)
    server.say(data)
    assert link.read(len(data)) == data
    deadline = time.monotonic() + 5
    while len(server.received) < len(data) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert server.received == data


def test_a_read_ends_with_its_time_out_and_what_came(server, link):
    link.timeout = 0.1
    server.say(b"ab")
    start = time.monotonic()
    assert link.read(3) == b"ab"
    assert time.monotonic() - start < 0.5


def test_a_megabyte_is_read_in_less_than_a_second(server, link):
    data = bytes(1 << 20)
    start = time.monotonic()
    server.say(data)
    assert len(link.read(len(data))) == len(data)
    assert time.monotonic() - start < 1


def test_a_lost_link_gives_what_came_and_then_an_error(server, link):
    server.say(b"last")
    server.drop()
    assert link.read(10) == b"last"
    with pytest.raises(SerialException, match=r"closed the connection|connection lost"):
        link.read(1)


def test_a_server_that_is_silent_is_given_up(server, monkeypatch):
    monkeypatch.setattr("pytest_blynk_ota.board.rfc2217.CONNECT_S", 0.3)
    monkeypatch.setattr(SerialServer, "write", lambda self, data: None)
    with pytest.raises(PortGone, match=r"waited 0\.3 s for the server to agree to RFC 2217"):
        open_port("c3-a", server.url, 115200)


OPTION_VERBS = (b"\xfb", b"\xfc", b"\xfd", b"\xfe")
ITEMS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=8).map(lambda data: (b"", data)),
        st.tuples(st.sampled_from(OPTION_VERBS), st.binary(min_size=1, max_size=1)),
        st.binary(min_size=1, max_size=8).map(lambda body: (b"\xfa", body)),
    ),
    max_size=8,
)  # fmt: skip


def encode(item: tuple[bytes, bytes]) -> bytes:
    command, payload = item
    if command == b"":
        return payload.replace(b"\xff", b"\xff\xff")
    if command == b"\xfa":
        return b"\xff\xfa" + payload.replace(b"\xff", b"\xff\xff") + b"\xff\xf0"
    return b"\xff" + command + payload


def merged(items: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    result: list[tuple[bytes, bytes]] = []
    for command, payload in items:
        if command == b"" and result and result[-1][0] == b"":
            result[-1] = (b"", result[-1][1] + payload)
        else:
            result.append((command, payload))
    return result


@given(ITEMS, st.lists(st.integers(1, 9), min_size=1))
def test_a_telnet_stream_is_split_alike_in_any_pieces(items, sizes):
    stream, parser, found, at, turn = b"".join(map(encode, items)), TelnetParser(), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += parser.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert merged(found) == merged(items)


def test_a_server_that_refuses_a_request_is_no_port(server, monkeypatch):
    send = rfc2217.PortManager.rfc2217_send_subnegotiation

    def answer(self, option, value=b""):
        send(self, option, b"\x63" if option == rfc2217.SERVER_PURGE_DATA else value)

    monkeypatch.setattr(rfc2217.PortManager, "rfc2217_send_subnegotiation", answer)
    with pytest.raises(PortGone, match="asked for the server to drop its buffer"):
        open_port("c3-a", server.url, 115200)


def test_a_reader_that_cannot_answer_ends_the_connection(server, link, monkeypatch):
    def unsendable(*_):
        raise SerialException("took no byte for 10 s")

    monkeypatch.setattr(link, "telnet_send_option", unsendable)
    server.write(rfc2217.IAC + rfc2217.WILL + b"\x63")
    with pytest.raises(SerialException, match="took no byte"):
        link.read(1)


def test_its_thread_never_waits_for_another_that_got_the_number_of_its_socket(server, monkeypatch):
    port = open_port("c3-a", server.url, 115200)
    thread, number = port._thread, port._socket.fileno()
    idle, keep = os.pipe()
    held, free, sort = threading.Event(), threading.Event(), port._sort_chunk

    def hold(sock: socket.socket) -> bool:
        goes_on = sort(sock)
        if threading.current_thread() is thread:
            held.set()
            free.wait(10)
        return goes_on

    monkeypatch.setattr(port, "_sort_chunk", hold)

    def let_go() -> None:
        """Once the port is being closed. Its number, if free by then, is given away."""
        eventually(lambda: not port.is_open and port._thread is None, "the port to be closed")
        try:
            os.fstat(number)
        except OSError:
            os.dup2(idle, number)
        free.set()

    server.say(b"x")
    assert held.wait(10)
    other = threading.Thread(target=let_go)
    other.start()
    port.close()
    other.join()
    try:
        assert not thread.is_alive()
    finally:
        os.write(keep, b"x")  # lets it end
        thread.join(10)
        for one in (idle, keep):
            os.close(one)
