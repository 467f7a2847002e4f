"""The firmware server with no fault against aiohttp's FileResponse, in one run.

    python benchmarks/bench_delivery.py [--rounds 5]

Serves 8 MB to 1 and to 16 clients at once, by http and by https, both servers by turns on one
event loop, and prints the median throughput of each and their ratio (at least 0.7 is the aim). Ours
is the path that ``ota`` uses: digests, progress, acknowledged bytes, events. The clients are a
process of their own, and trust any certificate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import socket
import ssl
import statistics
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline

TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE

SIZE = 8 * 1024 * 1024
CLIENTS = (1, 16)


def fetch(url: str) -> None:
    """Read one answer to its end and count it."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}"
    with contextlib.ExitStack() as open_ones:
        device = open_ones.enter_context(
            socket.create_connection((parts.hostname or "", parts.port or 0))
        )
        if parts.scheme == "https":
            device = open_ones.enter_context(TRUSTING.wrap_socket(device))
        device.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        buffer, got = bytearray(1 << 18), 0
        while count := device.recv_into(buffer):
            got += count
    if got < SIZE:
        raise SystemExit(f"{url}: {got} bytes of {SIZE}")


def clients(orders: Connection) -> None:
    """Fetch each list of URLs at once and answer with the seconds it took."""
    while (urls := orders.recv()) is not None:
        threads = [threading.Thread(target=fetch, args=(url,)) for url in urls]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        orders.send(time.perf_counter() - begun)


async def measure(rounds: int, orders: Connection, file: Path, data: bytes, https: bool) -> None:
    """Both servers by turns, so that a busy machine slows both."""
    authority = Authority()
    ours = DeliveryServer(Recorder(Timeline()), authority=authority)
    await ours.start()
    campaign = ours.campaign("board", data, name=file.name, https=https)
    context = authority.server_context(["127.0.0.1"]) if https else None
    scheme = "https" if https else "http"

    async def whole(_: web.Request) -> web.FileResponse:
        return web.FileResponse(file)

    theirs = web.AppRunner(web.Application(), access_log=None)
    theirs.app.router.add_get("/f/new.bin", whole)
    await theirs.setup()
    site = web.TCPSite(theirs, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    host, port = theirs.addresses[0]
    try:
        for count in CLIENTS:
            times: dict[str, list[float]] = {"ours": [], "aiohttp": []}
            for number in range(rounds + 1):
                urls = {
                    "ours": [campaign.offer(f"o{number}-{n}") for n in range(count)],
                    "aiohttp": [f"{scheme}://{host}:{port}/f/new.bin?"] * count,
                }
                for name, wanted in urls.items():
                    orders.send(wanted)
                    seconds = await asyncio.to_thread(orders.recv)
                    if number:  # the first round warms both up
                        times[name].append(seconds)
            rate = {
                name: count * SIZE / statistics.median(values) / 1e6
                for name, values in times.items()
            }
            print(
                f"{scheme:5} {count:2} clients: ours {rate['ours']:6.0f} MB/s, FileResponse "
                f"{rate['aiohttp']:6.0f} MB/s, ratio {rate['ours'] / rate['aiohttp']:.2f}"
            )
    finally:
        await theirs.cleanup()
        await ours.stop()


def main() -> None:
    """Start the clients, then measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=clients, args=(theirs,))
    child.start()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.bin"
        data = random.Random(1).randbytes(SIZE)
        file.write_bytes(data)
        try:
            for https in (False, True):
                asyncio.run(measure(rounds, ours, file, data, https))
        finally:
            ours.send(None)
            child.join()


if __name__ == "__main__":
    main()
