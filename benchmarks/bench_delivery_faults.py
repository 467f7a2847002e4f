"""How exactly the firmware server keeps what a fault asks: rates, offsets, many at once.

    python benchmarks/bench_delivery_faults.py [--seconds 10] [--offsets 1000] [--at-once 200]

- At once: so many downloads, each with a fault of its own: each as asked; the peak memory of the
  server's process (below 300 MB is the aim).
- Offsets: so many random ones, FIN and stall by turns: each client receives exactly that many.
- Rates: bytes that 1 and 50 clients at once receive in so many seconds of ``bandwidth`` and
  ``drip``, against the rate asked for: the worst client's ratio (0.99 to 1.01 is the aim).

The clients are bare sockets in a process of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import resource
import socket
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline

Got = tuple[int, str, str, float]
"""Bytes behind the head, their SHA-256, how it ended (``fin``, ``rst``, ``silence``), seconds."""


async def fetch(url: str, quiet_s: float, seconds: float | None) -> Got:
    """One download, until it ends, nothing comes for ``quiet_s``, or ``seconds`` from the first
    byte of the body are over."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    body, how, begun = bytearray(), "silence", time.perf_counter()
    head, until = bytearray(), None
    with socket.socket() as device:
        device.setblocking(False)
        await loop.sock_connect(device, (parts.hostname, parts.port))
        ask = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n"
        await loop.sock_sendall(device, ask.encode())
        try:
            while until is None or time.perf_counter() < until:
                left = quiet_s if until is None else min(quiet_s, until - time.perf_counter())
                chunk = await asyncio.wait_for(loop.sock_recv(device, 1 << 18), max(left, 0.0))
                if not chunk:
                    how = "fin"
                    break
                if b"\r\n\r\n" in head:
                    body += chunk
                    continue
                head += chunk
                if b"\r\n\r\n" in head:
                    body += head.partition(b"\r\n\r\n")[2]
                    begun = time.perf_counter()
                    until = begun + seconds if seconds else None
        except TimeoutError:
            pass
        except ConnectionError:
            how = "rst"
    return len(body), sha256(body).hexdigest(), how, time.perf_counter() - begun


async def fetch_all(
    urls: Sequence[str], quiet_s: float, seconds: float | None, most: int
) -> list[Got]:
    """All of them, so many at once."""
    gate = asyncio.Semaphore(most)

    async def one(url: str) -> Got:
        async with gate:
            return await fetch(url, quiet_s, seconds)

    return await asyncio.gather(*(one(url) for url in urls))


def clients(orders: Connection) -> None:
    """Carry out each order, and send back what came."""
    while (order := orders.recv()) is not None:
        orders.send(asyncio.run(fetch_all(*order)))


class Bench:
    """A server, and clients to order about."""

    def __init__(self, server: DeliveryServer, orders: Connection) -> None:
        self._server, self._orders = server, orders

    def url(self, data: bytes, *listed: Fault) -> str:
        """A fresh URL, with faults."""
        return self._server.campaign(None, data, name="new.bin", faults=listed).offer("o1")

    async def get(
        self, urls: Sequence[str], *, quiet_s: float, seconds: float | None = None, most: int = 1000
    ) -> list[Got]:
        """What the clients get."""
        self._orders.send((urls, quiet_s, seconds, most))
        return await asyncio.to_thread(self._orders.recv)


async def rates(bench: Bench, seconds: float) -> None:
    """The worst client of each."""
    data = random.Random(1).randbytes(4_000_000)
    rows: Sequence[tuple[Fault, int]] = (
        (faults.bandwidth(20_000), 20_000),
        (faults.bandwidth(200_000), 200_000),
        (faults.drip(100), 100),
    )
    for fault, rate in rows:
        for count in (1, 50):
            urls = [bench.url(data, fault) for _ in range(count)]
            got = await bench.get(urls, quiet_s=seconds, seconds=seconds)
            ratios = [size / took / rate for size, _, _, took in got]
            worst = max(ratios, key=lambda ratio: abs(ratio - 1))
            print(f"{fault!s:32} {count:2} clients, {seconds:g} s: worst {worst:.4f} of the rate")


async def offsets(bench: Bench, count: int) -> None:
    """Each must be exact."""
    dice = random.Random(2)
    data = dice.randbytes(300_000)
    asked = [dice.randrange(len(data)) for _ in range(count)]
    make: Sequence[Callable[[int], Fault]] = (faults.truncate, faults.stall)
    urls = [bench.url(data, make[n % 2](at)) for n, at in enumerate(asked)]
    got = await bench.get(urls, quiet_s=0.3, most=40)
    wrong = 0
    for number, (at, (_, digest, how, _)) in enumerate(zip(asked, got, strict=True)):
        right = sha256(data[:at]).hexdigest()
        wrong += digest != right or how != ("fin", "silence")[number % 2]
    print(f"{count} random offsets, FIN and stall by turns: {wrong} wrong")


def zeroed(data: bytes, at: int, count: int) -> bytes:
    """With zeros there."""
    return data[:at] + bytes(count) + data[at + count :]


async def at_once(bench: Bench, count: int) -> None:
    """Each with its own fault; all begin together."""
    dice = random.Random(3)
    data = dice.randbytes(1_000_000)
    wanted = [dice.randrange(1, len(data)) for _ in range(count)]
    rows: Sequence[Callable[[int], tuple[Fault, bytes, str]]] = (
        lambda at: (faults.truncate(at), data[:at], "fin"),
        lambda at: (faults.stall(at), data[:at], "silence"),
        lambda at: (faults.reset(at), data[:at], "rst"),
        lambda at: (faults.status(503), b"503 Service Unavailable\n", "silence"),
        lambda at: (faults.cut(at), data[:at], "silence"),
        lambda at: (faults.length(off=1), data, "fin"),
        lambda at: (faults.zero(at % 900_000, 10), zeroed(data, at % 900_000, 10), "silence"),
        lambda at: (faults.segments(bytes=50_000, gap=0.01), data, "silence"),
        lambda at: (faults.vanish(at), data[:at], "silence"),
        lambda at: (faults.drop_header("Content-Length"), data, "fin"),
    )
    asked = [rows[n % len(rows)](at) for n, at in enumerate(wanted)]
    got = await bench.get([bench.url(data, fault) for fault, _, _ in asked], quiet_s=3.0)
    wrong = []
    for (fault, right, ends), (size, digest, how, _) in zip(asked, got, strict=True):
        if (digest, how) != (sha256(right).hexdigest(), ends):
            wrong.append(f"{fault}: {size} bytes, {how}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} downloads at once, each with its fault: {len(wrong)} wrong; peak {peak:.0f} MB")
    for row in wrong[:5]:
        print(f"  {row}")


async def measure(orders: Connection, seconds: float, count: int, together: int) -> None:
    """All of it, on one server."""
    server = DeliveryServer(Recorder(Timeline()))
    await server.start()
    bench = Bench(server, orders)
    try:
        await at_once(bench, together)  # first: the peak of the memory is told
        await offsets(bench, count)
        await rates(bench, seconds)
    finally:
        await server.stop()


def main() -> None:
    """Start the clients, then measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--offsets", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=200)
    asked = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=clients, args=(theirs,))
    child.start()
    try:
        asyncio.run(measure(ours, asked.seconds, asked.offsets, asked.at_once))
    finally:
        with contextlib.suppress(OSError):
            ours.send(None)
        child.join()


if __name__ == "__main__":
    main()
