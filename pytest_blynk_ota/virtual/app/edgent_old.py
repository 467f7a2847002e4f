"""The stock firmware: old Blynk.Edgent on an ESP32, with the bugs that its image asks for.

States, delays and texts follow examples/Blynk.Edgent/Edgent_ESP32 of blynk-library 1.4.0 built with
APP_DEBUG; the order of a boot is::

    initArduino (confirm "init")  crash "start"  banner, settings from NVS
    Wi-Fi  crash "before_login"  login, info  crash "after_report"  confirm "login"
    self-test, OTA when the cloud sends one
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.firmware.nvs import EdgentConfig, read_edgent_config
from pytest_blynk_ota.virtual.app import http_get
from pytest_blynk_ota.virtual.app.blynk_client import BUFF_IN, RETRY_S, BlynkClient, TokenRefused
from pytest_blynk_ota.virtual.app.update import Update
from pytest_blynk_ota.virtual.boot.bootlog import SOFTWARE_CPU
from pytest_blynk_ota.virtual.boot.endings import Reset

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.behaviour import Behaviour
    from pytest_blynk_ota.virtual.app.context import Command, Context

APP_START_S = 0.3
"""From the bootloader's jump to WiFi.begin()."""
WIFI_S = 1.5
"""Association and DHCP."""
OTA_DELAY_S = 2.0
"""edgentTimer.setTimeout(2000) in OTA.h."""
ERROR_S = 10.0
"""enterError() in ConfigMode.h."""
CLOUD_TIMEOUT_S = 50.0
"""WIFI_CLOUD_CONNECT_TIMEOUT; each prints ``Timeout`` and begins again."""
LIBRARY = "1.4.0"
BOARDS = {"esp32": "ESP32 Dev Module", "esp32c3": "ESP32C3 Dev Module"}
"""ARDUINO_BOARD of the default board of each chip."""
ADDRESS = "192.168.4.2"
FOREVER = float("inf")


