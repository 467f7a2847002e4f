"""One board: power, reset and download mode around whatever software it runs."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from virtual_bench import SPEED, Terminal, echo

from pytest_blynk_ota.virtual.chip.board import LINK_BACK_S, Board, State
from pytest_blynk_ota.virtual.chip.chips import MODELS, default_mac, make_chip
from pytest_blynk_ota.virtual.settings import BoardSettings

CLASSIC = [(False, True), (True, True), (True, False), (False, False)]


@contextlib.asynccontextmanager
async def running(execute=echo, *, hub=False, chip="esp32c3", speed=SPEED):
    """A started board."""
    failures = []
    settings = BoardSettings("a", make_chip(MODELS[chip], default_mac("a")), hub=hub)
    board = Board(settings, execute, speed=speed, failed=failures.append)
    await board.start()
    try:
        yield board
    finally:
        await board.stop()
        assert not failures


def move(board, *states):
    for dtr, rts in states:
        board.uart.lines.set(dtr, rts)


def test_software_runs_from_power_on_and_again_after_each_of_its_resets():
    async def scenario():
        async with running() as board:
            terminal = await Terminal.open(board.uart.url)
            terminal.writer.write(b"hello\r\nrestart\r\n")
            assert await terminal.until("boot 0xc") == "echo hello\r\nboot 0xc\r\n"

    asyncio.run(scenario())


def test_bytes_printed_without_a_client_are_lost():
    async def scenario():
        async with running() as board:
            await asyncio.sleep(0)
            board.print("nobody hears\n")
            terminal = await Terminal.open(board.uart.url)
            board.print("somebody does\n")
            assert await terminal.until("does") == "somebody does\r\n"

    asyncio.run(scenario())


def test_reset_is_held_and_boots_as_power_on():
    async def scenario():
        async with running() as board:
            terminal = await Terminal.open(board.uart.url)
            move(board, (False, True))
            assert board.state is State.HELD
            board.uart.receive(b"unheard\n")
            move(board, (False, False))
            assert await terminal.until("boot") == "boot 0x1\r\n"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("chip", "banner"),
    [
        ("esp32", "boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))"),
        ("esp32c3", "boot:0x5 (DOWNLOAD(USB/UART0/1))"),
    ],
)
def test_the_classic_sequence_ends_in_download_mode(chip, banner):
    async def scenario():
        async with running(chip=chip) as board:
            terminal = await Terminal.open(board.uart.url)
            move(board, *CLASSIC)
            assert banner in await terminal.until("waiting for download\r\n")
            assert board.state is State.DOWNLOAD

    asyncio.run(scenario())


def test_opening_a_port_does_not_reset_the_board():
    async def scenario():
        async with running() as board:
            terminal = await Terminal.open(board.uart.url)
            move(board, (True, False), (True, True))
            terminal.writer.write(b"alive\n")
            assert await terminal.until("alive") == "echo alive\r\n"

    asyncio.run(scenario())


def test_power_off_stops_everything_and_power_on_boots():
    async def scenario():
        async with running() as board:
            terminal = await Terminal.open(board.uart.url)
            board.power(False)
            board.uart.receive(b"dark\n")
            board.power(True)
            assert await terminal.until("boot") == "boot 0x1\r\n", "the bridge has its own power"

    asyncio.run(scenario())


@pytest.mark.parametrize("ms", [50, 500])
def test_power_comes_back_after_a_dip_whose_end_nobody_waits_for(ms):
    async def scenario():
        async with running() as board:
            asked = asyncio.create_task(board.dip(ms))
            await asyncio.sleep(0)
            assert board.state is not State.RUNNING
            asked.cancel()
            await asyncio.sleep(ms / 1000 / SPEED + 0.01)
            assert board.state is State.RUNNING

    asyncio.run(scenario())


@pytest.mark.parametrize("ms", [50, 500])
def test_an_outlet_that_is_switched_off_in_a_dip_stays_off(ms):
    async def scenario():
        async with running() as board:
            asked = asyncio.create_task(board.dip(ms))
            await asyncio.sleep(0)
            board.power(False)
            await asked
            assert board.state is State.OFF

    asyncio.run(scenario())


def test_a_board_that_is_held_in_reset_stays_so_after_a_dip():
    async def scenario():
        async with running() as board:
            move(board, (False, True))
            await board.dip(50)
            assert board.state is State.HELD

    asyncio.run(scenario())


def test_a_reset_does_not_wake_a_board_without_power():
    async def scenario():
        async with running() as board:
            board.power(False)
            move(board, (False, True), (False, False), *CLASSIC)
            assert board.state is State.OFF

    asyncio.run(scenario())


def test_power_that_comes_while_reset_is_held_waits_for_the_release():
    async def scenario():
        async with running() as board:
            terminal = await Terminal.open(board.uart.url)
            board.power(False)
            move(board, (False, True))
            board.power(True)
            assert board.state is State.HELD
            move(board, (False, False))
            assert await terminal.until("boot") == "boot 0x1\r\n"

    asyncio.run(scenario())


def test_a_hub_takes_the_link_and_gives_it_back_on_the_same_port_too_late_for_the_boot():
    async def scenario():
        async with running(hub=True) as board:
            terminal = await Terminal.open(board.uart.url)
            url = board.uart.url
            board.power(False)
            await terminal.at_end()
            with pytest.raises((EOFError, ConnectionError)):
                await Terminal.open(url)
            began = board.clock.now()
            board.power(True)
            async with asyncio.timeout(5):
                while True:
                    with contextlib.suppress(EOFError, ConnectionError):
                        back = await Terminal.open(url)
                        break
            assert board.clock.now() - began >= 1.0, "a bridge has to enumerate"
            back.writer.write(b"late\n")
            assert await back.until("late") == "echo late\r\n", "the boot was not heard"

    asyncio.run(scenario())


def test_a_hub_that_loses_its_power_again_gives_no_link():
    async def scenario():
        async with running(hub=True) as board:
            board.power(False)
            board.power(True)
            board.power(False)
            await asyncio.sleep(max(LINK_BACK_S) / SPEED + 0.02)
            assert not board.uart.linked

    asyncio.run(scenario())


@pytest.mark.parametrize(("asked", "rate"), [(1, 39), (115200, 115200), (1 << 31, 5_000_000)])
def test_a_chip_sets_no_rate_that_its_divider_cannot_make(asked, rate):
    async def scenario():
        async with running() as board:
            board._set_baud(asked)
            assert board.uart.chip_baud == rate

    asyncio.run(scenario())


def test_a_reset_tears_the_erase_that_was_under_way():
    async def erasing(machine, _cause):
        await machine.program(0, bytes(8192))
        machine.print("erasing\n")
        await machine.erase(0, 8192)
        await asyncio.Event().wait()
        return 0

    async def scenario():
        async with running(erasing, speed=0.2) as board:
            terminal = await Terminal.open(board.uart.url)
            await terminal.until("erasing")
            move(board, (False, True))
            await asyncio.sleep(0.01)
            assert "torn erase" in [one.kind for one in board.flash.journal]
            assert board.flash.read(4096, 4096) == bytes(4096), "the second sector was not begun"

    asyncio.run(scenario())


def test_a_power_cut_leaves_a_prefix_of_what_was_being_programmed():
    data = bytes(64 * 256)

    async def programming(machine, _cause):
        machine.print("programming\n")
        await machine.program(0, data)
        await asyncio.Event().wait()
        return 0

    async def scenario():
        async with running(programming, speed=0.01) as board:
            terminal = await Terminal.open(board.uart.url)
            board.power(False)
            board.power(True)
            await terminal.until("programming")
            board.power(False)
            await asyncio.sleep(0.01)
            kept = board.flash.read(0, len(data)).count(0)
            assert kept < len(data)
            assert board.flash.read(0, len(data)) == bytes(kept) + b"\xff" * (len(data) - kept)
            assert [one.kind for one in board.flash.journal].count("torn program") == 2

    asyncio.run(scenario())


def test_a_new_life_waits_until_the_old_one_has_ended():
    lives = []

    async def slow_to_die(_machine, _cause):
        lives.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)
            lives.append("ends")
        return 0

    async def scenario():
        async with running(slow_to_die) as board:
            await asyncio.sleep(0.01)
            for _ in range(3):
                move(board, (False, True), (False, False))
            await asyncio.sleep(0.05)
        assert lives == ["begins", "ends", "begins", "ends"]

    asyncio.run(scenario())


def test_a_reset_leaves_connections_half_open_until_the_network_is_up_again():
    met, gone = asyncio.Event(), asyncio.Event()
    seen = []

    async def online(machine, cause):
        machine.network.up()
        port = int(await machine.read_line())
        connection = await machine.network.open_connection("127.0.0.1", port)
        try:
            await connection.write(b"here")
            await connection.read()
        finally:
            connection.close()
        return cause

    async def cloud(reader, writer):
        seen.append(await reader.readexactly(4))
        met.set()
        try:
            seen.append(await reader.read())
        except ConnectionResetError:
            seen.append("reset")
        gone.set()
        writer.close()

    async def scenario():
        server = await asyncio.start_server(cloud, "127.0.0.1", 0)
        async with running(online) as board, server:
            terminal = await Terminal.open(board.uart.url)
            terminal.writer.write(b"%d\n" % server.sockets[0].getsockname()[1])
            async with asyncio.timeout(5):
                await met.wait()
                move(board, (False, True))
                await asyncio.sleep(0.05)
                assert seen == [b"here"], "held in reset, the board says nothing, not even FIN"
                assert board.network.ghosts == 1
                move(board, (False, False))
                await gone.wait()
            assert seen == [b"here", "reset"]

    asyncio.run(scenario())


def test_a_software_restart_leaves_its_connections_half_open_too():
    again = asyncio.Event()

    async def online(machine, cause):
        if cause == 0xC:
            again.set()
            return await asyncio.Future()
        machine.network.up()
        port = int(await machine.read_line())
        await machine.network.open_connection("127.0.0.1", port)
        return 0xC

    async def scenario():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        async with running(online) as board, server:
            terminal = await Terminal.open(board.uart.url)
            terminal.writer.write(b"%d\n" % server.sockets[0].getsockname()[1])
            async with asyncio.timeout(5):
                await again.wait()
            assert board.network.ghosts == 1
            assert not board.network.joined

    asyncio.run(scenario())


@pytest.mark.parametrize("software", [True, False])
def test_what_was_typed_before_a_reset_is_not_for_the_next_boot(software):
    async def slow(machine, _cause):
        machine.print("ready\n")
        while (line := await machine.read_line()) not in ("restart", "sleep"):
            machine.print(f"echo {line}\n")
        return 0xC if line == "restart" else await asyncio.Future()

    async def scenario():
        async with running(slow) as board:
            await asyncio.sleep(0)
            board._received(b"restart\nold\nhalf" if software else b"sleep\nold\nhalf")
            terminal = await Terminal.open(board.uart.url)
            if not software:
                move(board, (False, True), (False, False))
                await terminal.until("ready")
            terminal.writer.write(b"new\n")
            assert (await terminal.until("new")).endswith("echo new\r\n")
            assert "old" not in terminal.text

    asyncio.run(scenario())


def test_software_that_breaks_is_a_fault_of_the_rack():
    async def broken(_machine, _cause):
        raise ZeroDivisionError

    async def scenario():
        failures = []
        settings = BoardSettings("a", make_chip(MODELS["esp32"], default_mac("a")))
        board = Board(settings, broken, failed=failures.append)
        await board.start()
        await asyncio.sleep(0.01)
        await board.stop()
        assert [type(one) for one in failures] == [ZeroDivisionError]

    asyncio.run(scenario())
