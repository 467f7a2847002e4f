"""The stock firmware: old Blynk.Edgent on an ESP32, with the bugs that its image asks for.

States, delays and texts follow examples/Blynk.Edgent/Edgent_ESP32 of blynk-library 1.4.0. A boot::

    initArduino (confirm "init")  crash "start"  banner, settings from NVS, console
    CONNECTING_NET  crash "wifi"  joins within 50 s, 500 times
    CONNECTING_CLOUD  crash "before_login"  login every 5 s for 50 s, 500 times
    RUNNING  crash "after_report"  confirm "login", self-test
    OTA_UPGRADE  2 s after the command; ERROR  10 s, restart
    WAIT_CONFIG  without settings, or when the cloud refuses the token: until somebody comes
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.virtual.app import console, edgent_ota
from pytest_blynk_ota.virtual.app.blynk_client import BlynkClient, TokenRefused
from pytest_blynk_ota.virtual.app.confirm import Confirmation
from pytest_blynk_ota.virtual.app.dial import cloud_of, trust_of
from pytest_blynk_ota.virtual.app.edgent_console import EdgentConsole
from pytest_blynk_ota.virtual.app.edgent_name import hotspot_name, print_banner
from pytest_blynk_ota.virtual.app.edgent_store import ConfigStore, LastError
from pytest_blynk_ota.virtual.app.loop import stay
from pytest_blynk_ota.virtual.app.report import info_pairs
from pytest_blynk_ota.virtual.app.station import Station
from pytest_blynk_ota.virtual.app.timers import FOREVER, Timers
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Command, Context

APP_START_S = 0.3
"""From the bootloader's jump to the banner."""
NET_TIMEOUT_S = CLOUD_TIMEOUT_S = 50.0
"""WIFI_NET_CONNECT_TIMEOUT, WIFI_CLOUD_CONNECT_TIMEOUT."""
RETRIES = 500
"""WIFI_CLOUD_MAX_RETRIES, of each kind."""
OTA_DELAY_S = 2.0
"""edgentTimer.setTimeout(2000) in OTA.h."""
ERROR_S = 10.0
"""enterError() in ConfigMode.h."""
ACCESS_POINT_S = 2.6
"""enterConfigMode(): 0.1 + 2 + 0.5 s."""
SWITCH_S = 1.1
"""enterSwitchToSTA()."""


