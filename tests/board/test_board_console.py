"""The console: lines, cursors, waits, and a port that comes and goes."""

from __future__ import annotations

import os
import pty
import termios
import threading
import time
from types import SimpleNamespace

import pytest
from serial_server import SerialServer, eventually

from pytest_blynk_ota.board.console import Console, Reading
from pytest_blynk_ota.board.metric_patterns import own_metric
from pytest_blynk_ota.board.ports import open_port
from pytest_blynk_ota.errors import ConfigError, LineNotSeen, PortGone
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline


def kinds(timeline: Timeline) -> list[str]:
    return [event.kind for event in timeline.events()]


def test_lines_are_kept_in_order_and_recorded_with_what_they_say(server, console, timeline):
    server.say(b"\x1b[0;32mI (31) boot: Loaded app from partition at offset 0x10000\x1b[0m\r\nhi\n")
    console.expect("^hi$", timeout=5)
    assert [line.text for line in console.lines()] == [
        "I (31) boot: Loaded app from partition at offset 0x10000", "hi"]  # fmt: skip
    assert kinds(timeline) == ["line", "slot", "line"]
    assert timeline.events()[1].data == {"offset": 0x10000}


def test_a_line_and_its_mark_share_their_time(server, console, timeline):
    server.say(b"rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n")
    console.expect("rst:", timeout=5)
    line, mark = timeline.events()
    assert (mark.kind, mark.t, mark.board) == ("reset", line.t, "c3-a")
    assert console.lines()[0].t == line.t


def test_two_waits_find_the_same_line(server, console):
    server.say(b"version 1.0.0\r\n")
    assert console.expect(r"version (\S+)", timeout=5)[1] == "1.0.0"
    assert console.expect(r"version (\S+)", timeout=5)[1] == "1.0.0"


def test_a_wait_does_not_see_what_came_before_its_cursor(server, console):
    server.say(b"version 1\r\n")
    console.expect("version", timeout=5)
    with pytest.raises(LineNotSeen):
        console.expect("version", timeout=0.05, after=console.cursor)


def test_a_wait_without_cursor_starts_at_the_last_mark(server, console):
    server.say(b"version 1\r\n")
    console.expect("version", timeout=5)
    console.mark()
    threading.Timer(0.05, server.say, [b"version 2\r\n"]).start()
    assert console.expect(r"version (\d)", timeout=5)[1] == "2"


def test_a_deadline_says_what_was_awaited_and_shows_the_last_lines(server, console):
    server.say(b"one\r\ntwo\r\n")
    console.expect("two", timeout=5)
    with pytest.raises(LineNotSeen) as caught:
        console.expect("three", timeout=0.3)
    message = str(caught.value)
    assert "waited 0.30 s for /three/ on the console of c3-a" in message
    assert "2 other lines, the last" in message
    assert message.endswith("    one\n    two")


def test_a_deadline_is_in_device_seconds_but_never_under_a_quarter_of_a_second(server, timeline):
    with Console("c3-a", server.url, Recorder(timeline), speed=20) as console:
        start = time.monotonic()
        with pytest.raises(
            LineNotSeen, match=r"waited 0\.25 s [^\n]*\n.*nothing, not one line"
        ) as seen:
            console.expect("x", timeout=1)
        assert time.monotonic() - start >= 0.25
        with pytest.raises(LineNotSeen) as seen:
            console.expect("x", timeout=8)
        assert seen.value.seconds == pytest.approx(0.4)


def test_a_prompt_without_a_line_end_is_found(server, console):
    server.say(b">>> ")
    assert console.expect(r"^>>>$", timeout=5)
    assert console.cursor == 0


def test_half_a_line_is_not_taken_for_the_whole(server, console):
    threading.Timer(0.03, server.say, [b"2\r\n"]).start()
    server.say(b"version 1")
    assert console.expect(r"version (\d+)", timeout=5)[1] == "12"


def test_what_is_written_reaches_the_board(server, console):
    console.write("reboot\n")
    console.write(b"\xff\x00")
    eventually(lambda: server.received == b"reboot\n\xff\x00", "the bytes")


