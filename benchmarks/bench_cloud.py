"""The local cloud beside a bare asyncio stream server with the same bytes on the wire.

Messages: devices that are logged in send PING after PING and wait for each answer, many under way.
Logins: connect, LOGIN, 200, gone. The bare server reads as many bytes and writes as many; it looks
at none. Each server has a process of its own. The last table is of devices that are there and
send their heartbeats.

    python benchmarks/bench_cloud.py [--devices 50] [--rounds 3] [--fleets 10 100 500 1000 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from pytest_blynk_ota.cloud.protocol import Cmd, encode, frame, response
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.cloud.site import Limits
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline

FIGURE = 0.5
UNDER_WAY = 50
"""PINGs that a device has sent and not seen answered."""
PINGS = 4000
LOGINS = 2000
ANSWER = len(encode(response(1)))
Address = tuple[str, int]


def token(number: int) -> str:
    return f"{number:032d}"


async def our_server(devices: int) -> tuple[Address, Callable[[], Any]]:
    recorder = Recorder(Timeline())
    limits = Limits(flood_per_s=None, waiting_per_peer=5000)
    server = CloudServer(recorder, limits=limits)
    for number in range(devices):
        server.add_device(f"d{number}", token(number))
    await server.start()
    return server.address, server.stop


async def bare_server(devices: int) -> tuple[Address, Callable[[], Any]]:
    login, ping = len(encode(frame(Cmd.LOGIN, 1, token(0)))), len(encode(frame(Cmd.PING, 1)))
    ok = encode(response(1))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(login)
            writer.write(ok)
            while await reader.readexactly(ping):
                writer.write(ok)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)

    async def stop() -> None:
        server.close()

    return server.sockets[0].getsockname()[:2], stop


SERVERS = {"ours": our_server, "bare": bare_server}


def serve(which: str, devices: int, pipe: Connection) -> None:
    """A process with one server; tells its address, then its own cost whenever it is asked."""

    async def main() -> None:
        address, stop = await SERVERS[which](devices)
        pipe.send(address)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, pipe.recv) != "end":
            used = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send((used.ru_utime + used.ru_stime, resident_mb()))
        await stop()

    asyncio.run(main())


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


class Running:
    """A server in its process."""

    def __init__(self, which: str, devices: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(which, devices, theirs), daemon=True)

    def __enter__(self) -> Running:
        self._process.start()
        self.address: Address = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("end")
        self._process.join(10)

    def cost(self) -> tuple[float, float]:
        """CPU seconds so far, and megabytes resident."""
        self._pipe.send("cost")
        told: tuple[float, float] = self._pipe.recv()
        return told


async def logged_in(
    address: Address, number: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(encode(frame(Cmd.LOGIN, 1, token(number))))
    await reader.readexactly(ANSWER)
    return reader, writer


async def ping(address: Address, number: int, count: int) -> None:
    reader, writer = await logged_in(address, number)
    batch = encode(frame(Cmd.PING, 2)) * UNDER_WAY
    for _ in range(count // UNDER_WAY):
        writer.write(batch)
        await reader.readexactly(ANSWER * UNDER_WAY)
    writer.close()


async def messages(address: Address, devices: int) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*(ping(address, number, PINGS) for number in range(devices)))
    return devices * PINGS / (time.perf_counter() - begun)


async def logins(address: Address, devices: int) -> float:
    async def some(number: int) -> None:
        for _ in range(LOGINS // devices):
            _, writer = await logged_in(address, number)
            writer.transport.abort()

    begun = time.perf_counter()
    await asyncio.gather(*map(some, range(devices)))
    return LOGINS // devices * devices / (time.perf_counter() - begun)


def compare(what: str, measure: Callable[[Address, int], Any], options: argparse.Namespace) -> None:
    rates: dict[str, list[float]] = {which: [] for which in SERVERS}
    for _ in range(options.rounds):
        for which in SERVERS:
            with Running(which, options.devices) as server:
                rates[which].append(asyncio.run(measure(server.address, options.devices)))
    ratios = [ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True)]
    print(
        f"{what:10} ours {median(rates['ours']):9.0f} per s   bare {median(rates['bare']):9.0f} "
        f"per s   ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; "
        f"at least {FIGURE})"
    )


async def fleet(server: Running, devices: int, heartbeats: int) -> tuple[float, float, float]:
    """Seconds to log in, CPU milliseconds a heartbeat, kilobytes a device."""
    _, before_mb = server.cost()
    begun = time.perf_counter()
    peers = await asyncio.gather(*(logged_in(server.address, number) for number in range(devices)))
    seconds = time.perf_counter() - begun
    begun_cpu, with_mb = server.cost()
    beat = encode(frame(Cmd.PING, 3))
    for _ in range(heartbeats):
        for _, writer in peers:
            writer.write(beat)
        for reader, _ in peers:
            await reader.readexactly(ANSWER)
    cpu_s = server.cost()[0] - begun_cpu
    for _, writer in peers:
        writer.transport.abort()
    return (
        seconds,
        cpu_s / heartbeats / devices * 1000,
        (with_mb - before_mb) * 1000 / devices,
    )


def grow(fleets: list[int]) -> None:
    print("\ndevices   log in     a device   CPU a heartbeat   memory a device")
    for devices in fleets:
        with Running("ours", devices) as server:
            seconds, cpu_ms, kb = asyncio.run(fleet(server, devices, 20))
        print(
            f"{devices:7} {seconds:7.2f} s {seconds / devices * 1000:9.2f} ms "
            f"{cpu_ms * 1000:12.1f} µs {kb:14.1f} KB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fleets", type=int, nargs="*", default=[10, 100, 500, 1000, 2000])
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{options.devices} devices, {options.rounds} rounds each (file limit was {soft})")
    compare("messages", messages, options)
    compare("logins", logins, options)
    grow(options.fleets)


if __name__ == "__main__":
    main()
