"""The local Blynk cloud: its ports, who may log in, who is online, what they reported."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from pytest_blynk_ota.cloud.device import DeviceState, Registry, Stranger
from pytest_blynk_ota.cloud.doors import KINDS, Door, Speech
from pytest_blynk_ota.cloud.ears import Ear, Listen, Visitor, listen_here
from pytest_blynk_ota.cloud.faults import CloudFault, check_behind_relay
from pytest_blynk_ota.cloud.http_room import HttpRoom, Part
from pytest_blynk_ota.cloud.https_api import add_https_api
from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.cloud.mischief import Mischief
from pytest_blynk_ota.cloud.mqtt.websocket import add_websocket
from pytest_blynk_ota.cloud.porch import Porch
from pytest_blynk_ota.cloud.relay import RelayedSession, Upstream
from pytest_blynk_ota.cloud.session import Session, ota_bytes
from pytest_blynk_ota.cloud.site import Limits, Site
from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.cloud.waiting import WaitingRoom
from pytest_blynk_ota.errors import RigError, UsageError
from pytest_blynk_ota.evidence.timeline import Record

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.mqtt.connection import MqttProtocol

STOP_TIMEOUT_S: Final = 2.0
"""Wall seconds for the connections to go when the server stops: it drops them itself."""
STOPPED: Final = "the cloud was stopped"
LOCAL_NAMES: Final = ("localhost",)
"""Names that every certificate of our own has beside the address."""
HTTP_PARTS: Final[Sequence[Part]] = (add_websocket, add_https_api)
"""What answers HTTP at the ports that it shares with the binary protocol."""
SIDE_DOOR_HOST: Final = "127.0.0.1"
OTHER_LOOPBACK: Final = "127.0.0.2"


class Visit(Protocol):
    """A connection, whatever it is at the moment."""

    def close(self, why: str) -> None:
        """End it."""

    def abort(self) -> None:
        """Drop it."""


class CloudServer:
    """A Blynk server for the boards of one rig.

    All methods but :meth:`start`, :meth:`stop` and those that send something may be called from any
    thread.

    Args:
        record: is told everything that devices do; never a token.
        host: address to listen on.
        port: of the plain door, if ``doors`` is not given; 0 takes a free one.
        speed: device seconds in a wall second.
        any_token: let unknown tokens in, as ``device-1``, ``device-2``…: for use by hand.
        doors: the ports to listen on.
        authority: who its TLS ports are; a CA of its own if one is needed and none given.
        limits: what it puts up with.
        relay: another Blynk server that answers in its place, on the binary protocol.
        names: host names that lead to it, for its certificate.
        listen: how a door is opened; by this process if nothing is said.
        came: called on its loop with the address that a device has logged in from.

    Raises:
        UsageError: ``speed`` is no positive number, or there is no door.
    """

    def __init__(
        self, record: Record, *, host: str = "127.0.0.1", port: int = 0, speed: float = 1.0,
        any_token: bool = False, doors: Sequence[Door] | None = None,
        authority: Authority | None = None, limits: Limits | None = None,
        relay: Upstream | None = None, names: Sequence[str] = (),
        listen: Listen = listen_here, came: Callable[[str], object] = lambda _: None,
    ) -> None:  # fmt: skip
        if not (math.isfinite(speed) and speed > 0):
            raise UsageError(f"speed is device seconds in a wall second, above 0; got {speed}")
        self._doors = (Door("tcp", port),) if doors is None else tuple(doors)
        if not self._doors:
            raise UsageError("the cloud needs a port to listen on, got none")
        if relay is not None and any(Speech.MQTT in KINDS[one.kind].speaks for one in self._doors):
            raise UsageError(
                "relay: the binary protocol is passed on, MQTT is not: open no such port"
            )
        self._host = host
        self._names = tuple(names)
        self._relay = relay
        self._listen_at = listen
        self._came = came
        self._registry = Registry(any_token=any_token)
        limits = limits or Limits()
        self._site = Site(self._registry, record, speed, limits, self._welcomed, self._over)
        self._waiting = WaitingRoom(limits.waiting_per_peer)
        self._http = HttpRoom(self._site, HTTP_PARTS if relay is None else ())
        self._authority = authority
        self._visits: dict[int, Visit] = {}
        self._count = 0
        self._ears: list[Ear] = []
        self._open: list[tuple[Door, tuple[str, int]]] = []
        """Doors with the ports that they have in truth, and their addresses."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._all_gone = asyncio.Event()

    async def start(self) -> None:
        """Listen at every door.

        Raises:
            RigError: a port cannot be listened on; says why, and what to do.
        """
        self._loop = asyncio.get_running_loop()
        await self._listen(self._doors)

    async def _listen(self, doors: Sequence[Door]) -> None:
        try:
            await self._http.open()
            for door in doors:
                await self._start(door)
        except BaseException:
            await self.stop()
            raise

    async def _start(self, door: Door) -> None:
        if Speech.MQTT in KINDS[door.kind].speaks:
            _mqtt()  # now, and not when the first device waits
        visitor = self._visitor(door, self._tls(door.kind, self._host))
        ear = await self._listen_at(door, self._host, visitor)
        self._ears.append(ear)
        self._open.append((Door(door.kind, ear.address[1]), ear.address))

    def _visitor(self, door: Door, context: ssl.SSLContext | None) -> Visitor:
        """What receives each connection that comes in by a door."""

        def visitor(accepted: float | None) -> Porch:
            self._count += 1
            porch = Porch(
                self._count, door, context, self._site, self._arrived, self._enter, accepted
            )
            self._visits[porch.number] = porch
            return porch

        return visitor

    async def stop(self) -> None:
        """Close every connection and stop to listen. Reports stay readable.

        Raises:
            RigError: connections are still there after :data:`STOP_TIMEOUT_S`.
        """
        self._open = []
        await self.suspend(STOPPED)

    async def suspend(self, why: str) -> None:
        """Close every connection and stop to listen; what is known of the devices stays.

        Raises:
            RigError: connections are still there after :data:`STOP_TIMEOUT_S`.
        """
        ears, self._ears = self._ears, []
        for ear in ears:
            ear.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._end_all(why)
                for ear in ears:
                    await ear.wait_closed()
                await self._http.close()
        except TimeoutError as error:
            raise RigError(
                f"the cloud did not get rid of its {len(self._visits)} connections within "
                f"{STOP_TIMEOUT_S:g} s"
            ) from error

    async def _end_all(self, why: str) -> None:
        while self._visits:
            self._all_gone.clear()
            for visit in tuple(self._visits.values()):
                visit.close(why)
                visit.abort()
            await self._all_gone.wait()

    async def resume(self) -> None:
        """Listen again, at the same ports as before :meth:`suspend`. Stopped, it stays stopped.

        Raises:
            RigError: a port is somebody else's by now.
        """
        if self._ears:
            return
        doors, self._open = [door for door, _ in self._open], []
        await self._listen(doors)

    @asynccontextmanager
    async def side_door(self) -> AsyncIterator[tuple[str, int]]:
        """Listen at one more port of the host itself, in plain: host and port."""
        door = Door("tcp")
        ear = await listen_here(door, SIDE_DOOR_HOST, self._visitor(door, None))
        try:
            yield ear.address
        finally:
            ear.close()

    @asynccontextmanager
    async def elsewhere(self) -> AsyncIterator[Mapping[str, tuple[str, int]]]:
        """Listen as another host would: the address of each kind that is open.

        On loopback that is another address at the same port, for devices that know no other; on a
        network another port.

        Raises:
            RigError: it cannot be listened on.
        """
        made: dict[str, Ear] = {}
        loopback = self._host == SIDE_DOOR_HOST
        host = OTHER_LOOPBACK if loopback else self._host
        try:
            for kind, (_, port) in self.addresses.items():
                door = Door(kind, port if loopback else 0, elsewhere=True)
                made[kind] = await listen_here(
                    door, host, self._visitor(door, self._tls(kind, host))
                )
            yield {kind: ear.address for kind, ear in made.items()}
        finally:
            for ear in made.values():
                ear.close()

    def _tls(self, kind: str, host: str) -> ssl.SSLContext | None:
        """What the doors of a kind show as their certificate; None: they speak no TLS."""
        if not KINDS[kind].tls:
            return None
        return self.authority.server_context((host, *LOCAL_NAMES, *self._names))

    @property
    def authority(self) -> Authority:
        """Who its TLS ports are; its ``ca_pem`` is what a device has to trust."""
        if self._authority is None:
            self._authority = Authority()
        return self._authority

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its first door.

        Raises:
            RigError: the server is not started.
        """
        if not self._open:
            raise RigError("the cloud has no address: it is not started, or stopped already")
        return self._open[0][1]

    def address_of(self, kind: str) -> tuple[str, int]:
        """Host and port of the first door of a kind: ``tcp``, ``tls``, ``mqtt`` or ``mqtts``.

        Raises:
            RigError: no such door is open.
        """
        for door, address in self._open:
            if door.kind == kind:
                return address
        known = ", ".join(door.kind for door, _ in self._open) or "none"
        raise RigError(f"the cloud has no {kind} port open; it has: {known}")

    @property
    def addresses(self) -> Mapping[str, tuple[str, int]]:
        """Host and port of each kind that is open; of several of one kind the first."""
        found: dict[str, tuple[str, int]] = {}
        for door, address in self._open:
            found.setdefault(door.kind, address)
        return found

    def ports_of(self, kind: str) -> Sequence[int]:
        """The open ports of a kind."""
        return [address[1] for door, address in self._open if door.kind == kind]

    @property
    def ports(self) -> Sequence[int]:
        """All ports that are open."""
        return [address[1] for _, address in self._open]

    def add_device(self, board: str, token: str) -> None:
        """Let a device log in.

        Raises:
            UsageError: that is no token, or board or token are taken by another.
        """
        self._registry.add(board, token)

    def remove_device(self, board: str) -> None:
        """Forget a device and close its session.

        Raises:
            UsageError: there is none of that name.
        """
        device = self._registry.remove(board)

        def close() -> None:
            if device.current is not None:
                device.current.close("the device was removed from the rig")

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(close)

    def device(self, board: str) -> DeviceState:
        """The device as it is now.

        Raises:
            UsageError: there is none of that name.
        """
        return self._registry.get(board).state

    def strangers(self, since: float) -> Sequence[Stranger]:
        """Logins with unknown tokens, which were refused.

        Args:
            since: monotonic host seconds.
        """
        return self._registry.strangers(since)

    async def send_ota(
        self, board: str, url: str, *, offer: str, size: int = 0,
        tag: Mapping[str, str] | None = None,
    ) -> int | None:  # fmt: skip
        """Tell a device to update; nothing waits for an answer.

        Args:
            size, tag: of the file, for a device on MQTT: :class:`~.link.OtaRequest`.

        Returns:
            The session that it was sent on; None if the device is not logged in.

        Raises:
            UsageError: no such device, or the URL does not fit its receive buffer.
        """
        device = self._registry.get(board)
        request = OtaRequest(offer, url, size, tuple((tag or {}).items()))
        link = device.current
        _check_size(request, link.ota_bytes(request) if link else ota_bytes(request), device.state)
        if device.mischief is not None:
            return await device.mischief.send(request)
        return link.number if link is not None and link.send_ota(request) else None

    async def misbehave(self, board: str, faults: Sequence[CloudFault]) -> Mischief:
        """From now on offers to a device go wrong like this, until the end of what is returned.

        Raises:
            UsageError: no such device, or it has faults already.
            FaultError: behind a relay one of them cannot hold.
        """
        if self._relay is not None:
            check_behind_relay(faults)
        device = self._registry.get(board)
        if device.mischief is not None:
            raise UsageError(f"board {board}: the cloud has faults for it already")
        device.mischief = Mischief(device, faults, self._site, self)
        return device.mischief

    async def send_command(self, board: str, command: str) -> int | None:
        """Type a line at a device's console (INTERNAL ``dbg``); answers are ``cloud/console``.

        Returns:
            The session that it was sent on; None if the device is not logged in.

        Raises:
            UsageError: no such device.
        """
        link = self._registry.get(board).current
        return link.number if link is not None and link.send_command(command) else None

    async def redirect(self, board: str, host: str, port: int) -> int | None:
        """Send a device to another server.

        Returns:
            The session that it was sent on; None if the device is not logged in.

        Raises:
            UsageError: no such device.
        """
        link = self._registry.get(board).current
        return link.number if link is not None and link.redirect(host, port) else None

    def exchange(self, board: str, how: Callable[[str], OtaRequest | None] | None) -> None:
        """Behind a relay: what a device is told in place of the other server's update.

        Args:
            how: called on the cloud's loop with their URL; None as its answer lets it pass.

        Raises:
            UsageError: no such device.
        """
        self._registry.get(board).exchange = how

    # What connections tell.

    def _enter(self, speech: Speech, porch: Porch) -> asyncio.Protocol:
        """The protocol that goes on with a connection."""
        if speech is Speech.HTTP:
            guest = self._http.enter(porch)
            self._visits[porch.number] = guest
            return guest
        if speech is Speech.MQTT:
            door = porch.door
            mqtt = _mqtt()(porch.number, self._site, porch.started, door.kind, door.elsewhere)
            self._visits[porch.number] = mqtt
            return mqtt
        session: Session
        if self._relay is not None:
            session = RelayedSession(porch.number, self._site, porch.started, self._relay)
        else:
            session = Session(porch.number, self._site, porch.started, porch.door)
        self._visits[porch.number] = session
        return session

    def _arrived(self, porch: Porch) -> None:
        """A newer connection of one address ends its oldest that has not logged in."""
        oldest = self._waiting.arrive(porch.number, porch.peer)
        if oldest is not None and oldest in self._visits:
            seats = self._site.limits.waiting_per_peer
            self._visits[oldest].close(
                f"more than {seats} connections of {porch.peer} wait for their login"
            )

    def _welcomed(self, number: int) -> None:
        if peer := self._waiting.leave(number):
            self._came(peer)

    def _over(self, number: int) -> None:
        self._waiting.leave(number)
        self._visits.pop(number, None)
        if not self._visits:
            self._all_gone.set()


def _mqtt() -> type[MqttProtocol]:
    """Imported by the first door that needs it: amqtt takes its time."""
    from pytest_blynk_ota.cloud.mqtt.connection import MqttProtocol

    return MqttProtocol


def _check_size(request: OtaRequest, size: int, state: DeviceState) -> None:
    """A message larger than ``buff-in`` makes the device drop the connection."""
    if "\0" in request.url:
        raise UsageError(f"board {state.board}: a URL may not hold a NUL")
    if size > state.buff_in:
        raise UsageError(
            f"board {state.board}: the OTA message would have {size} bytes, but the device "
            f"receives at most {state.buff_in} (its buff-in): shorten the URL by "
            f"{size - state.buff_in}"
        )
