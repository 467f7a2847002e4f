"""The chips that virtual boards can have: identity registers and eFuses, as tables."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytest_blynk_ota.errors import UsageError

MARKER = b"BLYNK-OTA VIRTUAL BOARD"
"""Stands in the user eFuse block of every virtual chip: no evidence of theirs passes as real."""

MARKER_BYTES = 32  # the user block, BLOCK3, has eight 32-bit words on both chips


@dataclass(frozen=True, slots=True)
class SpiRegisters:
    """Where a chip's SPI controller has the registers of a user-defined flash command."""

    base: int
    usr: int
    usr2: int
    w0: int


@dataclass(frozen=True, slots=True)
class ChipModel:
    """What all chips of one type share."""

    name: str
    image_id: int
    security_info: bytes | None
    """Answer to GET_SECURITY_INFO without its status; ``None``: the ROM does not know it."""
    marker_address: int
    spi: SpiRegisters
    uart_clock_divider: int | None
    """Register that holds crystal / baud rate, where esptool derives the crystal from it."""
    download_banner: str
    revision: int
    fixed: Mapping[int, int]
    efuses: Callable[[bytes, int], dict[int, int]]
    """MAC and revision as register words."""


@dataclass(frozen=True, slots=True)
class VirtualChip:
    """One chip.

    Attributes:
        mac: six bytes.
        revision: major * 100 + minor.
        registers: every word that reads as something else than 0 after a reset.
    """

    model: ChipModel
    mac: bytes
    revision: int
    registers: Mapping[int, int]

    @property
    def name(self) -> str:
        """``esp32`` or ``esp32c3``."""
        return self.model.name

    @property
    def image_id(self) -> int:
        """The chip id that app images for it carry."""
        return self.model.image_id

    @property
    def mac_text(self) -> str:
        """The MAC as ``02:b1:6e:…``."""
        return self.mac.hex(":")


def crc8(data: bytes) -> int:
    """The check byte that ESP32 keeps beside its MAC (Dallas/Maxim; esp_rom_crc8_le)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
    return crc


ESP32_MAJOR_BITS = {0: 0b000, 1: 0b001, 2: 0b011, 3: 0b111}  # esptool targets/esp32.py


def esp32_efuses(mac: bytes, revision: int) -> dict[int, int]:
    """BLOCK0 words of an ESP32-D0WD (esptool targets/esp32.py, TRM ch. 20)."""
    major, minor = divmod(revision, 100)
    bits = ESP32_MAJOR_BITS[major]
    return {
        0x3FF5A004: int.from_bytes(mac[2:], "big"),
        0x3FF5A008: crc8(mac) << 16 | int.from_bytes(mac[:2], "big"),
        0x3FF5A00C: (bits & 1) << 15 | 1 << 9,  # package 1: D0WD
        0x3FF5A014: (bits >> 1 & 1) << 20 | minor << 24,
        0x3FF6607C: (bits >> 2) << 31 | 0x16042000,  # APB_CTRL_DATE
    }


def esp32c3_efuses(mac: bytes, revision: int) -> dict[int, int]:
    """BLOCK1 words of an ESP32-C3 QFN32 (esptool targets/esp32c3.py)."""
    major, minor = divmod(revision, 100)
    return {
        0x60008844: int.from_bytes(mac[2:], "big"),
        0x60008848: int.from_bytes(mac[:2], "big"),
        0x60008850: (minor & 7) << 18,
        0x60008858: major << 24 | (minor >> 3) << 23,
    }


MODELS: dict[str, ChipModel] = {
    "esp32": ChipModel(
        name="esp32",
        image_id=0,
        security_info=None,
        marker_address=0x3FF5A078,  # EFUSE_BLK3_RDATA0
        spi=SpiRegisters(base=0x3FF42000, usr=0x1C, usr2=0x24, w0=0x80),
        uart_clock_divider=0x3FF40014,
        download_banner=(
            "ets Jul 29 2019 12:21:46\n\n"
            "rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))\n"
            "waiting for download\n"
        ),
        revision=300,
        fixed={
            0x40001000: 0x00F01D83,  # ROM word that esptool knows the chip by
            0x3FF5A010: 100,  # EFUSE_RD_CK8M_FREQ; with the next: a 40 MHz crystal
            0x3FF5F06C: 1024 << 7,  # RTC_CALI_VALUE: 1024 * 15625 * 100 / 40 = 40 MHz
            0x3FF44038: 0x03,  # GPIO_STRAP: as the banner says; bit 5, flash at 1.8 V, is clear
            0x3FF4201C: 0x80000000,
            0x3FF42024: 0x70000000,
        },
        efuses=esp32_efuses,
    ),
    "esp32c3": ChipModel(
        name="esp32c3",
        image_id=5,
        # flags, crypt count, 7 key purposes, chip id, API version: as a real v0.3 answers
        security_info=struct.pack("<IB7BII", 0, 0, 0, 0, 0, 0, 0, 0, 0x0C, 5, 3),
        marker_address=0x6000887C,  # EFUSE_RD_USR_DATA0
        spi=SpiRegisters(base=0x60002000, usr=0x18, usr2=0x20, w0=0x58),
        uart_clock_divider=None,
        download_banner=(
            "ESP-ROM:esp32c3-api1-20210207\nBuild:Feb  7 2021\n"
            "rst:0x1 (POWERON),boot:0x5 (DOWNLOAD(USB/UART0/1))\n"
            "waiting for download\n"
        ),
        revision=3,
        fixed={0x60002018: 0x800000C0, 0x60002020: 0x70000000},
        efuses=esp32c3_efuses,
    ),
}


def default_mac(name: str) -> bytes:
    """A locally administered MAC, always the same for a board's name."""
    return b"\x02\xb1\x6e" + hashlib.sha256(name.encode()).digest()[:3]


def parse_mac(text: str) -> bytes:
    """Read ``02:b1:6e:00:00:01``. Raises UsageError."""
    if not re.fullmatch(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}", text):
        raise UsageError(f"expected a MAC address as 02:b1:6e:00:00:01, not {text!r}")
    return bytes.fromhex(re.sub(r"[:-]", "", text))


def parse_revision(text: str, model: ChipModel) -> int:
    """Read ``v3.0`` as 300. Raises UsageError for one that the chip's eFuses cannot hold."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)", text)
    if not found:
        raise UsageError(f'expected a chip revision as "v3.0", not {text!r}')
    major, minor = int(found[1]), int(found[2])
    if major > 3 or minor > (3 if model.name == "esp32" else 15):
        raise UsageError(f"an {model.name} of revision {text} cannot be: its eFuses have no room")
    return major * 100 + minor


def make_chip(model: ChipModel, mac: bytes, revision: int | None = None) -> VirtualChip:
    """A chip of ``model`` with its identity burnt in."""
    revision = model.revision if revision is None else revision
    marker = struct.unpack("<8I", MARKER.ljust(MARKER_BYTES, b"\0"))
    registers = dict(model.fixed) | model.efuses(mac, revision)
    registers |= {model.marker_address + 4 * i: word for i, word in enumerate(marker)}
    return VirtualChip(model, mac, revision, registers)
