"""The rack's access point and router: who may join, what is heard, and what names mean."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.network.air import Air
from pytest_blynk_ota.virtual.network.sockets import SEND_BYTES
from pytest_blynk_ota.virtual.network.tcp import (
    BEACON_TIMEOUT_S,
    DNS_TIMEOUT_S,
    Network,
    NoNetwork,
)

SPEED = 50.0
LONG_S = 5.0


@contextlib.asynccontextmanager
async def station(*, speed=1.0, **settings):
    """A board's station that has joined, its air, and a server whose ends come in a queue.

    At speed 1 no station misses enough beacons during a test to notice.
    """
    arrived = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: arrived.put_nowait(ends), "127.0.0.1", 0)
    air = Air()
    air.set(settings)
    network = Network(air, DeviceClock(speed))
    network.drop()
    await network.join("lab", "passphrase")
    try:
        async with asyncio.timeout(20):
            yield network, air, server.sockets[0].getsockname()[1], arrived
    finally:
        network.close()
        server.close()


def story(scenario):
    asyncio.run(scenario())


async def heard_nothing(reader):
    """Whether nothing at all comes for a while."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            return (await reader.read(1000)) is None
    return True


# ---- joining


@pytest.mark.parametrize(
    ("settings", "near", "reason"),
    [
        ({"ap": False}, True, 201),
        ({}, False, 201),
        ({"ssid": "other"}, True, 201),
        ({"passphrase": "other"}, True, 15),
        ({"dhcp": False}, True, 0),
    ],
)
def test_who_cannot_join_is_told_why_as_a_real_station_is(settings, near, reason):
    async def scenario():
        air = Air()
        air.set(settings)
        network = Network(air)
        network.drop()
        network.in_range = near
        with pytest.raises(NoNetwork) as refused:
            await network.join("lab", "passphrase")
        assert refused.value.reason == reason
        assert not network.joined

    story(scenario)


def test_the_right_name_and_passphrase_join():
    async def scenario():
        async with station(ssid="lab", passphrase="passphrase") as (network, *_):
            assert network.joined

    story(scenario)


def test_a_reset_board_is_on_no_network_and_nobody_there_is_told():
    async def scenario():
        async with station() as (network, *_):
            waiting = asyncio.ensure_future(network.lost())
            await asyncio.sleep(0)
            network.drop()
            assert not network.joined
            await asyncio.wait({waiting}, timeout=0.05)
            assert not waiting.done()
            waiting.cancel()

    story(scenario)


def test_a_station_on_no_network_cannot_connect():
    async def scenario():
        async with station() as (network, _, port, _):
            network.drop()
            with pytest.raises(OSError, match="not on any network"):
                await network.open_connection("127.0.0.1", port)

    story(scenario)


# ---- the access point goes and comes back


def test_a_lost_access_point_is_noticed_by_missed_beacons():
    async def scenario():
        async with station(speed=SPEED) as (network, air, *_):
            air.set({"ap": False})
            assert network.joined, "nobody has told it"
            began = time.monotonic()
            await network.lost()
            assert (time.monotonic() - began) * SPEED >= BEACON_TIMEOUT_S * 0.9
            assert not network.joined

    story(scenario)


def test_a_short_absence_is_not_noticed():
    async def scenario():
        async with station(speed=SPEED) as (network, air, *_):
            air.set({"ap": False})
            air.set({"ap": True})
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(network.lost(), 2 * BEACON_TIMEOUT_S / SPEED)
            assert network.joined

    story(scenario)


def test_out_of_range_neither_side_hears_the_other_and_then_all_of_it():
    async def scenario():
        async with station() as (network, _, port, arrived):
            connection = await network.open_connection("127.0.0.1", port)
            reader, writer = await arrived.get()
            network.in_range = False
            await connection.write(b"from the board, ")
            await connection.write(b"in order")
            writer.write(b"from the peer")
            assert await heard_nothing(reader)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.read(), 0.1)
            network.in_range = True
            assert await reader.readexactly(24) == b"from the board, in order"
            assert await connection.read_exactly(13) == b"from the peer"

    story(scenario)


def test_a_board_that_joins_again_goes_on_with_its_connections():
    async def scenario():
        async with station(speed=SPEED) as (network, air, port, arrived):
            connection = await network.open_connection("127.0.0.1", port)
            reader, _ = await arrived.get()
            air.set({"ap": False})
            await network.lost()
            await connection.write(b"still there")
            air.set({"ap": True})
            assert await heard_nothing(reader), "it has not joined yet"
            await network.join("lab", "passphrase")
            assert await reader.readexactly(11) == b"still there"

    story(scenario)


def test_off_the_air_writes_wait_when_the_send_buffer_is_full():
    async def scenario():
        async with station() as (network, _, port, arrived):
            connection = await network.open_connection("127.0.0.1", port)
            reader, _ = await arrived.get()
            network.in_range = False
            await connection.write(bytes(SEND_BYTES))
            more = asyncio.create_task(connection.write(b"end"))
            await asyncio.sleep(0.02)
            assert not more.done()
            network.in_range = True
            await more
            assert await reader.readexactly(SEND_BYTES + 3) == bytes(SEND_BYTES) + b"end"

    story(scenario)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_goodbye_said_off_the_air_is_heard_when_the_board_is_back(how):
    async def scenario():
        async with station() as (network, _, port, arrived):
            connection = await network.open_connection("127.0.0.1", port)
            reader, _ = await arrived.get()
            network.in_range = False
            await connection.write(b"bye")
            getattr(connection, how)()
            assert await heard_nothing(reader)
            network.in_range = True
            if how == "close":
                assert await reader.read() == b"bye"
            else:
                with pytest.raises(ConnectionResetError):
                    await reader.read()

    story(scenario)


