"""What ``blynk-ota cloud`` tells devices: a URL once, or a file by the rules of a shipment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import rich_click as click

from pytest_blynk_ota.air import AirRules
from pytest_blynk_ota.air.follow import Follower, named
from pytest_blynk_ota.air.machine import Shipment
from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.delivery.campaign import Campaign
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.firmware.image import Image

EVERY_DEVICE = ""


class Errands:
    """Work that begins with an event and must not hold up the server that tells of it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it soon."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, UsageError):
            click.echo(f"blynk-ota: {error}", err=True)
        elif error is not None:
            raise error


class Urls:
    """Tells each device its URL: once, when it has logged in and said what it is.

    Args:
        urls: by the name of the device; under "" the one for every other.
    """

    def __init__(self, server: CloudServer, urls: Mapping[str, str]) -> None:
        self._server = server
        self._urls = urls
        self._told: set[str] = set()
        self._errands = Errands()

    def see(self, source: str, kind: str, board: str | None, data: Mapping[str, Any]) -> None:
        """An event of the cloud."""
        url = self._urls.get(board or "", self._urls.get(EVERY_DEVICE))
        if (source, kind) == ("cloud", "info") and board and url and board not in self._told:
            self._told.add(board)
            # Not at once: the answer to the info goes first.
            self._errands.run(self._send(board, url))

    async def _send(self, board: str, url: str) -> None:
        sent = await self._server.send_ota(board, url, offer=f"o{len(self._told)}")
        if sent is None:
            self._told.discard(board)  # gone again before it was told: at its next login


class Shipments:
    """Ships files by Blynk.Air's rules: an offer at each login on another build, up to the limit.

    Args:
        images: by the name of the device; under "" the one for every other.
        record: told of each new status, as source ``air``.
    """

    def __init__(
        self,
        server: CloudServer,
        delivery: DeliveryServer,
        images: Mapping[str, Image],
        rules: AirRules,
        record: Record,
    ) -> None:
        self._server = server
        self._delivery = delivery
        self._images = images
        self._rules = rules
        self._record = record
        self._ships: dict[str, tuple[Follower, Campaign, Image]] = {}
        self._offers = 0
        self._seq = 0
        self._errands = Errands()

    def see(self, source: str, kind: str, board: str | None, data: Mapping[str, Any]) -> None:
        """An event of the cloud or of the firmware server."""
        if board is None:
            return
        if board not in self._ships and not self._begin(board):
            return
        follower, _, _ = self._ships[board]
        before = follower.shipment.status
        self._seq += 1
        now = asyncio.get_running_loop().time()
        follower.see(Event(self._seq, now, 0.0, source, kind, board, data))
        shipment = follower.shipment
        if shipment.status is not before:
            self._record("air", "status", board, status=str(shipment.status))
        if shipment.wants_url and (source, kind) == ("cloud", "report"):
            self._errands.run(self._send(board))

    def _begin(self, board: str) -> bool:
        image = self._images.get(board, self._images.get(EVERY_DEVICE))
        if image is None:
            return False
        facts = {"version": image.version, "build": image.build, "fw_type": image.fw_type}
        shipment = Shipment(named(facts), self._rules, board=board)
        campaign = self._delivery.campaign(board, image.data, name="new.bin")
        self._ships[board] = (Follower(shipment, board), campaign, image)
        return True

    async def _send(self, board: str) -> None:
        follower, campaign, image = self._ships[board]
        if not follower.shipment.wants_url:
            return  # it said twice what it runs, and has been told
        self._offers += 1
        url = campaign.offer(f"o{self._offers}")
        await self._server.send_ota(
            board, url, offer=f"o{self._offers}", size=len(image.data), tag=tag_of(image)
        )


def tag_of(image: Image) -> dict[str, str]:
    """What the image's tag says, in the words of the MQTT device API."""
    words = {"type": image.fw_type, "ver": image.version, "build": image.build}
    return {key: value for key, value in words.items() if value}
