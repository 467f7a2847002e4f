"""What an Edgent board calls itself, and its banner (ConfigMode.h, BlynkEdgent.h)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.report import banner, device

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context

TEMPLATE_NAME = "virtual board"
"""BLYNK_TEMPLATE_NAME of every fixture."""
VENDOR = "Blynk"
LETTERS = "0W8N4Y1HP5DF9K6JM3C2UA7R"
UNIQUE_LETTERS = 4
NAME_LETTERS = 31 - 6 - len(VENDOR)
CPU_MHZ = {"esp32": 240, "esp32c3": 160, "esp32s3": 240}
FREE_BYTES = 250_000
RULE = "-" * 52


def hotspot_name(mac: bytes, alphabet: str = LETTERS) -> str:
    """``getWiFiName()``: four letters are made from the MAC."""
    chip_id = mac.ljust(8, b"\0")
    unique = 0
    for _ in range(4):
        unique = zlib.crc32(chip_id, unique)
    return f"{VENDOR} {TEMPLATE_NAME[:NAME_LETTERS]}-{_letters(unique, alphabet)}"


def _letters(number: int, alphabet: str) -> str:
    """``encodeUniquePart()``: no letter twice in a row."""
    letters = ""
    while len(letters) < UNIQUE_LETTERS:
        letter = alphabet[number % len(alphabet)]
        if letter == letters[-1:]:
            letter = alphabet[(number + 1) % len(alphabet)]
        letters += letter
        number //= len(alphabet)
    return letters


def print_banner(context: Context, token: str | None) -> None:
    """``printDeviceBanner()``. ``token`` is None while there are no settings that lead anywhere."""
    machine, mine, log = context.machine, context.behaviour, context.log
    desc = context.started.image.app_desc
    log.blynk(banner(context))
    hidden = f" Token:     {token[:4]} - •••• - •••• - ••••" if token is not None else None
    lines = (
        RULE,
        f" Device:    {hotspot_name(machine.chip.mac)}",
        f" Firmware:  {mine.version} (build {mine.build})",
        hidden,
        f" Platform:  {device(context)} @ {CPU_MHZ.get(machine.chip.name, 240)}MHz",
        f" Chip rev:  {machine.chip.revision}",
        f" SDK:       {desc.idf if desc else ''}",
        f" Flash:     {machine.flash.size // 1024}K",
        f" Free mem:  {FREE_BYTES}",
        RULE,
    )
    log.text(*(line for line in lines if line is not None))
