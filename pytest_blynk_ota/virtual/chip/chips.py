"""The chips that virtual boards can have: one table entry each.

A further chip is an entry here, one in ``firmware.chips`` (what its images look like), one in
``boot.rom`` (what its ROM says) and one in ``boot.applog`` (what an application says at its start).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_blynk_ota.errors import UsageError

MARKER = b"BLYNK-OTA VIRTUAL BOARD"
"""Stands in the eFuses of every virtual chip: no evidence of theirs passes as real."""


@dataclass(frozen=True, slots=True)
class Bits:
    """``width`` bits of the register word at ``address``, from bit ``shift`` on."""

    address: int
    shift: int = 0
    width: int = 32


@dataclass(frozen=True, slots=True)
class EFuseMap:
    """Where a chip keeps what is burnt (esptool ``targets/``, espefuse ``efuse_defs/``).

    A number that is spread over several fields lies in them lowest bits first.

    Attributes:
        mac: address of its last four bytes; the first two are in the low half of the next word.
        mac_check: where the check byte of the MAC stands, if there is one.
        majors: what the bits of the major revision are, by revision.
        secure_version: burnt in unary: one bit more for each version.
        marker: address of a block of eight words that is free for users on boards as ours.
        secure_boot: the bit that switches it on, by its version.
        crypt_count: flash encryption is on while an odd number of these bits is burnt.
        download_off: the bit that closes download mode.
        download_secure: the one that leaves it only a few commands; ``None``: the chip has none.
    """

    mac: int
    minor: tuple[Bits, ...]
    major: tuple[Bits, ...]
    secure_version: Bits
    marker: int
    secure_boot: Mapping[int, Bits]
    crypt_count: Bits
    download_off: Bits
    download_secure: Bits | None = None
    mac_check: Bits | None = None
    majors: tuple[int, ...] = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class SpiRegisters:
    """Where a chip's SPI controller has the registers of a user-defined flash command."""

    base: int
    usr: int
    usr2: int
    w0: int


@dataclass(frozen=True, slots=True)
class WatchdogRegisters:
    """The RTC watchdog: set up, time-out of its first stage in slow clock cycles, write lock."""

    config: int
    timeout: int
    protect: int


@dataclass(frozen=True, slots=True)
class ChipModel:
    """What all chips of one type share.

    Attributes:
        security_info: the answer to GET_SECURITY_INFO without its status; ``None``: the ROM does
            not know the command.
        uart_clock_divider: register that holds crystal / baud rate, where esptool derives the
            crystal from it.
        begin_words: 32-bit words of FLASH_BEGIN that the ROM takes; the fifth asks for encryption.
        revision: of a board whose rig file gives none; major * 100 + minor.
        fixed: words that read as something else than 0 on every chip.
        stub_words: words that the stub changes when it starts.
    """

    name: str
    image_id: int
    security_info: bytes | None
    spi: SpiRegisters
    watchdog: WatchdogRegisters
    efuses: EFuseMap
    begin_words: int
    revision: int
    fixed: Mapping[int, int]
    stub_words: Mapping[int, int] = field(default_factory=dict)
    uart_clock_divider: int | None = None


@dataclass(frozen=True, slots=True)
class VirtualChip:
    """One chip: its model and what tells it from others.

    Attributes:
        mac: six bytes.
        revision: major * 100 + minor.
    """

    model: ChipModel
    mac: bytes
    revision: int

    @property
    def name(self) -> str:
        """``esp32``, ``esp32c3`` …"""
        return self.model.name

    @property
    def image_id(self) -> int:
        """The chip id that app images for it carry."""
        return self.model.image_id

    @property
    def mac_text(self) -> str:
        """The MAC as ``02:b1:6e:…``."""
        return self.mac.hex(":")


def security_info(chip_id: int, api_version: int) -> bytes:
    """GET_SECURITY_INFO of a chip with nothing locked: flags, crypt count, 7 key purposes, ids."""
    return struct.pack("<IB7BII", 0, 0, 0, 0, 0, 0, 0, 0, 0x0C, chip_id, api_version)


# C3 and S3 have the same SPI controller and the same order of eFuses, at other addresses.
SPI_C3 = SpiRegisters(base=0x60002000, usr=0x18, usr2=0x20, w0=0x58)
SPI_C3_IDLE = {0x60002018: 0x800000C0, 0x60002020: 0x70000000}


