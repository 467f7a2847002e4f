"""A plain Arduino sketch: BlynkSimpleEsp32.h, settings compiled in, an update handler of its own.

The handler is the minimal one that users pass on (community.blynk.cc 58929: Edgent's OTA.h without
Edgent): it downloads right where the command is handled and returns if anything fails. Settings in
NVS, namespace ``app``, come before those compiled in, as many sketches keep them there. So the link
to the cloud stays open and mute meanwhile, and there is no error state. The library's part follows
blynk-library 1.4.0 (BlynkSimpleEsp32.h, BlynkProtocol.h)::

    initArduino (confirm "init")  crash "start"
    Blynk.begin: Wi-Fi (crash "wifi"), for ever; banner; login (crash "before_login"), for ever
    loop: crash "after_report"  confirm "login", self-test; back 5 s after a lost link
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.behaviour import Settings
from pytest_blynk_ota.firmware.compiled import compiled
from pytest_blynk_ota.firmware.nvs_store import Nvs
from pytest_blynk_ota.virtual.app import http_get
from pytest_blynk_ota.virtual.app.blynk_client import RETRY_S, BlynkClient, TokenRefused
from pytest_blynk_ota.virtual.app.confirm import Confirmation
from pytest_blynk_ota.virtual.app.dial import cloud_of, trust_of
from pytest_blynk_ota.virtual.app.edgent_ota import crash_half_way
from pytest_blynk_ota.virtual.app.loop import stay
from pytest_blynk_ota.virtual.app.report import banner, info_pairs
from pytest_blynk_ota.virtual.app.station import Station
from pytest_blynk_ota.virtual.app.timers import FOREVER, Timers
from pytest_blynk_ota.virtual.app.update import Update
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Command, Context

APP_START_S = 0.3
"""From the bootloader's jump to Blynk.begin()."""
POLL_S = 0.5
"""connectWiFi() looks every 500 ms."""
CONNECT_S = 18.0
"""``connect()`` waits BLYNK_TIMEOUT_MS * 3, and ``begin()`` calls it until it succeeds."""
DEFAULT_PORT = 80
NAMESPACE = "app"
"""Of its own settings: the texts ssid, pass, host and token, and the u16 port."""


def _of_nvs(context: Context) -> Settings | None:
    """What ``Preferences`` find in its namespace; None without a token there."""
    place = context.started.table.find("nvs")
    try:
        nvs = Nvs(context.machine.flash.read(place.offset, place.size)) if place else None
    except FirmwareError:  # too small
        return None
    token = nvs.string(NAMESPACE, "token") if nvs else None
    if nvs is None or token is None:
        return None
    ssid, passphrase, host = (nvs.string(NAMESPACE, key) or "" for key in ("ssid", "pass", "host"))
    port = nvs.number(NAMESPACE, "port")
    return Settings(host, DEFAULT_PORT if port is None else port, token, ssid, passphrase)


class Sketch:
    """One run of the sketch, from initArduino to the next reset."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clock = context.machine.clock
        self._log = context.log
        self._settings = _of_nvs(context) or context.behaviour.settings or Settings()
        self._station = Station(context.machine)
        self._timers = Timers(self._clock)
        self._confirmation = Confirmation(context)
        self._client = self._new_client()
        self._url: str | None = None
        self._tested = False

    def console(self) -> Mapping[str, Command]:
        """None: it never reads its UART."""
        return {}

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: an update is done.
            Panic: a planted crash.
        """
        try:
            await self._confirmation.at("init")
            self._context.crash.at("start")
            await self._clock.spend(APP_START_S)
            await self._connect_wifi()
            self._log.blynk(banner(self._context))
            self._context.crash.at("before_login")
            while not await self._connect():
                pass
            while True:
                await self._greet()
                await self._serve()
                await self._come_back()
        finally:
            self._station.stop()
            self._client.halt()

    def _new_client(self) -> BlynkClient:
        mine, behaviour = self._settings, self._context.behaviour
        host, port = mine.host or compiled(self._context.started.image).host, mine.port
        return BlynkClient(
            self._context.machine,
            self._log,
            token=mine.token,
            host=cloud_of(behaviour, host),
            port=port,
            info=info_pairs(self._context),
            heartbeat_s=behaviour.heartbeat_s,
            on_ota=self._on_ota,
            trust=trust_of(self._context),
        )

    async def _connect_wifi(self) -> None:
        self._log.blynk(f"Connecting to {self._settings.ssid}")
        self._context.crash.at("wifi")
        self._station.begin(self._settings.ssid, self._settings.passphrase)
        while not self._station.connected:
            await self._clock.sleep(POLL_S)
        self._log.blynk("Connected to WiFi")
        self._log.blynk(f"IP: {self._station.address}")

    async def _connect(self) -> bool:
        """``Blynk.connect()``. A refused token is tried again as well, each time it is called."""
        until = self._clock.now() + CONNECT_S
        while (begun := self._clock.now()) < until:
            try:
                if await self._client.login():
                    return True
            except TokenRefused:
                await self._clock.sleep(until - self._clock.now())
                return False
            await self._clock.sleep(min(begun + RETRY_S, until) - self._clock.now())
        return False

    async def _greet(self) -> None:
        self._context.crash.at("after_report")
        await self._confirmation.at("login")
        test = self._context.behaviour.self_test
        if test is not None and not self._tested:
            self._tested = True
            self._timers.after(test.after_s, self._confirmation.self_test)

    async def _serve(self) -> None:
        """``Blynk.run()`` and the handler that it calls, until the link is lost."""
        while self._client.connected:
            await stay(self._clock, self._timers, FOREVER, self._client.serve(self._until_command))
            url, self._url = self._url, None
            if url is not None:
                await self._update(url)

    async def _come_back(self) -> None:
        """``Blynk.run()`` without a link. After a refused token it does nothing any more."""
        await self._clock.sleep(RETRY_S)
        try:
            await self._client.keep_dialling()
        except TokenRefused:
            await asyncio.Event().wait()

    def _until_command(self) -> float:
        return -FOREVER if self._url is not None else FOREVER

    def _on_ota(self, url: str) -> None:
        """InternalPinOTA: serve() is left, and the handler runs before the next message."""
        self._url = url

    async def _update(self, url: str) -> None:
        """The handler; it returns where anything fails."""
        self._print(f"overTheAirURL = {url}")
        answer = await http_get.get(self._context.machine, url, self._context.behaviour.stall_s)
        self._print(f"httpCode = {answer.status}")
        if answer.body is None:
            return
        if answer.status == 200 and await self._install(answer, answer.body):
            raise Reset(SOFTWARE_CPU)
        answer.body.close()

    async def _install(self, answer: http_get.Response, body: http_get.Body) -> bool:
        self._print(f"contentLength = {answer.length}")
        if answer.length <= 0:
            return False
        update = Update(
            self._context.machine,
            self._context.ota,
            crash_half_way(self._context),
            allocates=self._context.behaviour.allocates,
        )
        can_begin = update.begin(answer.length)
        self._print(f"canBegin = {int(can_begin)}")
        if not can_begin:
            return False
        written = await update.write_stream(body)
        self._print(f"written = {written}")
        return written == answer.length and await update.end()

    def _print(self, text: str) -> None:
        """Serial.println of a build with its prints left in."""
        if self._context.behaviour.debug:
            self._log.text(text)
