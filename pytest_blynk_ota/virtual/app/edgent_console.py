"""Old Edgent's commands (Console.h), typed at the UART or sent by the cloud as ``dbg``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.edgent_name import FREE_BYTES, TEMPLATE_NAME, hotspot_name
from pytest_blynk_ota.virtual.app.report import device
from pytest_blynk_ota.virtual.app.update import roll_back
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Command
    from pytest_blynk_ota.virtual.app.edgent_old import EdgentOld

TOKEN_CHARS = 32
REBOOT_S, ROLLBACK_S = 0.1, 0.05
SCAN_S = 2.4
ACCESS_POINT = "02:B1:6E:00:00:01"
CHANNEL, RSSI = 6, -52
HEAP_BYTES, LEAST_FREE_BYTES, STACK_BYTES = 320_000, 200_000, 4_000
ARGUMENTS = "invalid arguments. expected: <auth> <ssid> <pass>"


class EdgentConsole:
    """What each command does to one running Edgent."""

    def __init__(self, edgent: EdgentOld) -> None:
        self._edgent = edgent
        self._context = edgent.context
        self._machine = edgent.context.machine
        self._say = edgent.context.log.text

    def commands(self) -> Mapping[str, Command]:
        """By name, in the order of ``console_init()``."""
        return {
            "reboot": self._reboot,
            "config": self._config,
            "devinfo": self._devinfo,
            "connect": self._connect,
            "wifi": self._wifi,
            "firmware": self._firmware,
            "status": self._status,
        }

    async def _reboot(self, _words: Sequence[str]) -> None:
        self._answer("OK", "rebooting wifi module")
        await self._machine.clock.sleep(REBOOT_S)
        raise Reset(SOFTWARE_CPU)

    async def _config(self, words: Sequence[str]) -> None:
        if not words or words[0] == "start":
            self._edgent.state.set("WAIT_CONFIG")
        elif words[0] == "erase":
            self._edgent.state.set("RESET_CONFIG")

    async def _devinfo(self, _words: Sequence[str]) -> None:
        mine = self._context.behaviour
        pairs = (
            ("name", hotspot_name(self._machine.chip.mac)),
            ("board", TEMPLATE_NAME),
            ("tmpl_id", mine.fw_type),
            ("fw_type", mine.fw_type),
            ("fw_ver", mine.version),
        )
        self._say("{" + ",".join(f'"{key}":"{value}"' for key, value in pairs) + "}")

    async def _connect(self, words: Sequence[str]) -> None:
        if len(words) < 2:
            self._answer("error", ARGUMENTS)
            return
        token, ssid, *rest = words
        if len(token) != TOKEN_CHARS:
            self._answer("error", "invalid token size")
            return
        self._answer("OK", "trying to connect...")
        store = self._edgent.store
        store.config = store.default.given(ssid, rest[0] if rest else "", token)
        self._edgent.state.set("SWITCH_TO_STA")

    async def _wifi(self, words: Sequence[str]) -> None:
        station = self._edgent.station
        if not words or words[0] == "show":
            mac = self._machine.chip.mac.hex(":").upper()
            there = station.connected
            address, point = (station.address, ACCESS_POINT) if there else ("0.0.0.0", "")
            ssid = station.ssid if there else ""
            self._say(f"mac:{mac} ip:{address} ({ssid} [{point}] {RSSI if there else 0}dBm)")
        elif words[0] == "scan":
            await self._machine.clock.sleep(SCAN_S)
            if station.connected:
                point = ACCESS_POINT.lower()
                self._say(f"* {station.ssid} [{point}] WPA2 ch:{CHANNEL} rssi:{RSSI}")

    async def _firmware(self, words: Sequence[str]) -> None:
        if not words or words[0] == "info":
            self._say(*self._firmware_lines())
        elif words[0] == "rollback":
            if await roll_back(self._machine, self._context.ota):
                self._say('{"status":"ok"}')
                self._edgent.timers.after(ROLLBACK_S, self._restart)
            else:
                self._say('{"status":"error"}')

    def _firmware_lines(self) -> tuple[str, ...]:
        mine, started = self._context.behaviour, self._context.started
        size, room = len(started.image.data), started.partition.size
        return (
            f" Version:   {mine.version} (build {mine.build})",
            f" Type:      {mine.fw_type}",
            f" Platform:  {device(self._context)}",
            f" SDK:       {started.image.app_desc.idf if started.image.app_desc else ''}",
            f" Partition: {started.partition.label} ({room // 1024}K)",
            f" App size:  {size // 1024}K ({size * 100 // room}%)",
            f" App MD5:   {started.image.md5}",
        )

    async def _restart(self) -> None:
        raise Reset(SOFTWARE_CPU)

    async def _status(self, _words: Sequence[str]) -> None:
        up = self._context.log.milliseconds // 1000
        chip = self._machine.chip
        self._say(
            f" Uptime:          {up // 86400}d {up % 86400 // 3600}h {up // 60 % 60}m {up % 60}s",
            f" Chip:            {chip.name.upper()} rev {chip.revision}",
            f" Flash:           {self._machine.flash.size // 1024}K",
            f" Stack unused:    {STACK_BYTES}",
            f" Heap free:       {FREE_BYTES} / {HEAP_BYTES}",
            f"      max alloc:  {LEAST_FREE_BYTES // 2}",
            f"      min free:   {LEAST_FREE_BYTES}",
        )

    def _answer(self, status: str, message: str) -> None:
        self._say(f'{{"status":"{status}","msg":"{message}"}}')
