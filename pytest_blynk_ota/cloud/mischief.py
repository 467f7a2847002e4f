"""Faults of the cloud at work: one operation's, on one device.

An offer goes through :meth:`Mischief.send`; what begins at a later phase is told of the events by
:meth:`Mischief.follow`. Each fault that begins is on record as ``cloud/fault``; while it keeps the
device away, so is that, for the judge does not count the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

from pytest_blynk_ota.air import is_whole_file
from pytest_blynk_ota.cloud.device import Device
from pytest_blynk_ota.cloud.faults import CloudFault
from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.cloud.manners import Manners
from pytest_blynk_ota.cloud.site import Site
from pytest_blynk_ota.cloud.twin import AGAIN_S, Twin
from pytest_blynk_ota.evidence.event import Event

WHY = "a fault of the cloud, asked for by the test"


class House(Protocol):
    """What a fault does to the whole cloud."""

    async def suspend(self, why: str) -> None:
        """Drop everybody and stop to listen."""

    async def resume(self) -> None:
        """Listen again at the same ports."""

    def side_door(self) -> AbstractAsyncContextManager[tuple[str, int]]:
        """Listen at one more port, for a client of our own: host and port."""

    def elsewhere(self) -> AbstractAsyncContextManager[Mapping[str, tuple[str, int]]]:
        """Listen as another host would: an address for each kind that is open."""


class Mischief:
    """The faults of one operation on one device. All methods run on the cloud's loop.

    Args:
        faults: in the order of the operation's plan.
    """

    def __init__(
        self,
        device: Device,
        faults: Sequence[CloudFault],
        site: Site,
        house: House,
    ) -> None:
        self._device = device
        self._faults = faults
        self._site = site
        self._house = house
        self._offer = 0
        self._begun: set[tuple[int, int]] = set()
        """Places of faults and the offers in which they have begun."""
        self._delivered = False
        self._holding = 0
        """Faults that keep the device away now: it is back when the last of them is over."""
        self._restarting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def send(self, request: OtaRequest) -> int | None:
        """An offer, with whatever is due in it; the session that it went to, or None."""
        link = self._device.current
        if link is None or self._device.manners.is_silent(time.monotonic()):
            return None  # no offer, so none is counted: the faults keep the offers' numbers
        self._offer += 1
        self._delivered = False
        request = self._twisted(request)
        self._begins("other")  # whoever made the request has put its URL in
        if self._begins("ignore"):
            self._note("ota", "withheld", why=WHY)
            return link.number
        if (late := self._begins("delay")) is not None:
            self._later(late.values["seconds"], lambda: self._send_now(request))
        elif not link.send_ota(request):
            return None
        if (again := self._begins("twice")) is not None:
            self._later(again.values["seconds"], lambda: self._send_now(request))
        if self._begins("drop"):
            link.close(WHY)
        self._phase("offer")
        return link.number

    def follow(self, event: Event) -> None:
        """What is seen of the device: a phase begins with it, or not."""
        if event.board != self._device.board or self._offer == 0:
            return
        match (event.source, event.kind):
            case ("delivery", "request") if event.data["method"] == "GET":
                self._phase("request")
            case ("delivery", "ended") if is_whole_file(
                event.data, event.data.get("status") or 200
            ):
                self._delivered = True
                self._phase("delivered")
            case ("cloud", "login"):  # behind a relay
                self.logged_in()

    def logged_in(self) -> None:
        """The device was let in. Told by its session, at once: by the way of the events it would
        be chance whether the device's report is still heard."""
        if self._delivered:
            self._phase("login")

    async def end(self) -> None:
        """Nothing more begins, and what lasts is over.

        Raises:
            RigError: a fault could not be done, as a cloud that could not come back.
        """
        self._faults = ()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._device.manners = Manners()
        self._device.mischief = None
        if self._error is not None:
            raise self._error

    # ---- which is due

    def _begins(self, kind: str) -> CloudFault | None:
        """The first fault of a kind that is due in this offer; it is on record from now on."""
        for place, fault in enumerate(self._faults):
            if fault.kind == kind and self._begin(place, fault):
                return fault
        return None

    def _begin(self, place: int, fault: CloudFault) -> bool:
        if not fault.due(self._offer) or (place, self._offer) in self._begun:
            return False
        self._begun.add((place, self._offer))
        self._note("cloud", "fault", index=place, text=str(fault), offer=f"o{self._offer}")
        return True

    def _phase(self, phase: str) -> None:
        for place, fault in enumerate(self._faults):
            if fault.values.get("at") == phase and self._begin(place, fault):
                LASTING[fault.kind](self, fault)

    def _twisted(self, request: OtaRequest) -> OtaRequest:
        if (fault := self._begins("url")) is not None:
            return replace(request, url=fault.values["text"])
        return request

    # ---- what they do

    def _send_now(self, request: OtaRequest) -> None:
        link = self._device.current
        if link is not None:
            link.send_ota(request)

    def _restart(self, fault: CloudFault) -> None:
        self._start(self._be_away(fault.values["seconds"]))

    async def _be_away(self, device_s: float) -> None:
        self._hold(away=True)
        self._restarting += 1
        try:
            if self._restarting == 1:
                await self._house.suspend(WHY)
            await asyncio.sleep(self._wall(device_s))
        finally:
            self._restarting -= 1
            if not self._restarting:  # else the one that lasts longest opens the doors
                await self._house.resume()
            self._hold(away=False)

    def _fall_silent(self, fault: CloudFault) -> None:
        manners = self._device.manners
        manners.silent_until = max(manners.silent_until, self._until(fault))
        self._start(self._hold_for(fault.values["seconds"]))

    def _refuse(self, fault: CloudFault) -> None:
        manners = self._device.manners
        manners.refused_until = max(manners.refused_until, self._until(fault))
        manners.refuse_status = fault.values.get("status")
        self._start(self._hold_for(fault.values["seconds"]))
        if self._device.current is not None:
            self._device.current.close(WHY)

    def _slow_down(self, fault: CloudFault) -> None:
        self._device.manners.slow_s = self._wall(fault.values["seconds"])

    def _take_over(self, fault: CloudFault) -> None:
        self._start(self._intrude(None))

    def _double(self, fault: CloudFault) -> None:
        self._start(self._intrude(fault.values["version"]))

    async def _intrude(self, version: str | None) -> None:
        """Another client on the device's token: a mute one comes once, and what it does is on
        record as not the device's; one that speaks comes again and again, and nobody is told."""
        async with self._house.side_door() as address:
            twin = Twin(address, self._device.token)
            while True:
                inside = asyncio.Event()
                visit = asyncio.ensure_future(twin.visit(version, inside=inside))
                try:
                    if version is None:
                        await inside.wait()
                        link = self._device.current
                        self._note("cloud", "intruder", session=link.number if link else None)
                    await visit
                finally:
                    visit.cancel()
                if version is None:
                    return
                await asyncio.sleep(self._wall(AGAIN_S))

    def _send_elsewhere(self, fault: CloudFault) -> None:
        self._start(self._be_another_host())

    async def _be_another_host(self) -> None:
        """Each login is sent to another host of ours, until the end of the operation."""
        async with self._house.elsewhere() as addresses:
            self._device.manners.elsewhere = addresses
            await asyncio.Event().wait()

    async def _hold_for(self, device_s: float) -> None:
        self._hold(away=True)
        try:
            await asyncio.sleep(self._wall(device_s))
        finally:
            self._hold(away=False)

    # ---- time and record

    def _later(self, device_s: float, what: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(self._wall(device_s))
            what()

        self._start(wait())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and self._error is None:
            self._error = task.exception()

    def _until(self, fault: CloudFault) -> float:
        return time.monotonic() + self._wall(fault.values["seconds"])

    def _wall(self, device_s: float) -> float:
        return device_s / self._site.speed

    def _hold(self, *, away: bool) -> None:
        before = self._holding
        self._holding += 1 if away else -1
        if not before or not self._holding:
            self._note("test", "action", what=f"cloud.{'off' if away else 'on'}")

    def _note(self, source: str, kind: str, **data: object) -> None:
        self._site.record(source, kind, self._device.board, t=None, **data)


LASTING: Mapping[str, Callable[[Mischief, CloudFault], None]] = {
    "restart": Mischief._restart,
    "silent": Mischief._fall_silent,
    "refuse": Mischief._refuse,
    "slow": Mischief._slow_down,
    "redirect": Mischief._send_elsewhere,
    "takeover": Mischief._take_over,
    "twin": Mischief._double,
}
"""What begins at a phase."""
