"""A bench with new Edgent in it, and what its tests say to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

from vfw_bench import NVS, Bench, entry
from vfw_peer import TOKEN, BlynkPeer, listening

from pytest_blynk_ota.firmware.nvs import edgent_config
from pytest_blynk_ota.firmware.nvs_store import Nvs
from pytest_blynk_ota.virtual.network.tcp import Network

HOST = "127.0.0.1"
PASSPHRASE = "long enough"
HEAD = "HTTP/1.1 200 OK\r\n{extra}Content-Length: {{size}}\r\nX-SHA256: {digest}\r\n\r\n"


class NewEdgent:
    """A bench with new Edgent in it, provisioned as old Edgent's settings."""

    def __init__(self, *ports: int, passphrase: str = PASSPHRASE, **behaviour: Any) -> None:
        self.bench = Bench()
        machine = self.bench.machine
        machine.network = Network(clock=machine.clock)
        self.typed: asyncio.Queue[str] = asyncio.Queue()
        machine.read_line = self.typed.get  # type: ignore[method-assign]
        self.behaviour = {"profile": "edgent-new", "ports": list(ports), **behaviour}
        self.install("1.0.0")
        settings = edgent_config(ssid="lab", password=passphrase, token=TOKEN, host=HOST, port=443)
        self.bench._flash(NVS.offset, settings)

    def install(self, version: str) -> None:
        self.bench.put(0x10000, self.app(version))
        self.bench.otadata(entry(1), None)

    def app(self, version: str) -> bytes:
        return self.bench.app(version, **self.behaviour)

    @property
    def nvs(self) -> Nvs:
        return Nvs(self.bench.read(NVS.offset, NVS.size))

    def __enter__(self) -> NewEdgent:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.bench.__exit__()
        else:
            self.bench.machine.close()


def digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def head(data: bytes, *, sha: str | None = None, extra: str = "") -> str:
    return HEAD.format(digest=digest(data) if sha is None else sha, extra=extra)


async def meet(*expected: int, **behaviour: Any) -> tuple[NewEdgent, BlynkPeer]:
    """Boot until the cloud has heard the name; board and cloud."""
    cloud = BlynkPeer()
    async with listening(cloud.serve) as (_, port):
        board = NewEdgent(port, **behaviour)
        async with board.bench.living():
            await cloud.hears(lambda peer: "Hotspot Name" in str(peer.heard))
    return board, cloud