def test_a_listener_gets_the_raw_bytes_until_it_is_detached(server, console):
    heard = bytearray()
    console.attach(heard.extend)
    server.say(b"a\xff\r\n")
    console.expect("a", timeout=5)
    console.detach(heard.extend)
    server.say(b"b\r\n")
    console.expect("b", timeout=5)
    assert heard == b"a\xff\r\n"


def test_a_listener_that_fails_is_dropped_and_the_console_goes_on(server, console, timeline):
    def fail(_: bytes) -> None:
        raise RuntimeError("full")

    console.attach(fail)
    server.say(b"a\r\n")
    console.expect("a", timeout=5)
    server.say(b"b\r\n")
    console.expect("b", timeout=5)
    errors = [event.data for event in timeline.events() if event.kind == "error"]
    assert errors == [{"error": "RuntimeError", "message": "listener on the console dropped: full"}]


def test_a_port_that_loses_its_power_comes_back_by_itself(server, console, timeline):
    server.say(b"I (3) bo")
    eventually(lambda: console._log.rest, "the half line")
    server.drop()
    eventually(lambda: "port_lost" in kinds(timeline), "the loss")
    assert console.lost
    since = time.monotonic()
    eventually(lambda: time.monotonic() - since > 0.5, "half a second without a port")
    again = SerialServer(server.port)
    try:
        eventually(lambda: console.lost is None, "the return")
        again.say(b"ets Jul 29 2019\r\n")
        console.expect("ets", timeout=5)
        assert kinds(timeline) == ["line", "port_lost", "unseen", "port_back", "line"]
        lost, back = (
            next(event.t for event in timeline.events() if event.kind == kind)
            for kind in ("port_lost", "port_back")
        )
        unseen = next(e.data["seconds"] for e in timeline.events() if e.kind == "unseen")
        assert unseen == pytest.approx(back - lost, abs=0.1)
        assert [line.text for line in console.lines()] == ["I (3) bo", "ets Jul 29 2019"]
    finally:
        console.close()
        again.drop()


def test_an_open_console_that_waits_for_its_port_can_be_closed(server, console):
    server.drop()
    eventually(lambda: console.lost, "the loss")
    start = time.monotonic()
    console.close()
    assert time.monotonic() - start < 1


def test_a_port_that_comes_back_after_the_end_is_closed_again(server, timeline, monkeypatch):
    console = Console("c3-a", server.url, Recorder(timeline))
    console.open()
    trying, go, closed = threading.Event(), threading.Event(), threading.Event()

    def come_back(*_):
        trying.set()
        assert go.wait(5)
        return SimpleNamespace(close=closed.set)

    monkeypatch.setattr("pytest_blynk_ota.board.console.open_port", come_back)
    monkeypatch.setattr("pytest_blynk_ota.board.console.PARK_S", 0.0)
    monkeypatch.setattr("pytest_blynk_ota.board.console.RETURN_S", 0.0)
    server.drop()
    assert trying.wait(5)
    console.close()
    go.set()
    assert closed.wait(5)
    assert console.lost


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_console_whose_reader_failed_does_not_pass_for_a_silent_board(server):
    def full(*_, **__):
        raise OSError("no space left on device")

    with Console("c3-a", server.url, full, speed=1000) as console:
        server.say(b"hello\n")
        eventually(lambda: console.lost, "the loss")
        with pytest.raises(PortGone, match=r"its reader failed: .*no space left"):
            console.expect("never", timeout=1)


def test_a_device_that_vanishes_while_it_is_opened_says_what_to_do(monkeypatch):
    def vanish(self):
        raise termios.error(5, "Input/output error")

    monkeypatch.setattr("serial.Serial.open", vanish)
    with pytest.raises(PortGone, match="plug it in again"):
        open_port("c3-a", "/dev/ttyUSB7", 115200)


def test_a_wait_during_a_loss_says_that_the_port_was_lost(server, console):
    server.drop()
    eventually(lambda: console.lost, "the loss")
    with pytest.raises(PortGone, match="the port was lost: "):
        console.expect("x", timeout=0.3)


