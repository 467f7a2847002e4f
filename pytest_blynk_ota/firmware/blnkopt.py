"""The ``blnkopt`` section: settings that old Edgent was built with, and where others fit in.

Layout: ``blnkopt NUL (key NUL value NUL)* NUL``. A stock build has placeholders there: 264 letters
under ``ssid``, and the default host and port; it counts as provisioned once it has ``ssid`` and
``auth`` (blynk-library 1.4.0, ``Edgent_ESP32/ConfigStore.h``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.nvs import FIELDS

MAGIC = b"blnkopt\0"
PLACEHOLDER = b"Placeholder" * 24
"""BLYNK_PARAM_PLACEHOLDER_64, four times."""
MOST_BYTES = 1024
"""No section is longer: ours, so that a search for its end has one."""
ROOM = {"ssid": "ssid", "pass": "password", "auth": "token", "host": "host"}
"""Keys, and the field of the firmware's settings that each goes to (``nvs.FIELDS``)."""


@dataclass(frozen=True, slots=True)
class Section:
    """The section in a file.

    Attributes:
        offset: of its first key.
        size: bytes up to the NUL that ends it, that one included.
        pairs: what it says.
    """

    offset: int
    size: int
    pairs: Mapping[str, str]


def stock(host: str, port: int) -> bytes:
    """The section of a build that was given nothing."""
    pairs = b"ssid\0" + PLACEHOLDER + f"\0host\0{host}\0port\0{port}\0".encode()
    return MAGIC + pairs + b"\0"


def find(data: bytes) -> Section | None:
    """The first section that can be read."""
    start = data.find(MAGIC)
    while start >= 0:
        if (section := _read(data, start + len(MAGIC))) is not None:
            return section
        start = data.find(MAGIC, start + 1)
    return None


def _read(data: bytes, start: int) -> Section | None:
    texts: list[str] = []
    at, limit = start, min(len(data), start + MOST_BYTES)
    while (end := data.find(0, at, limit)) >= 0:
        if end == at and len(texts) % 2 == 0:
            pairs = dict(zip(texts[::2], texts[1::2], strict=True))
            return Section(start, end + 1 - start, pairs) if "ssid" in pairs else None
        try:
            texts.append(data[at:end].decode())
        except UnicodeDecodeError:
            return None
        at = end + 1
    return None


def patched(data: bytes, *, ssid: str, passphrase: str, token: str, host: str, port: int) -> bytes:
    """The same bytes with these settings in the section. Hashes are not mended.

    Raises:
        FirmwareError: there is no section, a text is longer than the firmware's field for it, or
            all of them are longer than the section.
    """
    section = find(data)
    if section is None:
        raise FirmwareError(
            "it has no blnkopt section, where old Edgent looks for settings: expected a build of "
            "Blynk.Edgent for ESP32 of blynk-library"
        )
    said = {"ssid": ssid, "pass": passphrase, "auth": token, "host": host, "port": str(port)}
    for key, field in ROOM.items():
        size = len(said[key].encode())
        if size > FIELDS[field] or "\0" in said[key]:
            raise FirmwareError(f"blnkopt: {key} has {size} bytes, room is for {FIELDS[field]}")
    return _with(data, section, said)


def rehosted(data: bytes, before: str, after: str) -> bytes:
    """The same bytes with another host in the section, if it is there and has that one.

    The pairs behind it move: NULs between them would be taken for pairs.

    Raises:
        FirmwareError: there is no room.
    """
    section = find(data)
    if section is None or section.pairs.get("host") != before:
        return data
    return _with(data, section, {**section.pairs, "host": after})


def _with(data: bytes, section: Section, pairs: Mapping[str, str]) -> bytes:
    fresh = b"".join(f"{key}\0{value}\0".encode() for key, value in pairs.items()) + b"\0"
    if len(fresh) > section.size:
        raise FirmwareError(
            f"blnkopt: the settings have {len(fresh)} bytes, room is for {section.size}; expected "
            "a build whose section holds its placeholders"
        )
    end = section.offset + section.size
    return data[: section.offset] + fresh.ljust(section.size, b"\0") + data[end:]
