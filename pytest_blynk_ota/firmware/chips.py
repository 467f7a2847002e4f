"""The chips that images can be made for, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.words import did_you_mean

MAPPED_PAGE_BYTES = 0x10000
"""Flash is mapped into the address space in pages of 64 KB (SPI_FLASH_MMU_PAGE_SIZE)."""

FIRST_SEGMENT_AT = 0x20
"""File offset of the first segment's data: behind the image header and its own."""


@dataclass(frozen=True, slots=True)
class Chip:
    """What an image has to respect on one chip (esptool targets/*.py, ESP-IDF soc.h).

    Attributes:
        name: esptool's name.
        image_id: ``chip_id`` in the extended image header.
        arch: instruction set, ``xtensa`` or ``riscv``.
        bootloader_offset: where in flash the ROM looks for the second-stage bootloader.
        drom, irom: address ranges of flash mapped as data and as code.
        dram_base, iram_base: where built images put what is loaded into RAM.
        ram: where a bootloader lets a segment be loaded to; empty: not known.
        mmap_bytes: how much flash a bootloader maps at once (``MMAP_MMU_SIZE``).
        newest_revision: that ESP-IDF knows of, major * 100 + minor (``*_REV_MAX_FULL``).
        usb_jtag: whether the chip has a USB-Serial-JTAG port of its own.
    """

    name: str
    image_id: int
    arch: str
    bootloader_offset: int
    drom: range
    irom: range
    dram_base: int
    iram_base: int
    ram: tuple[range, ...] = ()
    mmap_bytes: int = 0x800000
    newest_revision: int = 0xFFFF
    usb_jtag: bool = False

    @property
    def drom_base(self) -> int:
        """Where the constants of a built image are mapped: it begins at file offset 0x20."""
        return self.drom.start + FIRST_SEGMENT_AT

    @property
    def irom_base(self) -> int:
        """Where the code of a built image is mapped, on a page boundary of the constants."""
        return self.irom.start + FIRST_SEGMENT_AT

    def maps(self, address: int) -> bool:
        """Whether a segment at ``address`` stays in flash and is mapped (``should_map``)."""
        return address in self.drom or address in self.irom


CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip(
            name="esp32",
            image_id=0,
            arch="xtensa",
            bootloader_offset=0x1000,
            drom=range(0x3F400000, 0x3F800000),
            irom=range(0x400D0000, 0x40400000),
            dram_base=0x3FFB0000,
            iram_base=0x40080000,
            ram=(
                # What is seen by two addresses is held against both: of the DRAM from 0x3FFE0000
                # on, only the end is in what counts as IRAM.
                range(0x3FFAE000, 0x3FFE0000),
                range(0x3FFF5FFC, 0x40000000),
                range(0x40080000, 0x400AA000),
                range(0x400C0000, 0x400C2000),
                range(0x3FF80000, 0x3FF82000),
                range(0x50000000, 0x50002000),
            ),
            mmap_bytes=0x320000,
            newest_revision=399,
        ),
        Chip(
            name="esp32c3",
            image_id=5,
            arch="riscv",
            bootloader_offset=0x0,
            drom=range(0x3C000000, 0x3C800000),
            irom=range(0x42000000, 0x42800000),
            dram_base=0x3FC88000,
            iram_base=0x40380000,
            ram=(
                range(0x3FC80000, 0x3FCE0000),
                range(0x4037C000, 0x403E0000),
                range(0x50000000, 0x50002000),
            ),
            newest_revision=199,
            usb_jtag=True,
        ),
        Chip(
            name="esp32s3",
            image_id=9,
            arch="xtensa",
            bootloader_offset=0x0,
            drom=range(0x3C000000, 0x3E000000),
            irom=range(0x42000000, 0x44000000),
            dram_base=0x3FC88000,
            iram_base=0x40374000,
            ram=(
                range(0x3FC88000, 0x3FD00000),
                range(0x40370000, 0x403E0000),
                range(0x600FE000, 0x60100000),
                range(0x50000000, 0x50002000),
            ),
            mmap_bytes=0x2000000,
            newest_revision=99,
            usb_jtag=True,
        ),
    )
}

IMAGE_IDS: Mapping[int, str] = {
    0: "esp32",
    2: "esp32s2",
    5: "esp32c3",
    9: "esp32s3",
    12: "esp32c2",
    13: "esp32c6",
    16: "esp32h2",
    18: "esp32p4",
    20: "esp32c61",
    23: "esp32c5",
}
"""Chip ids of image headers (IMAGE_CHIP_ID in esptool 5): more than boards are known for."""


def chip(name: str) -> Chip:
    """The chip of this name.

    Raises:
        FirmwareError: it is none of ours.
    """
    if name not in CHIPS:
        known = ", ".join(CHIPS)
        raise FirmwareError(f"unknown chip {name!r}; known are {known}{did_you_mean(name, CHIPS)}")
    return CHIPS[name]


def chip_by_id(image_id: int) -> Chip | None:
    """The chip with this ``chip_id``; ``None`` if it is not one of ours."""
    return CHIPS.get(IMAGE_IDS.get(image_id, ""))
