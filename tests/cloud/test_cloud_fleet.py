"""One shipment to 200 devices at once: each gets what is its own, and nobody waits for another."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from urllib.parse import urlsplit

import pytest
from cloud_peer import Peer

from pytest_blynk_ota.air import AirRules, AirStatus
from pytest_blynk_ota.cli.cloud_ship import Shipments
from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.firmware.image import parse
from pytest_blynk_ota.firmware.recipe import loads, make

DEVICES = 200
LIMIT = 3
OLD, NEW = ("1.0.0", "Oct 1 2026 10:00:00"), ("2.0.0", "Nov 1 2026 10:00:00")
PATIENCE_S = 60.0


class Device:
    """A simulated device; what it does with an offer is its way."""

    def __init__(self, number: int, address: tuple[str, int]) -> None:
        self.token = f"{number:032d}"
        self._address = address
        self.waited: list[float] = []
        """Seconds from each report to the URL."""

    async def login(self, runs: tuple[str, str]) -> Peer:
        peer = Peer(*await asyncio.open_connection(*self._address))
        peer.send(Cmd.LOGIN, 1, self.token)
        peer.send(Cmd.INTERNAL, 2, "mcu", runs[0], "build", runs[1], "tmpl", "TMPLvirtual01")
        assert [(await peer.receive()).status for _ in range(2)] == [200, 200]
        return peer

    async def offered(self) -> str:
        peer, begun = await self.login(OLD), time.monotonic()
        told = await peer.receive()
        self.waited.append(time.monotonic() - begun)
        peer.leave()
        return told.parts[1]

    async def no_more(self) -> None:
        """Back on Old, and nothing comes."""
        peer = await self.login(OLD)
        assert await peer.alive()
        peer.leave()

    async def runs_new(self) -> None:
        peer = await self.login(NEW)
        assert await peer.alive()
        peer.leave()


async def get(url: str, share: float = 1.0) -> None:
    """Download so much of a file, and go."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(f"GET {where.path}?{where.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(int(length * share))
    if share < 1:
        writer.transport.abort()
    writer.close()


async def updates(device: Device) -> None:
    await get(await device.offered())
    await device.runs_new()


async def updates_at_the_second_try(device: Device) -> None:
    await get(await device.offered(), share=0.5)
    await updates(device)


async def never_manages(device: Device) -> None:
    for _ in range(LIMIT):
        await get(await device.offered(), share=0.3)
    await device.no_more()


async def does_not_start_it(device: Device) -> None:
    await get(await device.offered())
    await device.offered()


async def goes_back(device: Device) -> None:
    await updates(device)
    await device.no_more()


async def runs_it_already(device: Device) -> None:
    await device.runs_new()


async def never_asks(device: Device) -> None:
    await device.offered()


WAYS = {
    updates: AirStatus.SUCCESS,
    updates_at_the_second_try: AirStatus.SUCCESS,
    never_manages: AirStatus.DOWNLOAD_LIMIT_REACHED,
    does_not_start_it: AirStatus.REQUEST_SENT,
    goes_back: AirStatus.ROLLBACK,
    never_asks: AirStatus.REQUEST_SENT,
    runs_it_already: None,
}
"""What a device does, and the status that it ends in; None: only that it gets no URL."""


@pytest.mark.asyncio
async def test_every_status_is_right_and_no_device_starves():
    image = parse(make(loads(f'version = "{NEW[0]}"\nbuild = "{NEW[1]}"', "new"), "esp32"), "new")
    statuses: dict[str, AirStatus] = {}
    listeners = []

    def record(source, kind, board=None, /, *, t=None, **data):
        if (source, kind) == ("air", "status"):
            statuses[board] = AirStatus(data["status"])
        for listener in listeners:
            listener(source, kind, board, data)

    cloud, delivery = CloudServer(record, any_token=True), DeliveryServer(record)
    await cloud.start()
    await delivery.start()
    rules = AirRules(download_limit=LIMIT)
    listeners.append(Shipments(cloud, delivery, {"": image}, rules, record).see)
    ways = [list(WAYS)[number % len(WAYS)] for number in range(DEVICES)]
    devices = [Device(number, cloud.address) for number in range(DEVICES)]
    for number, device in enumerate(devices):
        cloud.add_device(f"d{number}", device.token)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(way(one) for way, one in zip(ways, devices, strict=True)))
            wanted = {f"d{n}": WAYS[way] for n, way in enumerate(ways) if WAYS[way] is not None}
            while (wrong := {b for b in wanted if statuses.get(b) is not wanted[b]}) and (
                await asyncio.sleep(0.01, True)
            ):
                pass
        assert not wrong
    finally:
        await delivery.stop()
        await cloud.stop()
    assert Counter(map(statuses.get, wanted)) == Counter(wanted.values())
    assert max(wait for device in devices for wait in device.waited) < PATIENCE_S / 3