def test_a_borrower_has_the_port_to_itself_and_gives_it_back(server, console):
    with console.lend() as port:
        server.say(b"\xc0OHAI\xc0")
        port.timeout = 2
        assert port.read(6) == b"\xc0OHAI\xc0"
        port.write(b"123")
        port.close()
        assert (port.received, port.sent, port.moved) == (6, 3, 9)
    server.say(b"boot\r\n")
    console.expect("boot", timeout=5)
    assert [line.text for line in console.lines()] == ["boot"]


def test_a_backlog_does_not_keep_a_borrower_waiting(server, timeline):
    slow = threading.Event()  # never set: each line costs a busy host a millisecond

    def record(*what, **data):
        slow.wait(0.001)
        Recorder(timeline)(*what, **data)

    with Console("c3-a", server.url, record) as console:
        with console.lend():
            server.say(b"a line of a board that restarts\n" * 5_000)
            eventually(lambda: console.port.in_waiting >= 100_000, "the backlog")
        eventually(lambda: console.cursor > 0, "the first line")
        with console.lend() as port:
            assert port.in_waiting > 50_000
            port.reset_input_buffer()


def test_a_port_that_vanishes_under_a_borrower_is_port_gone(server, console):
    def borrow() -> None:
        with console.lend() as port:
            server.drop()
            port.timeout = 5
            port.read(1)

    with pytest.raises(PortGone, match=r"c3-a: rfc2217://.* went away"):
        borrow()
    eventually(lambda: console.lost, "the loss")


def test_a_refused_port_says_what_to_do(timeline):
    server = SerialServer()
    server.drop()
    console = Console("c3-a", server.url, Recorder(timeline))
    with pytest.raises(PortGone, match=r"c3-a: cannot open .*start the server or mend the port"):
        console.open()


def test_a_missing_device_says_what_to_do():
    with pytest.raises(PortGone, match=r"cannot open /dev/ttyNONE.*is the board plugged in"):
        open_port("c3-a", "/dev/ttyNONE", 115200)


def test_a_missing_usb_serial_number_says_which_ones_there_are():
    with pytest.raises(PortGone, match="no USB serial port has the serial number 5A6B; found: "):
        open_port("c3-a", "usb:5A6B", 115200)


def test_an_unknown_kind_of_port_is_a_configuration_error():
    with pytest.raises(ConfigError, match="board c3-a: 1 problem\n  - port: 'gopher://x'"):
        open_port("c3-a", "gopher://x", 115200)


def test_a_device_held_by_another_opener_is_port_gone():
    master, slave = pty.openpty()
    try:
        first = open_port("c3-a", os.ttyname(slave), 115200)
        try:
            with pytest.raises(PortGone, match="cannot open"):
                open_port("c3-b", os.ttyname(slave), 115200)
        finally:
            first.close()
    finally:
        os.close(master)
        os.close(slave)


def test_many_opens_leave_no_handle_and_no_thread(server, timeline):
    def once() -> None:
        with Console("c3-a", server.url, Recorder(timeline)):
            assert server._ready.wait(5)
        eventually(lambda: not server._ready.is_set(), "the end of the link")

    once()
    handles, threads = len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208
    for _ in range(20):
        once()
    assert len(os.listdir("/proc/self/fd")) <= handles + 1  # noqa: PTH208
    assert threading.active_count() <= threads


CRASH = b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\n"
PLACE = b"Core  0 register dump:\nPC      : 0x400d5614  PS      : 0x00060130\n"


def of_kind(timeline: Timeline, kind: str) -> list[dict]:
    return [dict(event.data) for event in timeline.events() if event.kind == kind]


def test_a_crash_is_one_event_at_the_time_of_its_first_line(server, console, timeline):
    server.say(CRASH)
    console.expect("Guru", timeout=5)
    assert of_kind(timeline, "crash") == [], "its place is in the lines to come"
    server.say(PLACE + b"Rebooting...\n")
    console.expect("Rebooting", timeout=5)
    (crash,) = (event for event in timeline.events() if event.kind == "crash")
    assert (crash.data["kind"], crash.data["pc"]) == ("LoadProhibited", "0x400d5614")
    assert crash.t == timeline.events()[0].t < timeline.events()[-1].t


