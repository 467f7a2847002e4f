"""What the second-stage bootloader of a real chip prints.

Texts follow recorded logs (ESP32: IDF 5.0.1 to 6.1, ESP32-C3: IDF 5.2 to 6.1) and the ESP-IDF
sources named beside each part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.boot import generation
from pytest_blynk_ota.virtual.boot.rom import FLASH_MODES, POWER_ON

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition

FLASH_SPEEDS = {0x0: "40MHz", 0x1: "26.7MHz", 0x2: "20MHz", 0xF: "80MHz"}
COLOURS = {"E": 31, "W": 33, "I": 32}
"""esp_log_color.h."""
DUAL_CORE = frozenset({"esp32", "esp32s3"})
SPEED_LABELS = {"esp32s3": "Boot SPI Speed :"}
"""bootloader_flash_config_esp32s3.c says it in other words."""
WATCHDOGS = frozenset({0x7, 0x8, 0x9, 0xB, 0xD})
"""Causes after which it says that a watchdog bit (bootloader_check_wdt_reset)."""
STUCK_PC = 0x400D4F83
"""Where a program hung, of which ESP32's bootloader tells after the watchdog's bite."""


@dataclass(frozen=True)
class Line:
    """One line of ESP-IDF's log, still without its time stamp."""

    level: str
    tag: str
    text: str

    def render(self, milliseconds: int, *, coloured: bool = True) -> str:
        """The line as the UART carries it."""
        plain = f"{self.level} ({milliseconds}) {self.tag}: {self.text}"
        return f"\x1b[0;{COLOURS[self.level]}m{plain}\x1b[0m" if coloured else plain


def info(tag: str, text: str) -> Line:
    """A line that a bootloader or application built at WARN level does not print."""
    return Line("I", tag, text)


def warning(tag: str, text: str) -> Line:
    """A line that every build prints."""
    return Line("W", tag, text)


def error(tag: str, text: str) -> Line:
    """A line that every build prints."""
    return Line("E", tag, text)


def greeting(
    chip: str, revision: str, header: bytes, *, idf: str, built: str | None, cause: int = POWER_ON
) -> Iterator[Line]:
    """The bootloader's first lines (bootloader_init.c, bootloader_flash_config_*.c).

    Args:
        revision: of the chip, as ``v3.0``.
        header: the first four bytes of its image.
        idf: ESP-IDF's version in it.
        built: date and time; ``None``: it was built to be reproducible.
        cause: of the reset.
    """
    age = generation.generation(idf)
    yield info("boot", f"ESP-IDF {idf} 2nd stage bootloader")
    if built is not None:
        shown = built if age >= generation.DATE_OF_BUILD else built.rpartition(" ")[2]
        yield info("boot", f"compile time {shown}")
    if chip in DUAL_CORE:
        yield info("boot", "Multicore bootloader")
    yield info("boot", f"chip revision: {revision}")
    if chip != "esp32" and age >= generation.EFUSE_REVISION:
        yield info("boot", "efuse block revision: v0.0")
    tag = f"boot.{chip}"
    speed = FLASH_SPEEDS.get(header[3] & 0xF, "40MHz")
    yield info(tag, f"{SPEED_LABELS.get(chip, 'SPI Speed      :')} {speed}")
    yield info(tag, f"SPI Mode       : {FLASH_MODES.get(header[2], 'DIO')}")
    yield info(tag, f"SPI Flash Size : {flash_bytes(header) >> 20}MB")
    yield from bitten(chip, cause)
    yield info("boot", "Enabling RNG early entropy source...")


def bitten(chip: str, cause: int) -> Iterator[Line]:
    """What it says after a watchdog's reset (bootloader_esp32*.c); the ROM of the later chips
    has named the program counter already."""
    if cause not in WATCHDOGS:
        return
    tag = f"boot.{chip}"
    cores = ("PRO", "APP") if chip in DUAL_CORE else ("PRO",)
    yield from (warning(tag, f"{core} CPU has been reset by WDT.") for core in cores)
    if chip == "esp32":
        for core in cores:
            yield warning(tag, f"WDT reset info: {core} CPU PC=0x{STUCK_PC:x}")


def flash_bytes(header: bytes) -> int:
    """The flash size in an image header: a power of two, in MB."""
    return 1 << 20 + (header[3] >> 4)


USAGE = {
    (0, 0x00): "factory app",
    (0, 0x20): "test app",
    (1, 0x00): "OTA data",
    (1, 0x01): "RF data",
    (1, 0x02): "WiFi data",
    (1, 0x03): "Unknown data",
    (1, 0x04): "NVS keys",
    (1, 0x05): "efuse",
}
"""bootloader_utility.c, by partition type and subtype."""


def usage(partition: Partition) -> str:
    """The word for a partition in the bootloader's table."""
    if partition.type == 0 and 0x10 <= partition.subtype < 0x20:
        return "OTA app"
    unknown = {0: "Unknown app", 1: "Unknown data"}.get(partition.type, "Unknown type")
    return USAGE.get((partition.type, partition.subtype), unknown)


def table(rows: Iterable[Partition]) -> Iterator[Line]:
    """The partition table as the bootloader prints it (bootloader_utility.c)."""
    yield info("boot", "Partition Table:")
    yield info("boot", "## Label            Usage          Type ST Offset   Length")
    for number, row in enumerate(rows):
        place = f"{row.type:02x} {row.subtype:02x} {row.offset:08x} {row.size:08x}"
        yield info("boot", f"{number:2d} {row.label:16s} {usage(row):16s} {place}")
    yield info("boot", "End of partition table")
