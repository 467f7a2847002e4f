"""A board's TCP connections: small windows, and ghosts after a reset."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import sys
import termios

import pytest

from pytest_blynk_ota.virtual.network.tcp import Network


@contextlib.asynccontextmanager
async def pair(**options):
    """A board's connection, and the peer's end of it."""
    arrived = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: arrived.put_nowait(ends), "127.0.0.1", 0)
    network = Network()
    port = server.sockets[0].getsockname()[1]
    try:
        connection = await network.open_connection("127.0.0.1", port, **options)
        reader, writer = await arrived.get()
        yield network, connection, reader, writer
        writer.close()
    finally:
        network.close()
        server.close()


def unacknowledged(writer):
    """Bytes of the peer that the board's side has not acknowledged."""
    sock = writer.get_extra_info("socket")
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]


def test_lines_and_counts_are_read_in_order():
    async def scenario():
        async with pair() as (_, connection, _, writer):
            writer.write(b"GET\r\nhost\r\n\r\nbody")
            assert await connection.read_line() == b"GET\r\n"
            assert await connection.read_line() == b"host\r\n"
            assert await connection.read_line() == b"\r\n"
            assert await connection.read_exactly(4) == b"body"
            writer.close()
            assert await connection.read() == b""
            with pytest.raises(EOFError):
                await connection.read_exactly(1)

    asyncio.run(scenario())


def test_a_line_without_end_is_refused():
    async def scenario():
        async with pair() as (_, connection, _, writer):
            writer.write(bytes(8192))
            with pytest.raises(ValueError, match="4096"):
                await connection.read_line()

    asyncio.run(scenario())


def test_what_the_board_does_not_read_stays_with_the_peer():
    async def scenario():
        async with pair() as (_, _, _, writer):
            writer.write(bytes(1 << 20))
            await asyncio.sleep(0.05)
            accepted = (1 << 20) - unacknowledged(writer) - writer.transport.get_write_buffer_size()
            assert accepted < 64 << 10

    asyncio.run(scenario())


def test_closing_says_so_and_twice_is_no_error():
    async def scenario():
        async with pair() as (_, connection, reader, _):
            connection.close()
            connection.close()
            assert await reader.read() == b""

    asyncio.run(scenario())


def test_aborting_resets():
    async def scenario():
        async with pair() as (_, connection, reader, _):
            connection.abort()
            with pytest.raises(ConnectionResetError):
                await reader.read()

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel acknowledges a little")
def test_what_did_not_fit_when_the_air_came_back_goes_before_what_is_written_next():
    async def scenario():
        async with pair() as (_network, connection, reader, _):
            filled = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    filled += connection._sock.send(bytes(1 << 16))
            connection.leave_air()
            await connection.write(b"early ")
            connection.return_to_air()
            late = asyncio.create_task(connection.write(b"late"))
            async with asyncio.timeout(5):
                await reader.readexactly(filled)
                assert await reader.readexactly(10) == b"early late"
                await late

    asyncio.run(scenario())


def test_what_came_before_a_reset_is_acknowledged_at_once():
    async def scenario():
        async with pair() as (network, board, reader, writer):
            for _ in range(4):  # turn by turn the kernel puts its acknowledgements off
                writer.write(b"ping")
                await board.read_exactly(4)
                await board.write(b"pong")
                await reader.readexactly(4)
            writer.write(b"last")
            await board.read_exactly(4)
            network.drop()
            assert unacknowledged(writer) == 0

    asyncio.run(scenario())


def test_a_ghost_acknowledges_nothing():
    async def scenario():
        async with pair() as (network, connection, _, writer):
            network.drop()
            connection.close()
            writer.write(b"anybody there?")
            await asyncio.sleep(0.3)
            assert unacknowledged(writer) == len(b"anybody there?")

    asyncio.run(scenario())


def test_a_ghost_is_reset_when_the_network_is_up_again():
    async def scenario():
        async with pair() as (network, _, reader, _):
            network.drop()
            assert network.ghosts == 1
            network.up()
            assert network.ghosts == 0
            with pytest.raises(ConnectionResetError):
                await reader.read()

    asyncio.run(scenario())


def test_a_read_that_a_reset_cancels_leaves_a_ghost():
    async def scenario():
        async with pair() as (network, connection, reader, _):
            waiting = asyncio.create_task(connection.read())
            await asyncio.sleep(0)
            network.drop()
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.1)

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters are Linux's")
def test_a_packet_above_the_paths_size_is_lost_without_a_word_until_the_path_is_mended():
    async def scenario():
        async with pair() as (network, connection, _, writer):
            network._air.set({"mtu": 600})
            writer.write(b"head")
            assert await connection.read() == b"head"
            writer.write(b"x" * 1200)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.read(), 0.1)
            assert unacknowledged(writer) == 1200
            network._air.set({"mtu": 0})
            async with asyncio.timeout(5):  # TCP sends it again
                assert await connection.read_exactly(1200) == b"x" * 1200

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="socket filters are Linux's")
def test_a_connection_that_is_opened_over_a_narrow_path_is_over_it_too():
    async def scenario():
        async with pair() as (network, _, _, _):
            network._air.set({"mtu": 600})
            arrived = asyncio.Queue()
            server = await asyncio.start_server(
                lambda *ends: arrived.put_nowait(ends), "127.0.0.1", 0
            )
            port = server.sockets[0].getsockname()[1]
            second = await network.open_connection("127.0.0.1", port)
            _, writer = await arrived.get()
            writer.write(b"x" * 1200)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.read(), 0.1)
            assert unacknowledged(writer) == 1200
            server.close()

    asyncio.run(scenario())


def test_a_refused_connection_leaves_nothing():
    async def scenario():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await Network().open_connection("127.0.0.1", port)

    asyncio.run(scenario())
