"""The servers of a rig: the local cloud, the firmware server, and who answers for their names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from pytest_blynk_ota.cloud.server import CloudServer
from pytest_blynk_ota.cloud.site import Limits
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.evidence.timeline import Recorder
from pytest_blynk_ota.rig.address import address_of
from pytest_blynk_ota.rig.background import CALL_TIMEOUT_S, LATE_S, Background
from pytest_blynk_ota.rig.cloud_ports import authority, cloud_doors, upstream
from pytest_blynk_ota.rig.config import NetworkSection, RigConfig
from pytest_blynk_ota.rig.network.name_server import NameServer
from pytest_blynk_ota.rig.network.name_service import CLOUD, DOMAIN, FIRMWARE, NameService
from pytest_blynk_ota.rig.network.names import Names
from pytest_blynk_ota.rig.ports.reach import START_S
from pytest_blynk_ota.rig.ports.tenancy import SharedPorts

LATE_DEVICE_S, LEAST_LATE_S = 2.0, 0.1
"""Device seconds that the servers may stand still before it is on record; at least wall seconds."""


class Servers:
    """Started on first use, all on one event loop.

    Args:
        config: the checked rig file.
        recorder: is told what they see.
        process: pid of the process that is to be asked for a board of this run.
        look: called before anything that they see goes on record.
        opened: told that one of them has opened a port.
        begun: told that they have begun.

    Attributes:
        fixed: the fixed ports that this run shares with others.
    """

    def __init__(
        self,
        config: RigConfig,
        recorder: Recorder,
        process: int,
        look: Callable[[], None],
        opened: Callable[[], None],
        begun: Callable[[], None],
    ) -> None:
        self._config = config
        self._recorder = recorder
        self._speed = config.rig.speed
        self._look, self._opened, self._begun = look, opened, begun
        self._running: tuple[Background, CloudServer, DeliveryServer] | None = None
        self._names: NameService | None = None
        self.fixed = SharedPorts(recorder, run=process, linger_s=config.cloud.linger_s)

    @property
    def background(self) -> Background:
        """The event loop that they live on."""
        return self._started()[0]

    @property
    def cloud(self) -> CloudServer:
        """The local Blynk server."""
        return self._started()[1]

    @property
    def delivery(self) -> DeliveryServer:
        """The firmware server."""
        return self._started()[2]

    def _started(self) -> tuple[Background, CloudServer, DeliveryServer]:
        if self._running is None:
            host = address_of(self._config)
            with contextlib.ExitStack() as undo:
                background = Background(
                    lambda late: self._recorder("rig", "late", seconds=round(late, 3)),
                    min(LATE_S, max(LEAST_LATE_S, LATE_DEVICE_S / self._speed)),
                )
                record = partial(self._record_seen, background)
                undo.callback(background.stop)
                cloud = CloudServer(
                    record,
                    host=host,
                    speed=self._speed,
                    doors=cloud_doors(self._config),
                    authority=authority(self._config.cloud),
                    names=[self.name_of(CLOUD)],
                    relay=upstream(self._config.cloud),
                    limits=Limits(
                        flood_per_s=self._config.cloud.flood_per_s, ping_s=self._config.cloud.ping_s
                    ),
                    listen=self.fixed.listen,
                    came=self.fixed.came,
                )
                undo.callback(lambda: background.call(self.fixed.stop()))
                undo.callback(lambda: background.call(cloud.stop()))
                fixed = sum(map(len, self._config.cloud.ports.values()))
                background.call(cloud.start(), CALL_TIMEOUT_S + fixed * START_S)
                delivery = DeliveryServer(
                    record,
                    host=host,
                    speed=self._speed,
                    authority=cloud.authority,
                    names=[self.name_of(FIRMWARE)],
                    opened=self._opened,
                )
                background.call(delivery.start())
                undo.pop_all()
            self._running = (background, cloud, delivery)
            self._begun()
            if self.go_by_names:
                delivery.go_by(self.name_of(FIRMWARE))
        return self._running

    def _record_seen(
        self,
        background: Background,
        source: str,
        kind: str,
        board: str | None = None,
        /,
        *,
        t: float | None = None,
        **data: Any,
    ) -> None:
        """Record what a server has seen; on a busy host, with the seconds that it may have waited
        for the server."""
        self._look()
        if waited := round(background.behind_s, 3):
            data["waited_s"] = waited
        self._recorder(source, kind, board, t=t, **data)

    @property
    def has_names(self) -> bool:
        """Whether anybody has asked for their names yet."""
        return self._names is not None

    @property
    def names(self) -> NameService:
        """Their names, and the server that answers for them; started on first use."""
        if self._names is None:
            table = self._config.network or NetworkSection()
            address = self.delivery.address[0]
            names = Names(table.domain or DOMAIN, dict.fromkeys((FIRMWARE, CLOUD), address))
            server = NameServer(
                self._recorder, names, host=address, port=table.dns_port or 0, speed=self._speed
            )
            self.background.call(server.start())
            always = table.domain is not None
            self._names = NameService(server, self.delivery.go_by, always=always)
        return self._names

    def name_of(self, word: str) -> str:
        """The name of one of them: :data:`CLOUD` or :data:`FIRMWARE`."""
        domain = self._config.network.domain if self._config.network else None
        return f"{word}.{domain or DOMAIN}"

    @property
    def go_by_names(self) -> bool:
        """Whether boards are told their names, and no address."""
        return self._config.network is not None and self._config.network.domain is not None

    def lives_at(self, board: str, address: str) -> None:
        """A board calls from there: it matters at ports that others use, too."""
        if self._running:  # else they are being stopped
            self._running[0].soon(self.fixed.lives_at, board, address)

    def catch_up(self) -> None:
        """Give them a turn: what was due has happened after it. Raises RigError."""
        if self._running:
            self._running[0].call(asyncio.sleep(0))

    def stop(self) -> None:
        """Stop each, whatever fails on the way. Safe to call twice."""
        names, self._names = self._names, None
        running, self._running = self._running, None
        if running is None:
            return
        background, cloud, delivery = running
        with contextlib.ExitStack() as stack:
            stack.callback(background.stop)
            stack.callback(lambda: background.call(self.fixed.stop()))
            stack.callback(lambda: background.call(cloud.stop()))
            stack.callback(lambda: background.call(delivery.stop()))
            if names:
                stack.callback(lambda: background.call(names.stop()))
