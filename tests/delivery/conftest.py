"""A firmware server on a loop of its own, and a device that is nothing but a socket."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest

from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.delivery.campaign import Campaign
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.timeline import Recorder, Timeline

DEADLINE_S = 10.0


@dataclass
class Got:
    """What a device received, and how it ended: ``length``, ``fin`` or ``rst``."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    head: bytes = b""
    body: bytes = b""
    ended: str = ""
    seconds: float = 0.0
    first_read: bytes = b""


class Device:
    """One connection to a URL; ``window``: bytes that it takes before it reads any."""

    def __init__(
        self, url: str, window: int | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        self.target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE_S)
        if window is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.connect((parts.hostname or "", parts.port or 0))
        if tls is not None:
            self.socket = tls.wrap_socket(
                self.socket, server_hostname=parts.hostname, suppress_ragged_eofs=False
            )

    def request(self, method: str = "GET", target: str | None = None, **headers: str) -> Device:
        lines = [f"{method} {target or self.target} HTTP/1.1", "Host: device"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        return self

    def read(self, *, body: bool = True) -> Got:
        """Read one answer: to its announced length, or to the end of the connection."""
        got, data = Got(), b""
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(65536)
            got.first_read = got.first_read or data
        begun = time.monotonic()
        head, _, rest = data.partition(b"\r\n\r\n")
        got.head = head + b"\r\n\r\n"
        first, *lines = head.decode().split("\r\n")
        got.status = int(first.split()[1])
        got.headers = dict(line.split(": ", 1) for line in lines)
        length = int(got.headers.get("Content-Length", 0)) if body else 0
        chunks, size = [rest], len(rest)
        got.ended = "length"
        while size < length:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionResetError:
                got.ended = "rst"
                break
            except ssl.SSLError as error:
                # Python calls a RST inside TLS an EOF; the kernel knows better.
                got.ended = error.reason or ("rst" if self.is_reset() else repr(error))
                break
            if not chunk:
                got.ended = "fin"
                break
            chunks.append(chunk)
            size += len(chunk)
        got.seconds = time.monotonic() - begun
        got.body = b"".join(chunks)
        return got

    def is_reset(self) -> bool:
        """Whether a RST has come (TCP_CLOSE of linux/tcp_states.h); after FIN it is CLOSE_WAIT."""
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Leave by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Bench:
    """A running server, its timeline, and its devices."""

    def __init__(self, speed: float, **options: Any) -> None:
        self.timeline = Timeline()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server = DeliveryServer(
            Recorder(self.timeline), speed=speed, authority=authority(), **options
        )
        self.on_loop(self.server.start())
        self._devices: list[Device] = []

    @property
    def ca_pem(self) -> str:
        """The certificate that makes a device trust https URLs."""
        return authority().ca_pem

    def trusting(self, **options: Any) -> ssl.SSLContext:
        """What a device speaks TLS with that trusts them."""
        context = ssl.create_default_context(cadata=self.ca_pem)
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def on_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(DEADLINE_S)

    def offer(self, data: bytes, *faults: Fault, name: str = "new.bin", **options: Any) -> Campaign:
        return self.server.campaign("c3-a", data, name=name, faults=faults, **options)

    def device(self, url: str, window: int | None = None) -> Device:
        """A connection; it trusts the rig's CA where TLS is spoken."""
        context = self.trusting() if url.startswith("https:") else None
        device = Device(url, window, context)
        self._devices.append(device)
        return device

    def get(self, url: str, method: str = "GET", **headers: str) -> Got:
        """One request on a connection of its own."""
        device = self.device(url).request(method, **headers)
        got = device.read(body=method != "HEAD")
        device.close()
        return got

    def seen(self, kind: str, **facts: Any) -> list[Event]:
        return [event for event in self.timeline.events() if _fits(event, kind, facts)]

    def wait(self, kind: str, *, after: int = 0, **facts: Any) -> Event:
        """The first such event after the cursor; fails after the deadline."""

        def found(events: Sequence[Event]) -> Event | None:
            return next((event for event in events if _fits(event, kind, facts)), None)

        event = self.timeline.wait(found, DEADLINE_S, after=after)
        assert event is not None, f"no {kind} {facts} in {self.timeline.events()}"
        return event

    def close(self) -> None:
        for device in self._devices:
            device.close()
        self.on_loop(self.server.stop())
        left = self.on_loop(_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE_S)
        self.loop.close()
        assert not left, f"tasks left on the loop: {left}"


@cache
def authority() -> Authority:
    """One CA for all tests of a process: making it takes milliseconds."""
    return Authority()


async def _others() -> list[str]:
    await asyncio.sleep(0)
    mine = asyncio.current_task()
    return [repr(task) for task in asyncio.all_tasks() if task is not mine]


def _fits(event: Event, kind: str, facts: dict[str, Any]) -> bool:
    return event.kind == kind and all(event.data.get(key) == facts[key] for key in facts)


@pytest.fixture
def bench_at() -> Iterator[Callable[..., Bench]]:
    """Makes servers with a clock of the given speed."""
    made: list[Bench] = []

    def make(speed: float, **options: Any) -> Bench:
        made.append(Bench(speed, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(bench_at: Callable[..., Bench]) -> Bench:
    """A server whose device clock runs 20 times as fast."""
    return bench_at(20.0)


@pytest.fixture(scope="session")
def firmware_bytes() -> bytes:
    """100 kB of seeded noise: fits into socket buffers, so that nobody must read it."""
    return random.Random(3).randbytes(100_003)