def efuses_c3(base: int) -> EFuseMap:
    """The eFuse words of an ESP32-C3 or -S3, whose registers begin at ``base``."""
    return EFuseMap(
        mac=base + 0x44,
        minor=(Bits(base + 0x50, 18, 3), Bits(base + 0x58, 23, 1)),
        major=(Bits(base + 0x58, 24, 2),),
        secure_version=Bits(base + 0x3C, 14, 16),
        marker=base + 0x7C,  # BLOCK_USR_DATA
        secure_boot={2: Bits(base + 0x38, 20, 1)},  # SECURE_BOOT_EN
        crypt_count=Bits(base + 0x34, 18, 3),  # SPI_BOOT_CRYPT_CNT
        download_off=Bits(base + 0x3C, 0, 1),  # DIS_DOWNLOAD_MODE
        download_secure=Bits(base + 0x3C, 5, 1),  # ENABLE_SECURITY_DOWNLOAD
    )


MODELS: dict[str, ChipModel] = {
    "esp32": ChipModel(
        name="esp32",
        image_id=0,
        security_info=None,
        spi=SpiRegisters(base=0x3FF42000, usr=0x1C, usr2=0x24, w0=0x80),
        watchdog=WatchdogRegisters(config=0x3FF4808C, timeout=0x3FF48090, protect=0x3FF480A4),
        efuses=EFuseMap(
            mac=0x3FF5A004,
            mac_check=Bits(0x3FF5A008, 16, 8),
            minor=(Bits(0x3FF5A014, 24, 2),),
            major=(Bits(0x3FF5A00C, 15, 1), Bits(0x3FF5A014, 20, 1), Bits(0x3FF6607C, 31, 1)),
            majors=(0b000, 0b001, 0b011, 0b111),
            secure_version=Bits(0x3FF5A088),
            # BLOCK2, the key of secure boot: BLOCK3 has custom MAC and secure version in it
            marker=0x3FF5A058,
            secure_boot={1: Bits(0x3FF5A018, 4, 1), 2: Bits(0x3FF5A018, 5, 1)},  # ABS_DONE_0, _1
            crypt_count=Bits(0x3FF5A000, 20, 7),  # FLASH_CRYPT_CNT
            download_off=Bits(0x3FF5A000, 27, 1),  # UART_DOWNLOAD_DIS
        ),
        begin_words=4,
        revision=300,
        fixed={
            0x40001000: 0x00F01D83,  # ROM word that esptool knows the chip by
            0x3FF5A00C: 1 << 9,  # package 1: D0WD
            0x3FF5A010: 100,  # EFUSE_RD_CK8M_FREQ; with the next: a 40 MHz crystal
            0x3FF5F06C: 1024 << 7,  # RTC_CALI_VALUE: 1024 * 15625 * 100 / 40 = 40 MHz
            0x3FF6607C: 0x16042000,  # APB_CTRL_DATE
            0x3FF44038: 0x03,  # GPIO_STRAP: as the banner says; bit 5, flash at 1.8 V, is clear
            0x3FF42024: 0x70000000,
        },
        stub_words={0x3FF4201C: 0x80000000},
        uart_clock_divider=0x3FF40014,
    ),
    "esp32c3": ChipModel(
        name="esp32c3",
        image_id=5,
        security_info=security_info(5, 3),  # as a real v0.3 answers
        spi=SPI_C3,
        watchdog=WatchdogRegisters(config=0x60008090, timeout=0x60008094, protect=0x600080A8),
        efuses=efuses_c3(0x60008800),
        begin_words=5,
        revision=3,
        fixed=SPI_C3_IDLE,
    ),
    "esp32s3": ChipModel(
        name="esp32s3",
        image_id=9,
        security_info=security_info(9, 0),
        spi=SPI_C3,
        watchdog=WatchdogRegisters(config=0x60008098, timeout=0x6000809C, protect=0x600080B0),
        efuses=efuses_c3(0x60007000),
        begin_words=5,
        revision=2,
        # EFUSE_RD_SYS_PART1_DATA4: blocks of version 1, as all but the first chips
        fixed={**SPI_C3_IDLE, 0x6000706C: 1},
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
    room = model.efuses
    if major >= len(room.majors) or minor >> sum(bits.width for bits in room.minor):
        raise UsageError(f"an {model.name} of revision {text} cannot be: its eFuses have no room")
    return major * 100 + minor


def revision_text(revision: int) -> str:
    """300 as ``v3.0``."""
    return "v{}.{}".format(*divmod(revision, 100))


def make_chip(model: ChipModel, mac: bytes, revision: int | None = None) -> VirtualChip:
    """A chip of ``model``, of its usual revision if none is given."""
    return VirtualChip(model, mac, model.revision if revision is None else revision)