class EdgentOld:
    """One run of the firmware, from initArduino to the next reset."""

    def __init__(self, context: Context) -> None:
        self._machine = context.machine
        self._clock = context.machine.clock
        self._log = context.log
        self._started = context.started
        self._behaviour = context.behaviour
        self._crash = context.crash
        self._ota = context.ota
        self._client: BlynkClient | None = None
        self._state = "INIT"
        self._url: str | None = None
        self._timers: list[tuple[float, Callable[[], Awaitable[None]]]] = []
        self._self_test_begun = False
        tag = context.started.image.tag
        self._library = (tag.pairs if tag else {}).get("blynk", LIBRARY)

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: the firmware restarts the chip.
            Panic: a planted crash.
        """
        try:
            await self._setup()
            config = self._read_config()
            if config is None:
                self._enter("WAIT_CONFIG")
                await _for_ever()
            await self._connect_wifi(config)
            self._crash.at("before_login")
            self._client = self._new_client(config)
            await self._live(self._client)
        finally:
            if self._client is not None:
                self._client.halt()

    def console(self) -> Mapping[str, Command]:
        """Its commands (Console.h)."""
        return {
            "reboot": self._reboot,
            "devinfo": self._device_info,
            "firmware": self._firmware_info,
        }

    async def _reboot(self, _words: Sequence[str]) -> None:
        raise Reset(SOFTWARE_CPU)

    async def _device_info(self, _words: Sequence[str]) -> None:
        mine = self._behaviour
        fields = {
            "board": "virtual board",
            "tmpl_id": mine.fw_type,
            "fw_type": mine.fw_type,
            "fw_ver": mine.version,
        }
        self._log.text(json.dumps(fields, separators=(",", ":")))

    async def _firmware_info(self, _words: Sequence[str]) -> None:
        mine = self._behaviour
        self._log.text(
            f" Version:   {mine.version} (build {mine.build})",
            f" Type:      {mine.fw_type}",
            f" Partition: {self._started.partition.label}",
            f" App MD5:   {self._started.image.md5}",
        )

    async def _setup(self) -> None:
        if self._behaviour.confirm == "init":
            await self._confirm()
        self._crash.at("start")
        await self._clock.spend(APP_START_S)
        self._banner()

    def _banner(self) -> None:
        chip = self._machine.chip
        board, rule = BOARDS.get(chip.name, chip.name), "--------------------------"
        art = (
            "",
            "    ___  __          __",
            "   / _ )/ /_ _____  / /__",
            "  / _  / / // / _ \\/  '_/",
            " /____/_/\\_, /_//_/_/\\_\\",
            f"        /___/ v{self._library} on {board}",
            "",
        )
        self._log.blynk("\n".join(art))
        version, build = self._behaviour.version, self._behaviour.build
        for line in (
            rule,
            "Product:  virtual board",
            f"Firmware: {version} (build {build})",
            f"Device:   {board} @ 160MHz",
            f"Flash:    {self._machine.flash.size // 1024}K",
            rule,
        ):
            self._log.blynk(line)

    def _read_config(self) -> EdgentConfig | None:
        nvs = self._started.table.find("nvs")
        if nvs is None:
            return None
        return read_edgent_config(self._machine.flash.read(nvs.offset, nvs.size))

    async def _connect_wifi(self, config: EdgentConfig) -> None:
        self._enter("CONNECTING_NET")
        self._log.blynk(f"Connecting to WiFi: {config.ssid}")
        await self._clock.spend(WIFI_S)
        self._machine.network.up()
        self._log.blynk(f"Using Dynamic IP: {ADDRESS}")

    def _new_client(self, config: EdgentConfig) -> BlynkClient:
        return BlynkClient(
            self._machine,
            self._log,
            token=config.token,
            host=config.host,
            port=config.port,
            info=info_pairs(self._behaviour, self._machine.chip.name, self._library),
            heartbeat_s=self._behaviour.heartbeat_s,
            on_ota=self._on_ota,
        )

    async def _live(self, client: BlynkClient) -> NoReturn:
        """Connect, serve, connect again; an OTA ends it."""
        while True:
            self._enter("CONNECTING_CLOUD")
            await self._connect_cloud(client)
            if self._state != "OTA_UPGRADE":
                self._enter("RUNNING")
                await self._greeted()
                while self._state == "RUNNING" and await client.serve(self._next_timer):
                    await self._run_timers()
            if self._state != "OTA_UPGRADE":
                self._enter("CONNECTING_CLOUD")
                await self._idle(RETRY_S)
            if self._state == "OTA_UPGRADE":
                await self._upgrade()

    async def _connect_cloud(self, client: BlynkClient) -> None:
        """Try until logged in, every 5 s; a due timer can end it with another state."""
        timeout_at = self._clock.now() + CLOUD_TIMEOUT_S
        while self._state == "CONNECTING_CLOUD" and not await self._login(client):
            await self._idle(RETRY_S)
            if self._clock.now() > timeout_at:
                self._log.blynk("Timeout")
                timeout_at = self._clock.now() + CLOUD_TIMEOUT_S

    async def _login(self, client: BlynkClient) -> bool:
        if not self._behaviour.finds_cloud:
            self._log.blynk("Connecting to cloud.invalid:443")
            return False
        try:
            return await client.login()
        except TokenRefused:
            self._enter("WAIT_CONFIG")
            return await _for_ever()

    async def _greeted(self) -> None:
        """Logged in, info sent: what the firmware does then."""
        self._crash.at("after_report")
        if self._behaviour.confirm == "login":
            await self._confirm()
        test = self._behaviour.self_test
        if test is not None and not self._self_test_begun:
            self._self_test_begun = True
            self._after(test.after_s, self._self_test)

    async def _self_test(self) -> None:
        test = self._behaviour.self_test
        if test is None or not self._ota.running_is_pending():
            return
        if not test.passes:
            self._log.blynk("Self-test failed")
            await self._ota.mark_invalid_and_reboot()
        elif self._behaviour.confirm == "self_test":
            await self._confirm()
            self._log.blynk("Self-test passed")

    async def _confirm(self) -> None:
        if self._ota.running_is_pending():
            await self._ota.mark_valid()

    def _on_ota(self, url: str) -> None:
        """Handler of InternalPinOTA: a second command only replaces the URL."""
        first, self._url = self._url is None, url
        if first:
            self._after(OTA_DELAY_S, self._begin_ota)

    async def _begin_ota(self) -> None:
        assert self._client is not None
        await self._client.event("sys_ota", "OTA started")
        self._client.close()
        self._log.blynk("Disconnected")
        self._enter("OTA_UPGRADE")

    async def _upgrade(self) -> NoReturn:
        if await self._download(self._url or ""):
            self._log.blynk("=== Update successfully completed. Rebooting.")
            raise Reset(SOFTWARE_CPU)
        self._enter("ERROR")
        await self._clock.sleep(ERROR_S)
        self._log.blynk("Restarting after error.")
        raise Reset(SOFTWARE_CPU)

    async def _download(self, url: str) -> bool:
        """enterOTA() of OTA.h. A connection that led to success is left open for the restart."""
        self._log.blynk(f"Firmware update URL: {url}")
        answer = await http_get.get(self._machine, url, self._behaviour.stall_s)
        problem = await self._install(answer)
        if problem is None:
            return True
        self._log.blynk(problem)
        if answer.body is not None:
            answer.body.close()
        return False

    async def _install(self, answer: http_get.Response) -> str | None:
        """Write what comes; None for success, else the line that the firmware prints."""
        if answer.status != 200 or answer.body is None:
            return "HTTP response should be 200"
        if answer.length <= 0:
            return "Content-Length not defined"
        update = Update(self._machine, self._ota)
        if not update.begin(answer.length):
            return "Not enough space to begin OTA"
        if answer.md5 is not None and len(answer.md5) == http_get.MD5_CHARS:
            self._log.blynk(f"Expected MD5: {answer.md5.lower()}")
            update.expect_md5(answer.md5)
        written = await update.write_stream(answer.body)
        if written != answer.length:
            return f"OTA written {written} / {answer.length} bytes"
        if not await update.end():
            return f"Error #{update.error.value}"
        return None

    def _enter(self, state: str) -> None:
        """BlynkState::set."""
        if state != self._state:
            self._log.blynk(f"{self._state} => {state}")
            self._state = state

    def _after(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        self._timers.append((self._clock.now() + seconds, action))

    def _next_timer(self) -> float:
        return min((due for due, _ in self._timers), default=FOREVER)

    async def _run_timers(self) -> None:
        now = self._clock.now()
        due = [timer for timer in self._timers if timer[0] <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for _, action in due:
            await action()

    async def _idle(self, seconds: float) -> None:
        """Wait, with timers running."""
        until = self._clock.now() + seconds
        while self._clock.now() < until and self._state != "OTA_UPGRADE":
            await self._clock.sleep(min(until, self._next_timer()) - self._clock.now())
            await self._run_timers()


def info_pairs(behaviour: Behaviour, chip: str, library: str) -> list[str]:
    """What is sent after login: keys and values in the order of BlynkApiArduino.h."""
    version: str | None = behaviour.version
    build: str | None = behaviour.build
    if behaviour.reports == "nothing":
        version = build = None
    elif not isinstance(behaviour.reports, str):
        version = behaviour.reports.get("version", version)
        build = behaviour.reports.get("build", build)
    pairs = (
        ("mcu", version),
        ("fw-type", behaviour.fw_type),
        ("build", build),
        ("blynk", library),
        ("h-beat", f"{behaviour.heartbeat_s:g}"),
        ("buff-in", str(BUFF_IN)),
        ("dev", BOARDS.get(chip, chip)),
        ("cpu", chip),
        ("con", "WiFi"),
        ("tmpl", behaviour.fw_type),
    )
    return [text for key, value in pairs if value is not None for text in (key, value)]


async def _for_ever() -> NoReturn:
    """Stay up and do nothing: configuration mode, of which this board has no radio."""
    await asyncio.Event().wait()
    raise AssertionError("an event that nobody sets was set")