class BlynkState:
    """BlynkState.h: one word, and each change of it is printed."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._changed = asyncio.Event()
        self.now = "INIT"

    def set(self, state: str) -> None:
        """Go into a state."""
        if state != self.now:
            self._say(f"{self.now} => {state}")
            self.now = state
            self._changed.set()

    async def left(self, state: str) -> None:
        """Wait until it is another one."""
        while self.now == state:
            self._changed.clear()
            await self._changed.wait()


class EdgentOld:
    """One run of the firmware, from initArduino to the next reset."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._clock = context.machine.clock
        self._log = context.log
        self.state = BlynkState(self._debug)
        self.store = ConfigStore(context)
        self.station = Station(context.machine)
        self.timers = Timers(self._clock)
        self._confirmation = Confirmation(context)
        self._client: BlynkClient | None = None
        self._retries = {"CONNECTING_NET": RETRIES, "CONNECTING_CLOUD": RETRIES}
        self._url = ""
        self._tested = False
        self._awake = asyncio.Event()
        self._commands = EdgentConsole(self).commands()

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: the firmware restarts the chip.
            Panic: a planted crash.
        """
        steps = {
            "WAIT_CONFIG": self._wait_config,
            "CONNECTING_NET": self._connect_net,
            "CONNECTING_CLOUD": self._connect_cloud,
            "RUNNING": self._running,
            "OTA_UPGRADE": self._ota_upgrade,
            "SWITCH_TO_STA": self._switch_to_sta,
            "RESET_CONFIG": self._reset_config,
            "ERROR": self._error,
        }
        try:
            await self._begin()
            while True:
                await steps[self.state.now]()
        finally:
            self.station.stop()
            if self._client is not None:
                self._client.halt()

    def console(self) -> Mapping[str, Command]:
        """Console.h; a command that comes while the loop blocks waits for it."""
        return {name: self._when_awake(command) for name, command in self._commands.items()}

    def _when_awake(self, command: Command) -> Command:
        async def run(words: Sequence[str]) -> None:
            async with self.timers.busy:
                await self._awake.wait()
                await command(words)

        return run

    # ---- setup()

    async def _begin(self) -> None:
        await self._confirmation.at("init")
        self.context.crash.at("start")
        await self._clock.spend(APP_START_S)
        self.store.load()
        config = self.store.config
        print_banner(self.context, config.token if config.valid else None)
        self.context.machine.print("\n" + console.PROMPT)
        if config.valid:
            self.state.set("CONNECTING_NET")
        elif self.store.preprovisioned():
            self._debug("Firmware is preprovisioned")
            self.state.set("CONNECTING_NET")
        else:
            self.state.set("WAIT_CONFIG")
        if not self.context.behaviour.fw_type.startswith("TMPL"):
            self._debug("Invalid configuration of TEMPLATE_ID / TEMPLATE_NAME")
            await asyncio.Event().wait()
        self._awake.set()

    # ---- loop(), one method a state

    async def _wait_config(self) -> None:
        """Its own access point, which no phone of ours reaches: only the console leads on."""
        self.station.stop()
        self._close_link()
        await self._block(ACCESS_POINT_S)
        self._debug("AP URL:  blynk.setup")
        await self._stay(FOREVER)

    async def _connect_net(self) -> None:
        config = self.store.config
        self._debug(f"Connecting to WiFi: {config.ssid}")
        self.context.crash.at("wifi")
        self.station.begin(config.ssid, config.password)
        await self._stay(NET_TIMEOUT_S, self.station.until(True))
        if self.state.now != "CONNECTING_NET":
            self.station.stop()
        elif self.station.connected:
            self._log.blynk(f"Using Dynamic IP: {self.station.address}")
            self._retries["CONNECTING_NET"] = RETRIES
            self.state.set("CONNECTING_CLOUD")
        else:
            await self._count_down(LastError.NETWORK)

    async def _connect_cloud(self) -> None:
        self.context.crash.at("before_login")
        self._close_link()
        client = self._client = self._new_client()
        try:
            in_time = await self._stay(
                CLOUD_TIMEOUT_S, client.keep_dialling(), self.station.until(False)
            )
        except TokenRefused:
            await self.store.set_last_error(LastError.TOKEN)
            self.state.set("WAIT_CONFIG")
            return
        if self.state.now != "CONNECTING_CLOUD":
            client.disconnect()
            return
        if not in_time:
            self._debug("Timeout")
        if not self.station.connected:
            self.state.set("CONNECTING_NET")
        elif client.connected:
            await self._arrived(client)
        else:
            await self._count_down(LastError.CLOUD)

    async def _arrived(self, client: BlynkClient) -> None:
        self.state.set("RUNNING")
        self._retries["CONNECTING_CLOUD"] = RETRIES
        if not self.store.config.valid:
            self.store.config = replace(self.store.config, valid=True, last_error=LastError.NONE)
            await self.store.save()
            name = hotspot_name(self.context.machine.chip.mac)
            await client.tell(Cmd.INTERNAL, "meta", "set", "Hotspot Name", name)
        self.context.crash.at("after_report")
        await self._confirmation.at("login")
        test = self.context.behaviour.self_test
        if test is not None and not self._tested:
            self._tested = True
            self.timers.after(test.after_s, self._confirmation.self_test)

    async def _running(self) -> None:
        assert self._client is not None
        await self._stay(FOREVER, self._client.serve(lambda: FOREVER))
        if self.state.now == "RUNNING":
            self.state.set("CONNECTING_CLOUD" if self.station.connected else "CONNECTING_NET")

    async def _ota_upgrade(self) -> None:
        """enterOTA(): it blocks, so that timers and console wait until it is over."""
        self._awake.clear()
        problem = await edgent_ota.upgrade(self.context, self._url, self._debug)
        if problem is None:
            self._debug("=== Update successfully completed. Rebooting.")
            raise Reset(SOFTWARE_CPU)
        self._debug(problem)
        self._awake.set()
        self.state.set("ERROR")

    async def _error(self) -> None:
        await self._stay(ERROR_S)
        if self.state.now == "ERROR":
            self._debug("Restarting after error.")
            raise Reset(SOFTWARE_CPU)

    async def _switch_to_sta(self) -> None:
        self._debug("Switching to STA...")
        await self._block(SWITCH_S)
        self.state.set("CONNECTING_NET")

    async def _reset_config(self) -> None:
        self._debug("Resetting configuration!")
        await self.store.reset()
        self.state.set("WAIT_CONFIG")

    # ---- what the states share

    async def _block(self, seconds: float) -> None:
        """``delay()``: what is typed meanwhile waits."""
        self._awake.clear()
        await self._clock.sleep(seconds)
        self._awake.set()

    async def _count_down(self, error: LastError) -> None:
        self._retries[self.state.now] -= 1
        if self._retries[self.state.now] <= 0:
            await self.store.set_last_error(error)
            self.state.set("ERROR")

    def _new_client(self) -> BlynkClient:
        config = self.store.config
        return BlynkClient(
            self.context.machine,
            self._log,
            token=config.token,
            host=cloud_of(self.context.behaviour, config.host),
            port=config.port,
            info=info_pairs(self.context),
            heartbeat_s=self.context.behaviour.heartbeat_s,
            on_ota=self._on_ota,
            on_debug=self._on_debug,
            trust=trust_of(self.context),
            follows=False,
        )

    def _on_ota(self, url: str) -> None:
        """Handler of InternalPinOTA: the newest URL counts, but each command has a timer."""
        self._url = url
        self.timers.after(OTA_DELAY_S, self._begin_ota)

    async def _begin_ota(self) -> None:
        if self._client is not None:
            if self.context.behaviour.sys_ota:
                await self._client.event("sys_ota", "OTA started")
            self._client.disconnect()
        self.state.set("OTA_UPGRADE")

    async def _on_debug(self, command: str) -> None:
        async with self.timers.busy:
            await console.execute(self.context.machine, self._commands, command)

    def _close_link(self) -> None:
        if self._client is not None:
            self._client.close()

    async def _stay(self, seconds: float, *news: Awaitable[object]) -> bool:
        """Wait in this state, with timers running, for news; False if the time ran out.

        Raises:
            TokenRefused: as one of ``news`` did.
        """
        left = self.state.left(self.state.now)
        return await stay(self._clock, self.timers, seconds, left, *news)

    def _debug(self, text: str) -> None:
        """DEBUG_PRINT."""
        if self.context.behaviour.debug:
            self._log.blynk(text)
