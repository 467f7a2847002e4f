"""What a busy host reads late from a console counts as of when it had come."""

from __future__ import annotations

import os
import pty
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
