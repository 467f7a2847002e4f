"""New Edgent's commands (BlynkEdgentConsole.h): typed at the UART, or the cloud's ``dbg``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.edgent_name import TEMPLATE_NAME
from pytest_blynk_ota.virtual.app.edgent_new_dump import clear_core_dump, stored_core_dump
from pytest_blynk_ota.virtual.app.netmgr import ACCESS_POINT, CHANNEL, RSSI, SCAN_S
from pytest_blynk_ota.virtual.app.report import device
from pytest_blynk_ota.virtual.app.update import IMAGE_MAGIC, roll_back

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_blynk_ota.virtual.app.context import Command
    from pytest_blynk_ota.virtual.app.edgent_new import EdgentNew

TOKEN_CHARS = 32
HEAP_FREE, HEAP_ALL, HEAP_BLOCK, HEAP_LEAST, STACK_UNUSED = (
    180_000,
    290_000,
    110_000,
    150_000,
    4_200,
)
SYS_HELP = (
    "Available commands: info, coredump [info|clear], partitions, powersave [on|off], "
    "nodelay [on|off], cpufreq [N MHz], drop_stats"
)
WIFI_HELP = "Available commands: info, scan, add ssid [pass], clear, on, off"
CPU_MHZ = {"esp32": 240, "esp32c3": 160, "esp32s3": 240}


class EdgentNewConsole:
    """What each command does to one running Edgent."""

    def __init__(self, edgent: EdgentNew) -> None:
        self._edgent = edgent
        self._context = edgent.context
        self._machine = edgent.context.machine
        self._say = edgent.context.log.text

    def commands(self) -> Mapping[str, Command]:
        """By name, in the order of ``initConsoleCommands()``."""
        return {
            "reboot": self._reboot,
            "devinfo": self._devinfo,
            "connect": self._connect,
            "config": self._config,
            "firmware": self._firmware,
            "sys": self._sys,
            "wifi": self._wifi,
        }

    async def _reboot(self, _words: Sequence[str]) -> None:
        self._say("Rebooting...")
        await self._edgent.reboot()

    async def _devinfo(self, _words: Sequence[str]) -> None:
        mine = self._context.behaviour
        pairs = (
            ("name", self._edgent.name),
            ("board", TEMPLATE_NAME),
            ("tmpl_id", mine.fw_type),
            ("fw_type", mine.fw_type),
            ("fw_ver", mine.version),
        )
        self._say("{" + ",".join(f'"{key}":"{value}"' for key, value in pairs) + "}")

    async def _connect(self, words: Sequence[str]) -> None:
        if not words:
            self._say("Usage: connect <auth> [host]")
        elif len(words[0]) != TOKEN_CHARS:
            self._say("Error: invalid token size")
        else:
            store = self._edgent.store
            store.default()
            store.give(words[0], words[1] if len(words) > 1 else None)
            self._say("Trying to connect...")
            self._edgent.start_initial_connection()

    async def _config(self, words: Sequence[str]) -> None:
        what = words[0] if words else "start"
        if what == "start":
            self._edgent.start_config()
        elif what == "stop":
            await self._edgent.stop_config()
        elif what == "erase":
            await self._edgent.networks.clear()
            self._edgent.state.set("RESET CONFIG")
        else:
            self._say("Available commands: start, stop, erase")

    async def _firmware(self, words: Sequence[str]) -> None:
        what = words[0] if words else "info"
        if what == "info":
            self._firmware_info()
        elif what != "rollback":
            self._say("Available commands: info, rollback")
        elif not self._can_roll_back():
            self._say("Rollback not available")
        else:
            self._say("Rolling back...")
            await roll_back(self._machine, self._context.ota)  # refused or not, it restarts
            await self._edgent.restart()

    def _can_roll_back(self) -> bool:
        other = self._context.ota.next_update_partition()
        return other is not None and self._machine.flash.read(other.offset, 1)[0] == IMAGE_MAGIC

    def _firmware_info(self) -> None:
        mine, started = self._context.behaviour, self._context.started
        size, room = len(started.image.data), started.partition.size
        desc = started.image.app_desc
        self._say(
            f" Version:   {mine.version} (build {mine.build})",
            f" Type:      {mine.fw_type}",
            f" Platform:  {device(self._context)}",
            f" SDK:       {desc.idf if desc else ''}",
            f" Partition: {started.partition.label} ({room // 1024}K)",
            f" App size:  {size // 1024}K ({size * 100 // room}%)",
            f" App MD5:   {started.image.md5}",
        )

    async def _sys(self, words: Sequence[str]) -> None:
        tool, *rest = words or ("",)
        if tool == "info":
            self._sys_info()
        elif tool == "coredump":
            await self._core_dump(rest)
        elif tool == "partitions":
            for row in self._context.started.table.rows:
                place = f"0x{row.offset:06X} | 0x{row.size:06X} | {row.label:16s}"
                self._say(f"|  {row.type:02x}  | {row.subtype:02x}  | {place} |")
        elif tool == "powersave":
            if not rest:
                self._say("WiFi powersave: on")
        elif tool == "cpufreq":
            if not rest:
                self._say(f"CPU freq: {CPU_MHZ.get(self._machine.chip.name, 240)} MHz")
        elif tool == "drop_stats":
            self._edgent.stats.clear()
        else:
            self._say(SYS_HELP)

    def _sys_info(self) -> None:
        stats, chip = self._edgent.stats, self._machine.chip
        self._say(
            f" Uptime:          {_span(self._context.log.milliseconds // 1000)}",
            f" Reboots total:   {stats.total}",
            f"      graceful:   {stats.graceful}",
            f" Network drops:   {stats.network_drops}",
            f" Cloud drops:     {stats.cloud_drops}",
            f" Chip:            {chip.name.upper()} rev {chip.revision}",
            f" Flash:           {self._machine.flash.size // 1024}K, 80M, DIO",
            f" Stack unused:    {STACK_UNUSED}",
            f" Heap free:       {HEAP_FREE} / {HEAP_ALL}",
            f"      max alloc:  {HEAP_BLOCK}",
            f"      min free:   {HEAP_LEAST}",
        )

    async def _core_dump(self, words: Sequence[str]) -> None:
        what = words[0] if words else "info"
        if what == "info":
            size = len(stored_core_dump(self._context))
            self._say(f"Core dump available ({size} bytes)" if size else "No core dump available")
        elif what == "clear":
            await clear_core_dump(self._context)
        elif what == "test" and words[1:] == ["assert"]:
            self._context.crash.now("assert")
        elif what == "test" and words[1:] == ["crash"]:
            self._context.crash.now("store")

    async def _wifi(self, words: Sequence[str]) -> None:
        networks = self._edgent.networks
        what, *rest = words or ("info",)
        if what == "info":
            self._wifi_info()
        elif what == "scan":
            await self._machine.clock.sleep(SCAN_S)
            point = ACCESS_POINT.hex(":").upper()
            if networks.connected:
                self._say(f"* {networks.ssid:20s} [{point}] WPA2 ch:{CHANNEL} rssi:{RSSI}")
            else:
                self._say("No networks")
        elif what == "add":
            await networks.add(rest[0] if rest else "", rest[1] if len(rest) > 1 else "")
        elif what == "clear":
            await networks.clear()
        elif what == "on":
            networks.on()
        elif what == "off":
            await networks.off()
        else:
            self._say(WIFI_HELP)

    def _wifi_info(self) -> None:
        networks, mac = self._edgent.networks, self._machine.chip.mac.hex(":").upper()
        status = "ready" if networks.connected else "down"
        self._say(f"mac:{mac} ip:{networks.address or '0.0.0.0'} status:{status}")
        if networks.connected:
            point = ACCESS_POINT.hex(":").upper()
            self._say(f"ssid:{networks.ssid} bssid:{point} rssi:{RSSI}dBm")
        if networks.error:
            self._say(f"error: {networks.error}")


def _span(seconds: int) -> str:
    """``timeSpanToStr()``; its days are those of milliseconds, so they stay 0 here."""
    return f"0d {seconds // 3600}h {seconds // 60 % 60}m {seconds % 60}s"
