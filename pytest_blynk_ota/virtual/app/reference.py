"""The reference firmware: an ESP-IDF application that does everything right.

Every seeded bug starts from here, so each right thing is a step with a name. A boot::

    settings from NVS or compiled in; Wi-Fi, for ever; login, for ever, each with a growing pause
    crash moments as in the other firmwares
    confirmed only after a login and a self-test; PENDING and no cloud for cloud_s: invalid, reboot
    a trigger: downloaded beside the session, which goes on; another one meanwhile comes after it
    a failed update: tried again a few times, reported, cleaned up; the device stays online
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_blynk_ota.firmware.behaviour import Settings
from pytest_blynk_ota.firmware.nvs import read_edgent_config
from pytest_blynk_ota.virtual.app.blynk_client import BlynkClient, TokenRefused
from pytest_blynk_ota.virtual.app.confirm import Confirmation
from pytest_blynk_ota.virtual.app.dial import cloud_of, trust_of
from pytest_blynk_ota.virtual.app.reference_update import Updates
from pytest_blynk_ota.virtual.app.report import info_pairs
from pytest_blynk_ota.virtual.app.station import Station
from pytest_blynk_ota.virtual.boot.bootlog import error, info
from pytest_blynk_ota.virtual.boot.endings import Reset

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Command, Context

APP_START_S = 0.3
"""From the bootloader's jump to the Wi-Fi's start."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 60.0
"""Between two logins; doubled each time."""
TAG = "app"


class Reference:
    """One run of the firmware, from app_main to the next reset."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clock = context.machine.clock
        self._log = context.log
        self._behaviour = context.behaviour
        self._station = Station(context.machine)
        self._confirmation = Confirmation(context)
        self._client: BlynkClient | None = None
        self._updates = Updates(context, self._report)
        self._reached_cloud = asyncio.Event()

    def console(self) -> Mapping[str, Command]:
        """None: it never reads its UART."""
        return {}

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: an update is done, or this image is not to be kept.
            Panic: a planted crash.
        """
        await self._confirmation.at("init")
        self._context.crash.at("start")
        await self._clock.spend(APP_START_S)
        self._say(f"Firmware: {self._behaviour.version} (build {self._behaviour.build})")
        settings = self._settings()
        if settings is None:
            self._log.idf([error(TAG, "no settings")])
            await self._together(self._go_back_without_cloud())
        else:
            await self._together(
                self._go_back_without_cloud(),
                self._keep_a_session(settings),
                self._updates.run(),
                self._test_itself(),
            )
        raise AssertionError("a firmware ended without a reset")

    async def _together(self, *tasks: Coroutine[Any, Any, None]) -> None:
        """Its FreeRTOS tasks: the first that resets the chip ends them all."""
        running = {asyncio.ensure_future(task) for task in tasks}
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            await asyncio.Event().wait()
        except Reset:
            if self._client is not None:
                self._client.close()
            raise
        finally:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            self._station.stop()
            if self._client is not None:
                self._client.halt()

    def _settings(self) -> Settings | None:
        """NVS before what is compiled in."""
        place = self._context.started.table.find("nvs")
        if place is not None:
            found = read_edgent_config(self._context.machine.flash.read(place.offset, place.size))
            if found is not None:
                return Settings(found.host, found.port, found.token, found.ssid, found.password)
        compiled = self._behaviour.settings
        return compiled if compiled is not None and compiled.host else None

    # ---- the session

    async def _keep_a_session(self, settings: Settings) -> None:
        self._context.crash.at("wifi")
        self._station.begin(settings.ssid, settings.passphrase)
        await self._station.until(True)
        self._say(f"Wi-Fi {settings.ssid}, address {self._station.address}")
        client = self._client = self._new_client(settings)
        while True:
            await self._log_in(client)
            self._context.crash.at("after_report")
            await self._confirmation.at("login")
            self._reached_cloud.set()
            await client.serve(lambda: float("inf"))

    async def _log_in(self, client: BlynkClient) -> None:
        """Until it is in. A refused token is no reason to stop asking: it may be good again."""
        pause_s = FIRST_PAUSE_S
        while True:
            await self._station.until(True)
            self._context.crash.at("before_login")
            try:
                if await client.login():
                    return
            except TokenRefused:
                client.close()
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _new_client(self, settings: Settings) -> BlynkClient:
        mine = self._behaviour
        return BlynkClient(
            self._context.machine,
            self._log,
            token=settings.token,
            host=cloud_of(mine, settings.host),
            port=settings.port,
            info=info_pairs(self._context),
            heartbeat_s=mine.heartbeat_s,
            on_ota=self._updates.offer,
            trust=trust_of(mine),
        )

    async def _report(self, text: str) -> None:
        """An event for the cloud, once there is a session."""
        if self._behaviour.sys_ota and self._client is not None:
            await self._client.event("sys_ota", text)

    # ---- whether this image is to be kept

    async def _test_itself(self) -> None:
        """After the first login; while it is PENDING, no update can begin."""
        await self._reached_cloud.wait()
        test = self._behaviour.self_test
        if test is not None:
            pending = self._confirmation.pending
            await self._clock.sleep(test.after_s)
            await self._confirmation.self_test()
            if pending and not self._confirmation.pending:
                await self._report(f"Firmware {self._behaviour.version} confirmed")
        self._updates.may_begin()

    async def _go_back_without_cloud(self) -> None:
        """An image that is on trial and never reaches its cloud cannot be updated either."""
        if not self._confirmation.pending or not self._behaviour.cloud_s:
            return
        try:
            async with asyncio.timeout(self._clock.timeout(self._behaviour.cloud_s)):
                await self._reached_cloud.wait()
        except TimeoutError:
            self._log.idf([error(TAG, f"no cloud within {self._behaviour.cloud_s:g} s")])
            await self._context.ota.mark_invalid_and_reboot()

    def _say(self, text: str) -> None:
        self._log.idf([info(TAG, text)])