def test_a_crash_that_the_board_does_not_end_is_told_after_a_silence(server, console, timeline):
    server.say(CRASH + PLACE)
    eventually(lambda: of_kind(timeline, "crash"), "the crash")
    assert of_kind(timeline, "crash")[0]["pc"] == "0x400d5614"


def test_a_crash_is_told_before_a_borrower_resets_the_board(server, console, timeline):
    server.say(CRASH)
    console.expect("Guru", timeout=5)
    with console.lend():
        assert len(of_kind(timeline, "crash")) == 1


def test_a_rig_adds_to_crashes_and_core_dumps_and_has_metrics_of_its_own(server, timeline):
    reading = Reading(
        metrics=[own_metric("queue", r"queue=(\d+)", "")],
        decode=lambda crash, stack: {"decoded": [f"{crash['pc']}: main at app.c:2"]},
        keep=lambda board, content: {"files": [f"{board} {content!r}"]},
    )
    with Console("c3-a", server.url, Recorder(timeline), reading=reading) as console:
        server.say(CRASH + PLACE + b"Rebooting...\nqueue=7\n")
        server.say(b"===== CORE DUMP START =====\nAAEC\n===== CORE DUMP END =====\nend\n")
        console.expect("^end$", timeout=5)
    assert of_kind(timeline, "crash")[0]["decoded"] == ["0x400d5614: main at app.c:2"]
    assert of_kind(timeline, "metric") == [{"name": "queue", "value": 7, "unit": ""}]
    (dump,) = of_kind(timeline, "core_dump")
    assert dump["files"] == ["c3-a b'\\x00\\x01\\x02'"]
    assert "AAEC" not in [line.text for line in console.lines()], "it is the board's memory"


def test_the_port_is_read_while_a_crash_is_decoded(server, timeline):
    heard, came = bytearray(), threading.Event()

    def sink(data: bytes) -> None:
        heard.extend(data)
        if b"later" in heard:
            came.set()

    def decode(crash: dict, stack: object) -> dict:
        server.say(b"later\nrst:0x1 (POWERON),boot:0x8 (SPI_FAST_FLASH_BOOT)\n")
        return {"decoded": [str(came.wait(5))]}

    with Console("c3-a", server.url, Recorder(timeline), reading=Reading(decode=decode)) as console:
        console.attach(sink)
        server.say(CRASH + b"Rebooting...\n")
        console.expect("rst:", timeout=10)
    assert of_kind(timeline, "crash")[0]["decoded"] == ["True"]
    assert [kind for kind in kinds(timeline) if kind != "line"] == ["crash", "reset"]
    assert [line.text for line in console.lines()][1:3] == ["Rebooting...", "later"]


def test_what_waits_for_a_crash_has_it_on_record(server, console, timeline):
    server.say(CRASH)
    console.expect("Guru", timeout=5)
    console.settle()
    assert len(of_kind(timeline, "crash")) == 1


def test_without_a_crash_there_is_nothing_to_wait_for(server, console):
    server.say(b"hello\n")
    console.expect("hello", timeout=5)
    begun = time.monotonic()
    console.settle()
    assert time.monotonic() - begun < 0.5


def test_lines_of_earlier_tests_are_let_go_and_numbers_and_waits_go_on(
    server, console, monkeypatch, timeline
):
    monkeypatch.setattr("pytest_blynk_ota.board.console.KEPT_LINES", 2)
    server.say(b"".join(b"line %d\r\n" % number for number in range(5)) + b"rst:0x1 (POWERON)\r\n")
    console.expect("rst", timeout=5)
    before = console.cursor
    console.forget()
    console.forget()
    assert console.cursor == before == 6
    assert [line.text for line in console.lines()] == ["line 4", "rst:0x1 (POWERON)"]
    assert [line.n for line in console.lines(5)] == [6]
    threading.Timer(0.03, server.say, [b"later 9\r\n"]).start()
    assert console.expect(r"later (\d)", timeout=5, after=before)[1] == "9"
    assert console.lines(before)[0].n == 7
    assert kinds(timeline).count("line") >= 6