def test_a_reset_out_of_range_leaves_ghosts_until_the_board_joins_again():
    async def scenario():
        async with station() as (network, _, port, arrived):
            left = await network.open_connection("127.0.0.1", port)
            reader, _ = await arrived.get()
            closed = await network.open_connection("127.0.0.1", port)
            network.in_range = False
            closed.close()
            network.drop()
            left.close()
            assert network.ghosts == 2
            network.in_range = True
            assert await heard_nothing(reader)
            await network.join("lab", "passphrase")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert network.ghosts == 0

    story(scenario)


def test_a_call_made_off_the_air_goes_through_once_it_is_back():
    async def scenario():
        async with station() as (network, _, port, arrived):
            network.in_range = False
            calling = asyncio.create_task(network.open_connection("127.0.0.1", port))
            await asyncio.sleep(0.02)
            assert arrived.empty()
            network.in_range = True
            await calling
            await arrived.get()

    story(scenario)


# ---- names, ports and the time


def test_a_name_is_what_the_routers_dns_says():
    async def scenario():
        async with station(dns={"cloud.test": "127.0.0.1"}) as (network, _, port, arrived):
            await network.open_connection("cloud.test", port)
            await arrived.get()

    story(scenario)


@pytest.mark.parametrize(("answer", "at_least_s"), [("nxdomain", 0.0), ("silence", 7.0)])
def test_a_name_without_an_address_is_an_error(answer, at_least_s):
    async def scenario():
        router = {"dns": {"*": answer}, "forward": {"443": "127.0.0.1:1"}}
        async with station(speed=SPEED, **router) as (network, *_):
            began = time.monotonic()
            with pytest.raises(OSError, match=answer):
                await network.open_connection("cloud.test", 443)
            assert (time.monotonic() - began) * SPEED >= at_least_s * 0.9

    story(scenario)


def test_a_name_that_does_not_exist_is_known_at_once():
    async def scenario():
        async with station(dns={"*": "nxdomain"}) as (network, *_):
            with pytest.raises(OSError, match="nxdomain"):
                await asyncio.wait_for(
                    network.open_connection("cloud.test", 443), DNS_TIMEOUT_S / 2
                )

    story(scenario)


@pytest.mark.parametrize("source", ["443", "cloud.test:443"])
def test_a_fixed_port_is_forwarded_and_its_name_needs_no_dns(source):
    async def scenario():
        async with station() as (network, air, port, arrived):
            air.set({"forward": {source: f"127.0.0.1:{port}"}})
            await network.open_connection("cloud.test", 443)
            await arrived.get()

    story(scenario)


def test_a_wrong_dns_answer_wins_over_a_forward():
    air = Air(dns={"cloud.test": "192.0.2.1"}, forward={"443": "127.0.0.1:1"})
    assert air.answer("cloud.test", 443) == ("192.0.2.1", 443)
    assert air.answer("other.test", 443) == ("127.0.0.1", 1)
    assert air.answer("192.0.2.7", 80) == ("192.0.2.7", 80)
    assert Air(dns={"*": "nxdomain"}).answer("192.0.2.7", 80) == ("192.0.2.7", 80)


def test_the_clock_is_right_wrong_or_starts_at_the_boot():
    async def scenario():
        async with station() as (network, air, *_):
            assert abs(network.unix_time() - time.time()) < LONG_S
            air.set({"clock_offset_s": 1e9})
            assert network.unix_time() - time.time() > 1e9 - LONG_S
            air.set({"sntp": False})
            assert network.unix_time() < LONG_S
            before = network.unix_time()
            network.drop()
            assert network.unix_time() < before, "a reset begins it again"

    story(scenario)


# ---- settings


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"ap": 1}, "ap: expected true or false, not 1"),
        ({"dns": {"a": "nowhere"}}, "dns: expected"),
        ({"dns": "silence"}, "dns: expected"),
        ({"forward": {"443": "127.0.0.1"}}, "forward: expected"),
        ({"forward": {"x": "127.0.0.1:1"}}, "forward: expected"),
        ({"forward": {"443": 8080}}, "forward: expected"),
        ({"forward": {"443": "127.0.0.1:65536"}}, "forward: expected"),
        ({"mtu": 67}, "mtu: expected bytes, 68 or more, or 0 for any, not 67"),
        ({"mtu": True}, "mtu: expected bytes"),
        ({"clock_offset_s": "1"}, "clock_offset_s: expected seconds"),
        ({"clock_offset_s": float("inf")}, "clock_offset_s: expected seconds"),
        ({"clock_offset_s": float("nan")}, "clock_offset_s: expected seconds"),
    ],
)
def test_a_wrong_value_is_refused_and_changes_nothing(table, words):
    air = Air()
    with pytest.raises(UsageError, match=words):
        air.set({"dhcp": False, **table})
    assert air.state() == Air().state()


def test_all_is_well_again_after_a_reset():
    air = Air()
    air.set({"ap": False, "dns": {"*": "silence"}, "clock_offset_s": -5})
    air.reset()
    assert air.state() == Air().state()
