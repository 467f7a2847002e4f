"""What a device of the Blynk library tells its cloud of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context

LIBRARY = "1.4.0"
BUFF_IN = 1024
"""BLYNK_MAX_READBYTES of an ESP32; header and body must fit."""
DEVICES: Mapping[str, str] = {"esp32": "ESP32", "esp32c3": "ESP32-C3", "esp32s3": "ESP32-S3"}
"""BLYNK_INFO_DEVICE of BlynkDetectDevice.h."""


def library(context: Context) -> str:
    """The library's version: as the image's tag says it."""
    tag = context.started.image.tag
    return (tag.pairs if tag else {}).get("blynk", LIBRARY)


def device(context: Context) -> str:
    """The name that the library has for this chip."""
    name = context.machine.chip.name
    return DEVICES.get(name, name)


Claim = tuple[str | None, str | None]
"""A version and a build; None: it does not say."""


def claimed(context: Context) -> Claim:
    """The version and the build that it gives itself out for; None: it does not say."""
    mine = context.behaviour
    if mine.reports == "nothing":
        return None, None
    if isinstance(mine.reports, str):
        return mine.version, mine.build
    return mine.reports.get("version", mine.version), mine.reports.get("build", mine.build)


def info_pairs(context: Context, claim: Claim | None = None) -> list[str]:
    """What is sent after login: keys and values in the order of BlynkApiArduino.h.

    Args:
        claim: what to give itself out for; None: as :func:`claimed`.
    """
    mine = context.behaviour
    version, build = claimed(context) if claim is None else claim
    pairs = (
        ("mcu", version),
        ("fw-type", mine.fw_type),
        ("build", build),
        ("blynk", library(context)),
        ("h-beat", f"{mine.heartbeat_s:g}"),
        ("buff-in", str(BUFF_IN)),
        ("dev", device(context)),
        ("cpu", context.machine.chip.name),
        ("con", "WiFi"),
        ("tmpl", mine.fw_type),
    )
    return [text for key, value in pairs if value is not None for text in (key, value)]


def banner(context: Context) -> str:
    """BlynkProtocol::printBanner: one print of many lines."""
    art = (
        "",
        "    ___  __          __",
        "   / _ )/ /_ _____  / /__",
        "  / _  / / // / _ \\/  '_/",
        " /____/_/\\_, /_//_/_/\\_\\",
        f"        /___/ v{library(context)} on {device(context)}",
        "",
        " #StandWithUkraine    https://bit.ly/swua",
        "",
        "",
    )
    return "\n".join(art)
