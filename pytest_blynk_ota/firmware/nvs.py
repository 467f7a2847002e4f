"""The NVS partition of old Edgent: settings as the firmware keeps them.

Namespace ``blynk``, key ``config``, a blob of 212 packed bytes (blynk-library 1.4.0,
``Edgent_ESP32/ConfigStore.h``). Espressif's own generator writes it, in memory; reading it back is
ours, so that each checks the other. Format: ESP-IDF ``nvs_flash`` documentation, version 2.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_blynk_ota.errors import FirmwareError

NVS_BYTES = 0x5000
PAGE_BYTES = 4096
ENTRY_BYTES = 32
FIRST_ENTRY = 64
ENTRIES = 126
PAGE_ACTIVE, PAGE_FULL = 0xFFFFFFFE, 0xFFFFFFFC
WRITTEN = 0b10
TYPE_U8, TYPE_BLOB, TYPE_BLOB_DATA = 0x01, 0x41, 0x42

CONFIG = struct.Struct("<I15sB34s64s34s34sH5Ii")
CONFIG_MAGIC = 0x626C6E6B
CONFIG_VERSION = b"0.1.0"
NAMESPACE, KEY = "blynk", "config"
FLAG_VALID = 1
FIELDS = {"ssid": 33, "password": 63, "token": 33, "host": 33}


@dataclass(frozen=True, slots=True)
class EdgentConfig:
    """What old Edgent stores of its network and its cloud."""

    ssid: str
    password: str
    token: str
    host: str
    port: int


def edgent_config(
    *,
    ssid: str,
    password: str,
    token: str,
    host: str,
    port: int,
    size: int = NVS_BYTES,
    flags: int = FLAG_VALID,
    last_error: int = 0,
) -> bytes:
    """An NVS partition that holds the settings and nothing else.

    Args:
        flags: ``FLAG_VALID``: they have led to the cloud once.
        last_error: why they did not, as the firmware numbers it (``BLYNK_PROV_ERR_…``).

    Raises:
        FirmwareError: a text is longer than the firmware's field for it, or there is no such port.
    """
    if not 0 < port < 0x10000:
        raise FirmwareError(f"Edgent settings: port {port}, expected 1 to 65535")
    texts = {"ssid": ssid, "password": password, "token": token, "host": host}
    for name, text in texts.items():
        if len(text.encode()) > FIELDS[name]:
            raise FirmwareError(
                f"Edgent settings: {name} has {len(text.encode())} bytes, room is for "
                f"{FIELDS[name]}"
            )
    packed = [text.encode() for text in texts.values()]
    no_addresses = (0,) * 5
    head = (CONFIG_MAGIC, CONFIG_VERSION, flags)
    return _generate(CONFIG.pack(*head, *packed, port, *no_addresses, last_error), size)


def _generate(blob: bytes, size: int) -> bytes:
    return nvs_of(NAMESPACE, [(KEY, "hex2bin", blob.hex())], size)


def nvs_of(namespace: str, entries: Iterable[tuple[str, str, str]], size: int) -> bytes:
    """A partition by Espressif's generator, which keeps the last page of it free.

    Args:
        entries: key, encoding and value of each, as the generator takes them.

    Raises:
        FirmwareError: they find no room in ``size`` bytes.
    """
    from esp_idf_nvs_partition_gen import nvs_partition_gen as generator

    result = io.BytesIO()
    try:
        nvs = generator.nvs_open(result, size - PAGE_BYTES, generator.Page.VERSION2)
        generator.write_entry(nvs, namespace, "namespace", "", "")
        for key, encoding, value in entries:
            generator.write_entry(nvs, key, "data", encoding, value)
        generator.nvs_close(nvs)
    except generator.InsufficientSizeError:
        raise FirmwareError(f"NVS {namespace}: its keys find no room in {size} bytes") from None
    return result.getvalue()


def read_edgent_config(nvs: bytes) -> EdgentConfig | None:
    """The settings in an NVS partition; None if there are none that are valid."""
    return parse_edgent_config(read_blob(nvs, NAMESPACE, KEY) or b"")


def parse_edgent_config(blob: bytes) -> EdgentConfig | None:
    """The settings in old Edgent's blob; None if they are not valid."""
    if len(blob) != CONFIG.size:
        return None
    magic, _, flags, ssid, password, token, host, port, *_ = CONFIG.unpack(blob)
    if magic != CONFIG_MAGIC or not flags & FLAG_VALID:
        return None
    return EdgentConfig(_text(ssid), _text(password), _text(token), _text(host), port)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")


def read_blob(nvs: bytes, namespace: str, key: str) -> bytes | None:
    """A blob by namespace and key (ESP-IDF NVS format 2); None if it is not there."""
    entries = list(_entries(nvs))
    spaces = {
        entry[8:24].split(b"\0")[0]: entry[24]
        for entry, _ in entries
        if entry[0] == 0 and entry[1] == TYPE_U8
    }
    index = spaces.get(namespace.encode())
    chunks: dict[int, bytes] = {}
    for entry, data in entries:
        if (
            entry[0] == index
            and entry[1] in (TYPE_BLOB, TYPE_BLOB_DATA)
            and (entry[8:24].split(b"\0")[0] == key.encode())
        ):
            size, crc = struct.unpack("<H2xI", entry[24:32])
            if zlib.crc32(data[:size], 0xFFFFFFFF) != crc:
                return None
            chunks[entry[3]] = data[:size]
    return b"".join(chunks[number] for number in sorted(chunks)) if chunks else None


def _entries(nvs: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each written entry of each page in use, with the data that follows it."""
    for page in range(0, len(nvs) - PAGE_BYTES + 1, PAGE_BYTES):
        if struct.unpack_from("<I", nvs, page)[0] not in (PAGE_ACTIVE, PAGE_FULL):
            continue
        number = 0
        while number < ENTRIES:
            bits = nvs[page + 32 + number // 4] >> (number % 4 * 2) & 0b11
            at = page + FIRST_ENTRY + number * ENTRY_BYTES
            entry = nvs[at : at + ENTRY_BYTES]
            span = max(entry[2], 1)
            if bits == WRITTEN and span <= ENTRIES - number:
                yield entry, nvs[at + ENTRY_BYTES : at + span * ENTRY_BYTES]
                number += span
            else:
                number += 1
