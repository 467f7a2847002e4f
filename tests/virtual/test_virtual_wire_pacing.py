"""A paced line, on an event loop whose clock jumps to whatever comes next."""

from __future__ import annotations

import asyncio
import selectors

import pytest

from pytest_blynk_ota.virtual.chip.board import Board
from pytest_blynk_ota.virtual.settings import board_settings
from pytest_blynk_ota.virtual.wire.pacer import GRAIN_S, MAX_WAITING, Pacer
from pytest_blynk_ota.virtual.wire.rfc2217 import Rfc2217Wire
from pytest_blynk_ota.virtual.wire.uart import HELD_BYTES, Uart


class Jumping(selectors.SelectSelector):
    """A selector that does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        self.now += timeout or 0.0
        return super().select(0)


def run(scenario):
    """Run a coroutine function that gets the clock as its argument."""
    selector = Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now
    try:
        return loop.run_until_complete(scenario(loop.time))
    finally:
        loop.close()


class Host:
    """A client that notes what comes and when it may send."""

    host_baud = 115200

    def __init__(self) -> None:
        self.got = bytearray()
        self.held: list[bool] = []

    def send(self, data):
        self.got += data

    def close(self):
        self.closed = True

    def hold(self, on):
        self.held.append(on)


def paced(speed=1.0):
    """A paced UART with a client, and what reached the chip."""
    arrived = bytearray()
    uart = Uart(arrived.extend, lambda *_: None, Rfc2217Wire, pace=speed)
    host = Host()
    uart.adopt(host)
    return uart, host, arrived


@pytest.mark.parametrize(
    ("baud", "speed", "expected"),
    [(115200, 1, 1.0), (921600, 1, 0.125), (115200, 20, 0.05), (9600, 1, 12.0)],
)
def test_a_byte_takes_ten_bit_times_of_device_time(baud, speed, expected):
    async def scenario(now):
        came = []
        line = Pacer(lambda data, _: came.append((now(), data)), speed)
        line.put(bytes(11520), baud)
        await line.empty()
        return came

    came = run(scenario)
    assert came[-1][0] == pytest.approx(expected, abs=2 * GRAIN_S)
    half = sum(len(data) for at, data in came if at <= expected / 2)
    assert half == pytest.approx(5760, rel=0.1)


def test_a_line_that_was_idle_is_no_faster_for_it():
    async def scenario(now):
        came = []
        line = Pacer(lambda data, _: came.append((now(), data)), 1)
        await asyncio.sleep(60)
        line.put(bytes(11520), 115200)
        await line.empty()
        return len(came[0][1]), came[-1][0] - 60

    first, took = run(scenario)
    assert first < 100
    assert took == pytest.approx(1, abs=2 * GRAIN_S)


def test_both_directions_keep_their_order():
    async def scenario(_now):
        uart, host, arrived = paced()
        for number in range(200):
            uart.send(b"%d," % number)
            uart.receive(b"%d;" % number)
        await uart.sent()
        await uart._to_chip.empty()
        return bytes(host.got), bytes(arrived)

    out, into = run(scenario)
    assert out == b"".join(b"%d," % number for number in range(200))
    assert into == b"".join(b"%d;" % number for number in range(200))


def test_a_reset_swallows_what_is_on_its_way():
    async def scenario(_now):
        uart, host, arrived = paced()
        uart.send(bytes(11520))
        uart.receive(bytes(11520))
        await asyncio.sleep(0.5)
        uart.reset()
        before = len(host.got), len(arrived)
        await asyncio.sleep(10)
        assert (len(host.got), len(arrived)) == before
        uart.send(b"next")
        await uart.sent()
        return bytes(host.got)

    got = run(scenario)
    assert 4000 < len(got) < 7000
    assert got.endswith(b"next")


def test_a_software_restart_lets_the_last_words_out():
    async def scenario(_now):
        uart, host, _ = paced()
        uart.chip_baud = 921600
        host.host_baud = 921600
        uart.send(b"Rebooting...")
        uart.restart()
        await uart.sent()
        return bytes(host.got), uart.chip_baud

    assert run(scenario) == (b"Rebooting...", 115200)


def test_a_board_that_restarts_for_ever_gets_no_further_than_its_log():
    """100 ms of text a boot: not more than ten boots in a second."""

    async def execute(machine, _cause):
        machine.print("x" * 1152)
        return 0xC

    async def scenario(_now):
        settings = board_settings({"name": "a", "chip": "esp32", "virtual": {"paced": True}})
        board = Board(settings, execute, failed=lambda error: None)
        await board.start()
        await asyncio.sleep(2)
        boots = board.boots
        await board.stop()
        return boots

    assert run(scenario) in range(18, 23)


def test_a_brownout_swallows_the_log_but_not_the_word_of_its_detector():
    async def execute(machine, _cause):
        machine.stage = "app"
        machine.print("x" * 1152)
        await asyncio.Event().wait()

    async def scenario(_now):
        settings = board_settings({"name": "a", "chip": "esp32", "virtual": {"paced": True}})
        board, host = Board(settings, execute, failed=lambda error: None), Host()
        board.power(True)
        board.uart.adopt(host)
        await asyncio.sleep(0.01)
        await board.dip(50)
        await board.dark()
        return bytes(host.got)

    said = run(scenario)
    assert said.endswith(b"Brownout detector was triggered\r\n\r\n")
    assert said.count(b"x") < 1152


def test_a_host_that_sends_faster_than_the_chip_reads_is_held_up():
    async def scenario(_now):
        uart, host, arrived = paced()
        uart.receive(bytes(HELD_BYTES + 1))
        held = list(host.held)
        await uart._to_chip.empty()
        return held, host.held, len(arrived)

    assert run(scenario) == ([True], [True, False], HELD_BYTES + 1)


def test_what_does_not_fit_is_lost():
    async def scenario(_now):
        uart, host, _ = paced(speed=1000)
        uart.send(bytes(MAX_WAITING))
        uart.send(b"lost")
        await uart.sent()
        return len(host.got)

    assert run(scenario) == MAX_WAITING


def test_what_a_reset_has_swallowed_takes_no_room():
    async def scenario(_now):
        came = bytearray()
        line = Pacer(lambda data, _: came.extend(data), 1)
        for _ in range(2):
            line.put(bytes(MAX_WAITING), 115200)
            line.clear()
        line.put(b"next", 115200)
        await line.empty()
        return bytes(came)

    assert run(scenario) == b"next"


def test_the_next_client_of_a_port_that_held_the_last_one_is_held_up_as_well():
    async def scenario(_now):
        uart, first, _ = paced()
        uart.receive(bytes(HELD_BYTES + 1))
        uart.release(first)
        second = Host()
        uart.adopt(second)
        uart.receive(b"x")
        held = list(second.held)
        await uart._to_chip.empty()
        return held, second.held

    assert run(scenario) == ([True], [True, False])


def test_a_purge_takes_back_what_the_chip_has_not_got():
    async def scenario(_now):
        uart, host, arrived = paced()
        uart.receive(bytes(2 * HELD_BYTES))
        uart.purge()
        await asyncio.sleep(2)
        return host.held, len(arrived)

    assert run(scenario) == ([True, False], 0)
