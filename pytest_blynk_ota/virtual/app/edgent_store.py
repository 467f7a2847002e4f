"""Old Edgent's settings: ConfigStore.h, a packed struct in NVS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware import nvs
from pytest_blynk_ota.firmware.compiled import DEFAULT_HOST, DEFAULT_PORT, compiled
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context

NO_TOKEN = "invalid token"
ROOM = {"ssid": 33, "password": 63, "token": 33, "host": 33}
"""Characters that CopyString keeps."""


class LastError(IntEnum):
    """``BLYNK_PROV_ERR_*``."""

    NONE = 0
    CONFIG = 700
    NETWORK = 701
    CLOUD = 702
    TOKEN = 703
    INTERNAL = 704


@dataclass(frozen=True, slots=True)
class Config:
    """One ``configStore``; ``valid``: it has led to the cloud once, or the rig says so."""

    ssid: str = ""
    password: str = ""
    token: str = NO_TOKEN
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    valid: bool = False
    last_error: int = LastError.NONE

    def given(self, ssid: str, password: str, token: str) -> Config:
        """With another network and token, cut to their fields."""
        return replace(
            self,
            ssid=ssid[: ROOM["ssid"]],
            password=password[: ROOM["password"]],
            token=token[: ROOM["token"]],
        )


class ConfigStore:
    """The settings in RAM and in flash."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._place = context.started.table.find("nvs")
        given = context.behaviour.settings
        self._compiled = compiled(context.started.image)
        self.default = Config(host=self._compiled.host)
        if given is not None:
            self.default = Config(host=given.host or self._compiled.host, port=given.port)
        self.config = self.default

    def load(self) -> None:
        """``config_load()``."""
        place = self._place
        if place is None:
            self._say("Config read failed")
            return
        data = self._context.machine.flash.read(place.offset, place.size)
        blob = nvs.read_blob(data, nvs.NAMESPACE, nvs.KEY)
        if blob is None:  # the namespace is not there
            self._say("Config read failed")
        elif len(blob) != nvs.CONFIG.size or not blob.startswith(MAGIC):
            self._say("Using default config.")
            self.config = self.default
        else:
            self.config = _unpacked(blob)

    def preprovisioned(self) -> bool:
        """``config_load_blnkopt()``: take what the build was given, if it was given any."""
        mine, options = self._context.behaviour.settings, self._compiled.options or {}
        if mine is not None and mine.ssid and mine.token:
            self.config = self.default.given(mine.ssid, mine.passphrase, mine.token)
        elif {"ssid", "auth"} <= options.keys():
            self.config = replace(
                self.default.given(options["ssid"], options.get("pass", ""), options["auth"]),
                host=options.get("host", self.default.host)[: ROOM["host"]],
                port=int(options["port"]) if "port" in options else self.default.port,
            )
        else:
            return False
        return True

    async def save(self) -> None:
        """``config_save()``: every sector of NVS that changes is erased and programmed."""
        place = self._place
        if place is None:
            self._say("Config write failed")
            return
        one, machine = self.config, self._context.machine
        wanted = nvs.edgent_config(
            ssid=one.ssid,
            password=one.password,
            token=one.token,
            host=one.host,
            port=one.port,
            size=place.size,
            flags=nvs.FLAG_VALID if one.valid else 0,
            last_error=one.last_error,
        )
        for start in range(0, place.size, SECTOR_BYTES):
            sector = wanted[start : start + SECTOR_BYTES]
            if machine.flash.read(place.offset + start, SECTOR_BYTES) != sector:
                await machine.erase(place.offset + start, SECTOR_BYTES)
                await machine.program(place.offset + start, sector.rstrip(b"\xff"))
        self._say("Configuration stored to flash")

    async def set_last_error(self, error: LastError) -> None:
        """``config_set_last_error()``: kept only while the settings have never led anywhere."""
        if not self.config.valid:
            self.config = replace(self.default, last_error=error)
            self._context.log.blynk(f"Last error code: {error}")
            await self.save()

    async def reset(self) -> None:
        """Back to the defaults, in flash too."""
        self.config = self.default
        await self.save()

    def _say(self, text: str) -> None:
        if self._context.behaviour.debug:
            self._context.log.blynk(text)


MAGIC = nvs.CONFIG_MAGIC.to_bytes(4, "little")


def _unpacked(blob: bytes) -> Config:
    _, _, flags, ssid, password, token, host, port, *_, error = nvs.CONFIG.unpack(blob)
    valid = bool(flags & nvs.FLAG_VALID)
    return Config(_text(ssid), _text(password), _text(token), _text(host), port, valid, error)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")
