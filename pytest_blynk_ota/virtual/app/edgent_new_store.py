"""New Edgent's settings: BlynkConfigStore.h and BlynkMigrateConfig.h of Edgent-Arduino 0.9.0.

Strings in NVS, namespace ``blynk``: ``host``, ``auth``, ``fwver``, ``cfgskip``. What old Edgent has
left there as one blob is taken over at the first boot and deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from pytest_blynk_ota.firmware import nvs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_blynk_ota.virtual.app.netmgr import NetMgr
    from pytest_blynk_ota.virtual.app.preferences import Preferences

TOKEN_CHARS = 32
NO_TOKEN = "invalid token"
SPACE, OLD_BLOB, OLD_UID = "blynk", "config", "dev_uid"
OLD_UID_BYTES = 12


class ConfigStore:
    """The settings in RAM and in flash."""

    def __init__(self, preferences: Preferences, version: str, host: str) -> None:
        self._preferences = preferences
        self._version = version
        self._host = host
        self.default()

    def default(self) -> None:
        """``loadDefault()``: in RAM only."""
        self.saved = False
        self.skipped, self.version = 0, self._version
        self.token, self.host = NO_TOKEN, self._host

    @property
    def configured(self) -> bool:
        """Whether there is a token that has led to the cloud once."""
        return self.saved and len(self.token) == TOKEN_CHARS

    def load(self) -> None:
        """``begin()``."""
        self.default()
        get = self._preferences.string
        self.version = get(SPACE, "fwver")
        self.token = get(SPACE, "auth", self.token)
        self.host = get(SPACE, "host", self.host)
        self.saved = len(self.token) == TOKEN_CHARS

    def give(self, token: str, host: str | None = None) -> None:
        """Another token and host, in RAM until :meth:`commit`."""
        self.token, self.saved = token, False
        if host is not None:
            self.host = host

    async def commit(self) -> None:
        """Keep host and token; :attr:`saved` says whether it worked."""
        put = self._preferences.put_string
        if await put(SPACE, "host", self.host) and await put(SPACE, "auth", self.token):
            self.saved = True

    async def set_version(self, version: str) -> None:
        """``storeFirmwareVer()``."""
        self.version = version
        await self._preferences.put_string(SPACE, "fwver", version)

    async def erase(self) -> None:
        """Forget all, in flash too."""
        await self._preferences.clear(SPACE)
        self.default()


async def migrate(
    store: ConfigStore,
    preferences: Preferences,
    networks: NetMgr,
    log: Callable[[str, str, str], None],
) -> bool:
    """``migrateOldConfig()``: take over old Edgent's settings; False: there are none to take."""

    def say(level: str, text: str) -> None:
        log(level, "BlynkMigrateConfig.h", text)

    old = nvs.parse_edgent_config(preferences.blob(SPACE, OLD_BLOB))
    if old is None or len(old.token) != TOKEN_CHARS or not old.host:
        return False
    uid = preferences.blob(SPACE, OLD_UID)
    if len(uid) == OLD_UID_BYTES:
        text = "-".join(uid[at : at + 4].hex() for at in range(0, OLD_UID_BYTES, 4))
        say("I", f"Migrating old UID: {text}")
        await preferences.put_string("system", "uid", text)
    say("I", f"Migrating old WiFi configuration: SSID={old.ssid}")
    if not await networks.add(old.ssid, old.password):
        say("E", "Failed to migrate WiFi configuration (DHCP)")
        return False
    say("I", f"Migrating old config: Host={old.host}, Token={old.token}")
    store.give(old.token, old.host)
    await store.commit()
    if not store.saved:
        say("E", "Failed to save migrated configuration")
        return False
    await preferences.remove(SPACE, OLD_BLOB)
    await preferences.remove(SPACE, OLD_UID)
    say("W", "Migrating config is complete")
    return True


async def device_uid(preferences: Preferences) -> str:
    """``systemGetDeviceUID()``: made once, kept in NVS."""
    uid = preferences.string("system", "uid")
    if uid:
        return uid
    uid = str(uuid4())
    return uid if await preferences.put_string("system", "uid", uid) else "none"
