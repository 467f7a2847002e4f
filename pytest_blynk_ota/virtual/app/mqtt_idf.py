"""The MQTT sample for ESP-IDF (Blynk-MQTT-Samples), over Wi-Fi instead of a modem.

User ``device``, password the token. At each connect it subscribes to ``downlink/#`` and says what
it is; ``downlink/ota/json`` starts esp_https_ota() in the handler itself, so the link is silent
until that is over. Its traps are kept: JSON without ``url``, ``size``, ``type``, ``ver`` or
``build`` makes it read through a null pointer, nothing is compared with what it is, a failed update
is not tried again, and it never confirms itself unless the image's ``confirm`` says so.
"""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_blynk_ota.firmware.compiled import compiled
from pytest_blynk_ota.virtual.app.confirm import Confirmation
from pytest_blynk_ota.virtual.app.dial import cloud_of, trust_of
from pytest_blynk_ota.virtual.app.edgent_ota import crash_half_way
from pytest_blynk_ota.virtual.app.esp_https_ota import esp_https_ota
from pytest_blynk_ota.virtual.app.mqtt_client import Broker, Handlers, MqttClient
from pytest_blynk_ota.virtual.app.mqtt_packets import Kind, Message
from pytest_blynk_ota.virtual.app.preferences import Preferences
from pytest_blynk_ota.virtual.app.report import claimed
from pytest_blynk_ota.virtual.app.station import Station
from pytest_blynk_ota.virtual.app.timers import Timers
from pytest_blynk_ota.virtual.boot.bootlog import error, info
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_CPU
from pytest_blynk_ota.virtual.network.tls import TlsFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_blynk_ota.virtual.app.context import Command, Context

PORTS = {True: 8883, False: 1883}
"""By whether the build speaks TLS (CONFIG_BLYNK_MQTTS_MODE)."""
DEFAULT_PORT = 80
"""Of the ``settings`` table, where nobody set one."""
OTA_TOPIC, REDIRECT_TOPIC = "downlink/ota/json", "downlink/redirect"
OTA_KEYS = ("url", "size", "type", "ver", "build")
SPACE, TOKEN_KEY = "storage", "blynk_token"
OTA_TAG = "[OTA]"
TLS_SCHEMES, PLAIN_SCHEMES = ("tls", "mqtts"), ("tcp", "mqtt")


