"""Where the reference firmware's settings come from: NVS, before what is compiled in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware import nvs
from pytest_blynk_ota.firmware.behaviour import Settings
from pytest_blynk_ota.firmware.compiled import compiled
from pytest_blynk_ota.virtual.app.preferences import Preferences

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.nvs import EdgentConfig
    from pytest_blynk_ota.virtual.app.context import Context

VERSION_AT, VERSION_BYTES = 4, 15
"""Of the text in ``ConfigStore`` that says which version wrote it (nvs.CONFIG)."""
ADDED_BYTES = 4
"""What each migration puts behind the fields of before."""


async def load(context: Context) -> Settings | None:
    """What it knows of its network and its cloud; None: nothing."""
    if context.has("Z50"):
        await _migrate(context)
        found = _of_our_format(context)
    else:
        found = nvs.parse_edgent_config(_blob(context))
    if found is not None:
        return Settings(found.host, found.port, found.token, found.ssid, found.password)
    given = context.behaviour.settings
    if given is None or not given.token:
        return None
    return replace(given, host=given.host or compiled(context.started.image).host)


def _blob(context: Context) -> bytes:
    place = context.started.table.find("nvs")
    if place is None:
        return b""
    data = context.machine.flash.read(place.offset, place.size)
    return nvs.read_blob(data, nvs.NAMESPACE, nvs.KEY) or b""


# ---- Z50: a new version brings a new format, and the way back was not thought of


async def _migrate(context: Context) -> None:
    """Rewrite what an older version has left; at once, not when this one is confirmed."""
    blob, mine = _blob(context), context.behaviour.version
    if len(blob) < nvs.CONFIG.size or _order(_written_by(blob)) >= _order(mine):
        return
    preferences = Preferences(context.machine, context.started.table)
    await preferences.begin()
    version = mine.encode()[:VERSION_BYTES].ljust(VERSION_BYTES, b"\0")
    rest = blob[VERSION_AT + VERSION_BYTES : nvs.CONFIG.size]
    blob = blob[:VERSION_AT] + version + rest + bytes(ADDED_BYTES)
    await preferences.put_blob(nvs.NAMESPACE, nvs.KEY, blob)


def _of_our_format(context: Context) -> EdgentConfig | None:
    """A format that a newer version has written is none that this one knows."""
    blob = _blob(context)
    if _order(_written_by(blob)) > _order(context.behaviour.version):
        return None
    return nvs.parse_edgent_config(blob[: nvs.CONFIG.size])


def _written_by(blob: bytes) -> str:
    text = blob[VERSION_AT : VERSION_AT + VERSION_BYTES].split(b"\0")[0]
    return text.decode("utf-8", "replace")


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
