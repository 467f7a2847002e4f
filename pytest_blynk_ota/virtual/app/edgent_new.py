"""New Edgent (Edgent-Arduino 0.9.0, its BlynkEdgent example) on an ESP32.

It logs next to nothing: a banner, ``State: …`` lines, the progress of a download; ``log = "info"``
is a build whose LOG_x lines are printed. A boot::

    initArduino (confirm "init")  crash "start"  old settings migrated  banner, console
    CONNECTING NET    crash "wifi"  a known network within 50 s, 500 times
    CONNECTING CLOUD  crash "before_login"  fixed ports in turn, every 5 s for 50 s, 500 times
    RUNNING           crash "after_report"  confirm "login", self-test
    OTA UPGRADE       1 s after the command; ERROR  10 s, restart
    WAIT CONFIG       without settings, or when the cloud refuses the token; 10 min later it tries
                      again what it has kept, or goes to IDLE
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.cloud.protocol import Cmd
from pytest_blynk_ota.firmware.compiled import compiled
from pytest_blynk_ota.virtual.app import console
from pytest_blynk_ota.virtual.app.blynk_client import TokenRefused
from pytest_blynk_ota.virtual.app.confirm import Confirmation
from pytest_blynk_ota.virtual.app.dial import cloud_of
from pytest_blynk_ota.virtual.app.edgent_log import logger
from pytest_blynk_ota.virtual.app.edgent_name import RULE, hotspot_name
from pytest_blynk_ota.virtual.app.edgent_new_client import EdgentClient
from pytest_blynk_ota.virtual.app.edgent_new_console import EdgentNewConsole
from pytest_blynk_ota.virtual.app.edgent_new_dump import upload_core_dump
from pytest_blynk_ota.virtual.app.edgent_new_ota import download, rewritten
from pytest_blynk_ota.virtual.app.edgent_new_state import State, Stats
from pytest_blynk_ota.virtual.app.edgent_new_store import ConfigStore, device_uid, migrate
from pytest_blynk_ota.virtual.app.loop import stay
from pytest_blynk_ota.virtual.app.netmgr import NetMgr
from pytest_blynk_ota.virtual.app.preferences import Preferences
from pytest_blynk_ota.virtual.app.report import banner, device
from pytest_blynk_ota.virtual.app.timers import FOREVER, Timers
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from pytest_blynk_ota.virtual.app.context import Command, Context

APP_START_S = 1.3
"""From the bootloader's jump to the banner; 1 s of it is the example's own delay."""
NET_TIMEOUT_S = CLOUD_TIMEOUT_S = 50.0
RETRIES = 500
OTA_DELAY_S = 1.0
ERROR_S = 10.0
REBOOT_S = 0.05
CONFIG_TIMEOUT_S = 600.0
CORE_DUMP_DELAY_S = 10.0
NAME_LETTERS = "0W8N4Y1HP5DF9K6JM3C2XA7R"
FILE = "BlynkEdgent.h"


class EdgentNew:
    """One run of the firmware, from initArduino to the next reset."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._clock = context.machine.clock
        self._say = logger(context)
        given = context.behaviour.settings
        host = (given.host if given else "") or compiled(context.started.image).host
        self.name = hotspot_name(context.machine.chip.mac, NAME_LETTERS)
        self.state = State(context, self._say)
        self.stats = Stats(context.machine)
        self._preferences = Preferences(context.machine, context.started.table)
        self.networks = NetMgr(context.machine, self._preferences, self._say)
        self.store = ConfigStore(
            self._preferences,
            context.behaviour.version,
            host or compiled(context.started.image).host,
        )
        self.timers = Timers(self._clock)
        self._confirmation = Confirmation(context)
        self._client: EdgentClient | None = None
        self._retries = {"CONNECTING NET": RETRIES, "CONNECTING CLOUD": RETRIES}
        self._url = self._uid = ""
        self._greeted = False
        self._awake, self._dump_due = asyncio.Event(), asyncio.Event()
        self._commands = EdgentNewConsole(self).commands()

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: the firmware restarts the chip.
            Panic: a planted crash.
        """
        steps = {
            "IDLE": self._idle,
            "WAIT CONFIG": self._wait_config,
            "CONNECTING NET": self._connect_net,
            "CONNECTING CLOUD": self._connect_cloud,
            "RUNNING": self._running,
            "OTA UPGRADE": self._ota_upgrade,
            "RESET CONFIG": self._reset_config,
            "ERROR": self._error,
            "INIT": self._error,  # begin() has given up: it ends as an error does
        }
        try:
            await self._begin()
            while True:
                await steps[self.state.now]()
        finally:
            self.networks.stop()
            if self._client is not None:
                self._client.halt()

    def console(self) -> Mapping[str, Command]:
        """BlynkEdgentConsole.h; a command that comes while the loop blocks waits for it."""
        return {name: self._when_awake(command) for name, command in self._commands.items()}

    def _when_awake(self, command: Command) -> Command:
        async def run(words: Sequence[str]) -> None:
            async with self.timers.busy:
                await self._awake.wait()
                await command(words)

        return run

    # ---- what commands do

    def start_initial_connection(self) -> None:
        """Once each, network and cloud, with settings that nobody has tried."""
        self._retries = dict.fromkeys(self._retries, 1)
        self.state.set("CONNECTING NET")

    def start_config(self) -> None:
        """Wait for somebody to come with settings."""
        self._close_link()
        self.state.set("WAIT CONFIG")

    async def stop_config(self) -> None:
        """Go on with what there is, if it is good for anything."""
        if self.store.configured:
            self.state.set("CONNECTING NET")
        else:
            await self.networks.off()
            self.state.set("IDLE")

    async def reboot(self) -> NoReturn:
        """``systemReboot()``: it counts."""
        self.stats.count_graceful()
        await self.restart()

    async def restart(self) -> NoReturn:
        """``BlynkUpdater::apply()``."""
        await self._clock.sleep(REBOOT_S)
        raise Reset(SOFTWARE_CPU)

    # ---- setup()

    async def _begin(self) -> None:
        await self._confirmation.at("init")
        self.context.crash.at("start")
        await self._clock.spend(APP_START_S)
        self.context.machine.print("\n")
        if not self.context.behaviour.fw_type.startswith("TMPL"):
            self._say("E", FILE, "Invalid Template configuration")
        else:
            await self._begin_edgent()
        self.context.machine.print("\n" + console.PROMPT)
        self._awake.set()

    async def _begin_edgent(self) -> None:
        await self._preferences.begin()
        self.networks.begin()
        await migrate(self.store, self._preferences, self.networks, self._say)
        self.store.load()
        self._uid = await device_uid(self._preferences)
        self._print_banner()
        configured = self.store.configured and self.networks.networks
        self.state.set("CONNECTING NET" if configured else "WAIT CONFIG")

    def _print_banner(self) -> None:
        mine, token = self.context.behaviour, self.store.token
        self.context.log.blynk(banner(self.context))
        hidden = f" Token:     {token[:4]} - •••• - •••• - ••••"
        lines = (
            RULE,
            f" Device:    {self.name}",
            f" Firmware:  {mine.version} (build {mine.build})",
            f" UID:       {self._uid}",
            hidden if self.store.configured else None,
            f" Platform:  {device(self.context)}",
            RULE,
        )
        self.context.log.text(*(line for line in lines if line is not None))

    # ---- loop(), one method a state

    async def _idle(self) -> None:
        await self._stay(FOREVER)

    async def _wait_config(self) -> None:
        """BLE or an access point of its own, which no phone of ours reaches."""
        if not await self._stay(CONFIG_TIMEOUT_S):
            await self.stop_config()

    async def _connect_net(self) -> None:
        self.context.crash.at("wifi")
        self.networks.on()
        await self._stay(NET_TIMEOUT_S, self.networks.until(True))
        if self.state.now != "CONNECTING NET":
            return
        if self.networks.connected:
            self._retries["CONNECTING NET"] = RETRIES
            self.state.set("CONNECTING CLOUD")
        else:
            self._say("E", FILE, "Network connection timeout")
            self._count_down()

    async def _connect_cloud(self) -> None:
        self.context.crash.at("before_login")
        self._close_link()
        client = self._client = EdgentClient(
            self.context,
            token=self.store.token,
            host=cloud_of(self.context.behaviour, self.store.host),
            say=self._say,
            on_ota=self._on_ota,
            on_debug=self._on_debug,
        )
        try:
            in_time = await self._stay(
                CLOUD_TIMEOUT_S, client.keep_dialling(), self.networks.until(False)
            )
        except TokenRefused:
            self._restart_provisioning()
            return
        if self.state.now != "CONNECTING CLOUD":
            client.close()
        elif client.connected:
            await self._arrived(client)
        elif not self.networks.connected:
            self.state.set("CONNECTING NET")
        elif not in_time:
            self._say("E", FILE, "Cloud connection timeout")
            self._count_down()

    async def _arrived(self, client: EdgentClient) -> None:
        if not self.store.saved:
            await self.store.commit()
            self._say("I", FILE, "Config saved.")
        self._retries["CONNECTING CLOUD"] = RETRIES
        self.state.set("RUNNING")
        self.context.crash.at("after_report")
        await self._confirmation.at("login")
        if not self._greeted:
            self._greeted = True
            await self._greet(client)

    async def _greet(self, client: EdgentClient) -> None:
        """What is said once in a boot."""
        version, before = self.context.behaviour.version, self.store.version
        if version != before:
            if before and self.context.behaviour.sys_ota:
                await client.event("sys_ota", f"Firmware updated from {before} to {version}")
            await self.store.set_version(version)
        await client.tell(Cmd.INTERNAL, "meta", "set", "Device UID", self._uid)
        await client.tell(Cmd.INTERNAL, "meta", "set", "Hotspot Name", self.name)
        self.timers.after(CORE_DUMP_DELAY_S, self._look_for_core_dump)
        test = self.context.behaviour.self_test
        if test is not None:
            self.timers.after(test.after_s, self._confirmation.self_test)

    async def _look_for_core_dump(self) -> None:
        self._dump_due.set()

    async def _running(self) -> None:
        client = self._client
        assert client is not None
        while self.state.now == "RUNNING" and client.connected:
            await self._stay(FOREVER, client.serve(lambda: FOREVER), self._dump_due.wait())
            if self._dump_due.is_set():
                self._dump_due.clear()
                self._awake.clear()
                await upload_core_dump(self.context, self.store.host, self.store.token, self._say)
                self._awake.set()
        if self.state.now == "RUNNING":
            self.stats.lost(network=not self.networks.connected)
            there = self.networks.connected
            self.state.set("CONNECTING CLOUD" if there else "CONNECTING NET")

    async def _ota_upgrade(self) -> None:
        """It blocks, so that timers and console wait until it is over."""
        self._awake.clear()
        if await download(self.context, self._url, self._say):
            await self.restart()
        self._awake.set()
        self.state.set("ERROR")

    async def _error(self) -> None:
        state = self.state.now
        await self._stay(ERROR_S)
        if self.state.now == state:
            self._say("E", FILE, "Restarting after error.")
            await self.reboot()

    async def _reset_config(self) -> None:
        self._say("W", FILE, "Resetting configuration!")
        await self.store.erase()
        await self.networks.clear()
        self.state.set("WAIT CONFIG")

    # ---- what the states share

    def _count_down(self) -> None:
        state = self.state.now
        self._retries[state] -= 1
        if self._retries[state] > 0:
            self.state.set(state, again=True)
        elif self.store.saved:
            self.state.set("ERROR")
        else:
            self._restart_provisioning()

    def _restart_provisioning(self) -> None:
        self._close_link()
        self.state.set("WAIT CONFIG")

    def _on_ota(self, url: str) -> None:
        """``startOTA()``: the newest URL counts, but each command has a timer."""
        self._url = rewritten(url, self.context.behaviour.tls)
        self.timers.after(OTA_DELAY_S, self._begin_ota)

    async def _begin_ota(self) -> None:
        self._close_link()
        self.state.set("OTA UPGRADE")

    async def _on_debug(self, command: str) -> None:
        async with self.timers.busy:
            await console.execute(self.context.machine, self._commands, command)

    def _close_link(self) -> None:
        if self._client is not None:
            self._client.close()

    async def _stay(self, seconds: float, *news: Awaitable[object]) -> bool:
        left = self.state.left(self.state.now)
        return await stay(self._clock, self.timers, seconds, left, *news)
