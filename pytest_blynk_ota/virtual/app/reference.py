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

from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.virtual.app import reference_notes as notes
from pytest_blynk_ota.virtual.app import reference_settings
from pytest_blynk_ota.virtual.app.blynk_client import BlynkClient, TokenRefused
from pytest_blynk_ota.virtual.app.confirm import Confirmation
from pytest_blynk_ota.virtual.app.dial import cloud_of, trust_of
from pytest_blynk_ota.virtual.app.reference_tasks import updates
from pytest_blynk_ota.virtual.app.report import Claim, claimed, info_pairs
from pytest_blynk_ota.virtual.app.station import Station
from pytest_blynk_ota.virtual.boot.bootlog import error, info
from pytest_blynk_ota.virtual.boot.endings import Reset

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.behaviour import Settings
    from pytest_blynk_ota.virtual.app.context import Command, Context

APP_START_S = 0.3
"""From the bootloader's jump to the Wi-Fi's start."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 60.0
"""Between two logins; doubled each time."""
DEAF_S = 1.0
"""Z53: how long after a login commands are taken for the remains of the last session."""
IMPATIENT_S = 15.0
"""Z58: how long an image on trial may be without its cloud."""
CONSTANT_VERSION = "1.0.0"
"""Z43: what stands in the code that everybody starts from."""
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
        self._updates = updates(context, self._report, self._claim)
        self._supply_is_unstable = False
        self._deaf_until = 0.0
        self._reached_cloud = asyncio.Event()
        self._in_config_mode = False

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
        await notes.note_brownout(self._context)
        settings = await reference_settings.load(self._context)
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

    # ---- the session

    async def _keep_a_session(self, settings: Settings) -> None:
        self._context.crash.at("wifi")
        self._station.begin(settings.ssid, settings.passphrase)
        await self._station.until(True)
        self._say(f"Wi-Fi {settings.ssid}, address {self._station.address}")
        await self._confirmation.at("wifi")
        self._supply_is_unstable = await notes.supply_is_unstable(self._context)
        client = self._client = self._new_client(settings, await self._who())
        while True:
            await self._log_in(client)
            self._context.crash.at("after_report")
            await self._confirmation.at("login")
            self._reached_cloud.set()
            await self._serve(client)

    async def _serve(self, client: BlynkClient) -> None:
        """Until the link is lost."""
        if self._context.has("Z53"):
            clock = self._clock
            self._deaf_until = clock.now() + clock.timeout(DEAF_S) * clock.speed
        while await client.serve(self._updates.until):
            await self._updates.in_session()

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
                if self._context.has("Z56"):
                    await self._configure()
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _configure(self) -> NoReturn:
        """Z56: an access point, and a loop that only the app can end."""
        self._in_config_mode = True
        self._station.stop()
        self._say("Config mode: waiting for the app")
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets was set")

    async def _who(self) -> Claim:
        """The version and the build that are reported."""
        version, build = await notes.kept_claim(self._context) or claimed(self._context)
        if self._context.has("Z42"):
            return None, None
        return (CONSTANT_VERSION, build) if self._context.has("Z43") else (version, build)

    def _new_client(self, settings: Settings, who: Claim) -> BlynkClient:
        mine = self._behaviour
        return BlynkClient(
            self._context.machine,
            self._log,
            token=settings.token,
            host=cloud_of(mine, settings.host),
            port=settings.port,
            info=info_pairs(self._context, who),
            heartbeat_s=mine.heartbeat_s,
            on_ota=self._offered,
            trust=trust_of(self._context),
        )

    def _offered(self, url: str) -> None:
        """An ``ota`` command."""
        if self._clock.now() < self._deaf_until:
            return
        if self._supply_is_unstable:
            self._log.idf([error(TAG, "unstable supply: no updates")])
            return
        self._updates.offer(url)

    async def _claim(self, who: Claim) -> None:
        """Say who we are in the middle of a session."""
        if self._client is not None:
            await self._client.tell(Cmd.INTERNAL, *info_pairs(self._context, who))

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
        patience_s = IMPATIENT_S if self._context.has("Z58") else self._behaviour.cloud_s
        if not self._confirmation.pending or not patience_s:
            return
        try:
            async with self._clock.within(self._clock.timeout(patience_s)):
                await self._reached_cloud.wait()
        except TimeoutError:
            if self._in_config_mode or not self._confirmation.pending:
                return  # a loop that never looks here (Z56), or kept too early (Z46)
            self._log.idf([error(TAG, f"no cloud within {patience_s:g} s")])
            await self._context.ota.mark_invalid_and_reboot()

    def _say(self, text: str) -> None:
        self._log.idf([info(TAG, text)])