class MqttIdf:
    """One run of the firmware, from app_main to the next reset."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clock = context.machine.clock
        self._log = context.log
        self._tag = "[MQTTS]" if context.behaviour.tls else "[MQTT]"
        self._preferences = Preferences(context.machine, context.started.table)
        self._station = Station(context.machine)
        self._timers = Timers(self._clock)
        self._confirmation = Confirmation(context)
        self._client: MqttClient | None = None
        self._offline_since: float | None = None
        self._tested = False

    async def run(self) -> NoReturn:
        """Live until the next reset.

        Raises:
            Reset: the firmware restarts the chip.
            Panic: a planted crash, or one of its own.
        """
        await self._confirmation.at("init")
        self._context.crash.at("start")
        try:
            await self._preferences.begin()
            self._client = self._new_client()
            await self._connect_wifi()
            self._context.crash.at("before_login")
            if self._client is not None:
                await self._live(self._client)
            await asyncio.Event().wait()
            raise AssertionError("an event that nobody sets was set")
        finally:
            self._station.stop()
            if self._client is not None:
                self._client.halt()

    def console(self) -> Mapping[str, Command]:
        """Its one command."""
        return {"set_auth_token": self._set_token}

    async def _set_token(self, words: Sequence[str]) -> None:
        if len(words) != 1:
            self._log.text("wrong usage")
            return
        kept = await self._preferences.put_string(SPACE, TOKEN_KEY, words[0])
        self._log.text("ok" if kept else "error")

    async def _connect_wifi(self) -> None:
        self._context.crash.at("wifi")
        settings = self._context.behaviour.settings
        self._station.begin(
            settings.ssid if settings else "", settings.passphrase if settings else ""
        )
        await self._station.until(True)
        self._tell("[WIFI]", f"got ip:{self._station.address}")

    def _new_client(self) -> MqttClient | None:
        mine = self._context.behaviour
        if not mine.fw_type.startswith("TMPL"):
            self._complain("Invalid configuration of TEMPLATE_ID / TEMPLATE_NAME")
            return None
        settings = mine.settings
        token = self._preferences.string(SPACE, TOKEN_KEY) or (settings.token if settings else "")
        if not token:
            self._complain("Can't read auth token. please configure it and reboot")
            return None
        port = settings.port if settings and settings.port != DEFAULT_PORT else PORTS[mine.tls]
        host = settings.host if settings else ""
        host = host or compiled(self._context.started.image).host
        broker = Broker(cloud_of(mine, host), port, "device", token, trust_of(self._context))
        handlers = Handlers(
            before_connect=lambda: self._event("BEFORE_CONNECT"),
            connected=self._connected,
            data=self._data,
            acknowledged=self._acknowledged,
            disconnected=self._disconnected,
            failed=self._failed,
        )
        return MqttClient(self._context.machine, self._log, broker, handlers)

    async def _live(self, client: MqttClient) -> NoReturn:
        tasks = {asyncio.ensure_future(one) for one in (client.run(), self._timers.live())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        raise AssertionError("a client that runs for ever has ended")

    # ---- events

    async def _connected(self) -> None:
        client = self._client
        assert client is not None
        self._event("CONNECTED")
        self._offline_since = None
        await client.subscribe("downlink/#")
        await client.publish("info/mcu", self._info())
        await client.publish("ds/Random", str(Random().randrange(100)))
        self._context.crash.at("after_report")
        await self._confirmation.at("login")
        test = self._context.behaviour.self_test
        if test is not None and not self._tested:
            self._tested = True
            self._timers.after(test.after_s, self._confirmation.self_test)

    def _info(self) -> str:
        """cJSON_Print(): a tab before each line."""
        version, build = claimed(self._context)
        mine = self._context.behaviour
        pairs = {
            "tmpl": mine.fw_type,
            "ver": version,
            "build": build,
            "type": mine.fw_type,
            "rxbuff": 512,
        }
        told = {key: value for key, value in pairs.items() if value is not None}
        return json.dumps(told, indent="\t", separators=(",", ":\t"))

    def _acknowledged(self, kind: Kind, number: int) -> None:
        name = "SUBSCRIBED" if kind == Kind.SUBACK else "PUBLISHED"
        self._event(f"{name}, msg_id={number}")

    def _disconnected(self) -> None:
        self._event("DISCONNECTED")
        now = self._clock.now()
        if self._offline_since is None:
            self._offline_since = now
            self._tell(self._tag, "just got offline")
        else:
            offline_s = int(now - self._offline_since)
            self._tell(self._tag, f"offline already {offline_s} seconds ")

    def _failed(self, failure: OSError | None) -> None:
        self._event("ERROR")
        if isinstance(failure, TlsFailed):
            self._complain(f"Last error reported from tls stack: 0x{-failure.code:x}")

    async def _data(self, message: Message) -> None:
        self._event("DATA")
        if message.topic.startswith(OTA_TOPIC):
            await self._ota(message.payload)
        elif message.topic.startswith(REDIRECT_TOPIC):
            self._redirect(message.payload.decode("utf-8", "replace"))
        self._tell(self._tag, f"TOPIC={message.topic}")
        self._tell(self._tag, f"DATA={message.payload.decode('utf-8', 'replace')}")

    async def _ota(self, payload: bytes) -> None:
        """Raises Reset after success, Panic where it reads through a null pointer."""
        self._tell(OTA_TAG, "start")
        order = _parsed(payload)
        for key in OTA_KEYS:
            if key not in order:
                self._context.crash.now("panic")
            self._tell(OTA_TAG, f"{key}[{order[key]}]")
        url = str(order["url"])
        self._tell(OTA_TAG, f"Attempting to download update from {url}")
        code = await esp_https_ota(self._context, url, crash_half_way(self._context))
        if code:
            self._log.idf([error(OTA_TAG, f"Firmware upgrade failed [{code}]")])
            return
        self._tell(OTA_TAG, "OTA Succeed, Rebooting...")
        raise Reset(SOFTWARE_CPU)

    def _redirect(self, uri: str) -> None:
        self._tell(self._tag, f"got redirect to [{uri}]")
        words = uri.replace("/", " ").replace(":", " ").split()
        if len(words) < 3 or not words[2].isdecimal():
            self._complain(f"malformed redirect address [{uri}]")
            return
        scheme, host, port = words[0], words[1], int(words[2])
        secure = scheme in TLS_SCHEMES and self._context.behaviour.tls
        if not secure and scheme not in PLAIN_SCHEMES:
            self._complain(f"wrong protocol [{scheme}]")
            return
        client = self._client
        assert client is not None
        trust = trust_of(self._context) if secure else None
        old = client.broker
        client.broker = Broker(host, port, old.user, old.password, trust)
        client.close()

    def _event(self, what: str) -> None:
        self._tell(self._tag, f"MQTT_EVENT_{what}")

    def _tell(self, tag: str, text: str) -> None:
        self._log.idf([info(tag, text)])

    def _complain(self, text: str) -> None:
        self._log.idf([error(self._tag, text)])


def _parsed(payload: bytes) -> Mapping[str, Any]:
    """cJSON_ParseWithLength(): what is no object has no members."""
    try:
        order = json.loads(payload)
    except ValueError:
        return {}
    return order if isinstance(order, dict) else {}
