"""What a busy host reads late from a console counts as of when it had come."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from serial_server import eventually

from pytest_blynk_ota.board.console import Console
from pytest_blynk_ota.board.ports import open_port, unread
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline

BANNER = b"rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
LONG_S = 0.2
"""More than two reads of a reader that is on time."""


@contextmanager
def busy(console: Console, say: Callable[[bytes], object]) -> Iterator[None]:
    """The console's reader has no turn: it is held at a line that the board says."""
    held, free = threading.Event(), threading.Event()

    def hold(_: bytes) -> None:
        held.set()
        free.wait(10)

    console.attach(hold)
    say(b"a line\r\n")
    assert held.wait(10)
    try:
        yield
    finally:
        console.detach(hold)
        free.set()


def reset_of(timeline: Timeline):
    eventually(lambda: any(e.kind == "reset" for e in timeline.events()), "the reset")
    return next(event for event in timeline.events() if event.kind == "reset")


def late_by(seconds: float) -> None:
    begun = time.monotonic()
    eventually(lambda: time.monotonic() - begun >= seconds, "the time")


def test_a_banner_that_waits_unread_came_before_what_is_seen_elsewhere(server, console, timeline):
    begun = time.monotonic()
    with busy(console, server.say):
        server.say(BANNER)
        eventually(lambda: unread(console.port) >= len(BANNER), "the banner to come")
        console.notice()
        seen = time.monotonic()
        late_by(LONG_S)
    reset = reset_of(timeline)
    assert begun <= reset.t <= seen


def test_a_pseudo_terminal_tells_what_waits_too():
    ours, theirs = pty.openpty()
    timeline = Timeline()
    with Console("c3-a", os.ttyname(theirs), Recorder(timeline)) as console:
        with busy(console, lambda data: os.write(ours, data)):
            os.write(ours, BANNER)
            eventually(lambda: unread(console.port) >= len(BANNER), "the banner to come")
            console.notice()
            seen = time.monotonic()
            late_by(LONG_S)
        assert reset_of(timeline).t <= seen
    os.close(ours)
    os.close(theirs)


def test_what_the_reader_has_just_read_counts_as_read_while_listeners_have_it(
    server, console, timeline
):
    """Else a look counts as many bytes less as waiting, and the banner is one of them."""
    seen: list[float] = []

    def hear(data: bytes) -> None:
        if len(data) > len(BANNER) and not seen:
            server.say(BANNER)
            eventually(lambda: unread(console.port) >= len(BANNER), "the banner to come")
            console.notice()
            seen.append(time.monotonic())
            late_by(LONG_S)

    with busy(console, server.say):
        console.attach(hear)
        server.say(b"x" * 2 * len(BANNER) + b"\r\n")
        eventually(lambda: unread(console.port) > 2 * len(BANNER), "the line to come")
    assert reset_of(timeline).t <= seen[0]


@pytest.mark.parametrize("way", ["terminal", "socket"])
def test_a_banner_behind_more_than_a_port_tells_of_says_that_it_waited(way):
    """A terminal shows 4095 bytes at once, a socket of pyserial's one."""
    timeline = Timeline()
    with far_end(way) as (url, say), Console("c3-a", url, Recorder(timeline)) as console:
        with busy(console, say):
            for _ in range(3):
                say(b"x" * 2000 + b"\r\n")
            say(BANNER)
            late_by(LONG_S)
        assert reset_of(timeline).data["waited_s"] >= LONG_S


@contextmanager
def far_end(way: str) -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """The other end of a port: its URL, and what it says."""
    if way == "terminal":
        ours, theirs = pty.openpty()
        yield os.ttyname(theirs), lambda data: os.write(ours, data)
        os.close(ours)
        os.close(theirs)
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        ends: list[socket.socket] = []

        def say(data: bytes) -> None:
            if not ends:
                ends.append(server.accept()[0])
            ends[0].sendall(data)

        yield f"socket://127.0.0.1:{server.getsockname()[1]}", say
        for end in ends:
            end.close()


def test_a_reader_needs_no_turn_of_the_ports_own_thread(server, console, timeline, monkeypatch):
    """Else what that one is late with would look as if it had just come."""
    port, free = console.port, threading.Event()
    sort = port._sort_chunk

    def late(sock: socket.socket) -> bool:
        if threading.current_thread() is port._thread:
            free.wait(10)
        return sort(sock)

    monkeypatch.setattr(port, "_sort_chunk", late)
    server.say(BANNER)
    try:
        reset_of(timeline)
    finally:
        free.set()


def test_a_port_that_is_closed_while_somebody_looks_what_waits_is_no_error(console, monkeypatch):
    def closed(port):  # as select() says it of a socket of pyserial's
        raise ValueError("file descriptor cannot be a negative integer (-1)")

    with monkeypatch.context() as patch:
        patch.setattr("pytest_blynk_ota.board.console.unread", closed)
        console.notice()


def test_a_reset_that_may_have_waited_says_for_how_long(server, console, timeline):
    with busy(console, server.say):
        late_by(LONG_S)
        server.say(BANNER)
        eventually(lambda: unread(console.port) >= len(BANNER), "the banner to come")
    assert reset_of(timeline).data["waited_s"] >= LONG_S


def test_a_reset_that_is_read_at_once_waited_for_nobody(server, console, timeline):
    late_by(LONG_S)
    for _ in range(10):  # on a busy host one may
        server.say(BANNER)
        if "waited_s" not in reset_of(timeline).data:
            return
    raise AssertionError("each of them waited")


def test_what_waited_for_a_borrower_is_no_earlier_than_its_end(server, console, timeline):
    with console.lend() as port:
        server.say(b"x" * 100)
        eventually(lambda: port.in_waiting >= 100, "the bytes to come")
        console.notice()
        port.read(100)
        given = time.monotonic()
    server.say(BANNER)
    assert reset_of(timeline).t >= given


def test_bytes_that_reached_the_host_are_there_before_the_ports_own_thread_has_its_turn(server):
    with open_port("c3-a", server.url, 115200) as port, port._changed:  # it waits for the lock
        server.say(b"early")
        eventually(lambda: unread(port) == 5, "the bytes to be there")
        assert port.read(5) == b"early"
