"""What a real chip prints from reset to the first line of the application.

Texts follow recorded logs of real ROMs, bootloaders and applications (ESP32: IDF 5.0.1 to 6.1,
ESP32-C3: IDF 5.2 to 6.1) and the ESP-IDF sources named beside each part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import AppDesc
    from pytest_blynk_ota.firmware.partitions import Partition

POWER_ON = 0x1
SOFTWARE_SYSTEM = 0x3
"""What the bootloader does when it cannot load anything (bootloader_reset)."""
SOFTWARE_CPU = 0xC
"""esp_restart() and the end of a panic."""

FLASH_MODES = {0: "QIO", 1: "QOUT", 2: "DIO", 3: "DOUT"}
CLOCK_DIVIDERS = {0x0: 2, 0x1: 3, 0x2: 4, 0xF: 1}
"""Low nibble of image byte 3 to divider of 80 MHz (esptool FLASH_FREQUENCY)."""
FLASH_SPEEDS = {0x0: "40MHz", 0x1: "26.7MHz", 0x2: "20MHz", 0xF: "80MHz"}


@dataclass(frozen=True)
class Rom:
    """The mask ROM's texts of one chip."""

    greeting: tuple[str, ...]
    strap: str
    download: str
    """The strap text of a start in download mode."""
    resets: Mapping[int, str]
    saved_pc: int | None
    config: tuple[str, ...]
    load: str
    bad_checksum: tuple[str, ...]
    watchdog: int
    """Code of the reset that ends a start without a usable bootloader."""


ROMS: Mapping[str, Rom] = {
    "esp32": Rom(
        greeting=("ets Jul 29 2019 12:21:46", ""),
        strap="boot:0x13 (SPI_FAST_FLASH_BOOT)",
        download="boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
        resets={
            0x1: "POWERON_RESET",
            0x3: "SW_RESET",
            0x5: "DEEPSLEEP_RESET",
            0x7: "TG0WDT_SYS_RESET",
            0x8: "TG1WDT_SYS_RESET",
            0x9: "RTCWDT_SYS_RESET",
            0xC: "SW_CPU_RESET",
            0xE: "EXT_CPU_RESET",
            0xF: "RTCWDT_BROWN_OUT_RESET",
            0x10: "RTCWDT_RTC_RESET",
        },
        saved_pc=None,
        config=(
            "configsip: 0, SPIWP:0xee",
            "clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00",
        ),
        load="load:0x{address:08x},len:{size}",
        bad_checksum=("csum err:0x{calculated:02x}!=0x{stored:02x}", "ets_main.c 371 "),
        watchdog=0x10,
    ),
    "esp32c3": Rom(
        greeting=("ESP-ROM:esp32c3-api1-20210207", "Build:Feb  7 2021"),
        strap="boot:0xf (SPI_FAST_FLASH_BOOT)",
        download="boot:0x5 (DOWNLOAD(USB/UART0/1))",
        resets={
            0x1: "POWERON",
            0x3: "RTC_SW_SYS_RST",
            0x5: "DSLEEP",
            0x7: "TG0WDT_SYS_RST",
            0x8: "TG1WDT_SYS_RST",
            0x9: "RTCWDT_SYS_RST",
            0xC: "RTC_SW_CPU_RST",
            0xF: "BROWNOUT_RST",
            0x10: "RTCWDT_RTC_RST",
            0x15: "USB_UART_CHIP_RESET",
        },
        saved_pc=0x40381C5A,
        config=("SPIWP:0xee",),
        load="load:0x{address:08x},len:0x{size:x}",
        bad_checksum=(
            "Checksum failure. Calculated 0x{calculated:02x} stored 0x{stored:02x}",
            "ets_main.c 333 ",
        ),
        watchdog=0x7,
    ),
    "esp32s3": Rom(
        greeting=("ESP-ROM:esp32s3-20210327", "Build:Mar 27 2021"),
        strap="boot:0x8 (SPI_FAST_FLASH_BOOT)",
        download="boot:0x0 (DOWNLOAD(USB/UART0))",
        resets={
            0x1: "POWERON",
            0x3: "RTC_SW_SYS_RST",
            0x5: "DSLEEP",
            0x7: "TG0WDT_SYS_RST",
            0x8: "TG1WDT_SYS_RST",
            0x9: "RTCWDT_SYS_RST",
            0xC: "RTC_SW_CPU_RST",
            0xF: "BROWN_OUT_RST",
            0x10: "RTCWDT_RTC_RST",
            0x15: "USB_UART_CHIP_RESET",
        },
        saved_pc=0x403CDB0A,
        config=("SPIWP:0xee",),
        load="load:0x{address:08x},len:0x{size:x}",
        bad_checksum=(
            "Checksum failure. Calculated 0x{calculated:02x} stored 0x{stored:02x}",
            "ets_main.c 329 ",
        ),
        watchdog=0x7,
    ),
}


def rom_banner(rom: Rom, cause: int) -> Iterator[str]:
    """The lines up to the reset cause; a C3 adds where it was when it was not powered on."""
    yield from rom.greeting
    yield f"rst:0x{cause:x} ({rom.resets.get(cause, 'UNKNOWN')}),{rom.strap}"
    if rom.saved_pc is not None and cause != POWER_ON:
        yield f"Saved PC:0x{rom.saved_pc:08x}"


def download_banner(rom: Rom, cause: int) -> Iterator[str]:
    """What the ROM says when it starts in download mode."""
    yield from rom.greeting
    yield f"rst:0x{cause:x} ({rom.resets.get(cause, 'UNKNOWN')}),{rom.download}"
    yield "waiting for download"


def rom_load(rom: Rom, header: bytes, segments: Iterable[tuple[int, int]]) -> Iterator[str]:
    """The lines with which the ROM loads the bootloader: ``segments`` are (address, size).

    ``header`` are the first four bytes of the bootloader image: mode and clock stand there.
    """
    yield from rom.config
    mode = FLASH_MODES.get(header[2], "DIO")
    yield f"mode:{mode}, clock div:{CLOCK_DIVIDERS.get(header[3] & 0xF, 2)}"
    for address, size in segments:
        if address:
            yield rom.load.format(address=address, size=size)


@dataclass(frozen=True)
class Line:
    """One line of ESP-IDF's log, still without its time stamp."""

    level: str
    tag: str
    text: str

    def render(self, milliseconds: int) -> str:
        """The line as the UART carries it, in the colours of IDF up to 5.5."""
        colour = COLOURS[self.level]
        return f"\x1b[0;{colour}m{self.level} ({milliseconds}) {self.tag}: {self.text}\x1b[0m"


COLOURS = {"E": 31, "W": 33, "I": 32}
"""esp_log_color.h."""


def info(tag: str, text: str) -> Line:
    """A line that a bootloader or application built at WARN level does not print."""
    return Line("I", tag, text)


def error(tag: str, text: str) -> Line:
    """A line that every build prints."""
    return Line("E", tag, text)


BOOTLOADER_IDF = "v5.1.4"
BOOTLOADER_BUILT = "Nov 23 2026 17:29:49"
CORES = {"esp32": "Multicore", "esp32c3": "Unicore"}
CONSOLE_PINS = {"esp32": "3 and 1", "esp32c3": "20 and 21"}


def greeting(chip: str, revision: str, header: bytes) -> Iterator[Line]:
    """The bootloader's first lines (bootloader_init.c, bootloader_flash_config_*.c)."""
    yield info("boot", f"ESP-IDF {BOOTLOADER_IDF} 2nd stage bootloader")
    yield info("boot", f"compile time {BOOTLOADER_BUILT}")
    if CORES.get(chip) == "Multicore":
        yield info("boot", "Multicore bootloader")
    yield info("boot", f"chip revision: {revision}")
    tag = f"boot.{chip}"
    yield info(tag, f"SPI Speed      : {FLASH_SPEEDS.get(header[3] & 0xF, '40MHz')}")
    yield info(tag, f"SPI Mode       : {FLASH_MODES.get(header[2], 'DIO')}")
    yield info(tag, f"SPI Flash Size : {flash_bytes(header) >> 20}MB")
    yield info("boot", "Enabling RNG early entropy source...")


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


def app_start(chip: str, revision: str, desc: AppDesc | None) -> Iterator[Line]:
    """What an ESP-IDF application prints before app_main (cpu_start.c, esp_app_desc.c)."""
    yield info("cpu_start", f"{CORES.get(chip, 'Unicore')} app")
    if chip in CONSOLE_PINS:
        pins = CONSOLE_PINS[chip]
        yield info("cpu_start", f"GPIO {pins} are used as console UART I/O pins")
    yield info("cpu_start", "Pro cpu start user code")
    yield info("cpu_start", "cpu freq: 160000000 Hz")
    if desc is not None:
        yield from _description(desc)
    yield info("efuse_init", f"Chip rev:         {revision}")
    yield info("spi_flash", "detected chip: generic")
    yield info("spi_flash", "flash io: dio")
    yield info("main_task", "Started on CPU0")
    yield info("main_task", "Calling app_main()")


SHA_SHOWN = 9
"""Hex digits of the ELF hash (CONFIG_APP_RETRIEVE_LEN_ELF_SHA, IDF from 5.1 on)."""


def _description(desc: AppDesc) -> Iterator[Line]:
    yield info("app_init", "Application information:")
    fields = (
        ("Project name", desc.project),
        ("App version", desc.version),
        ("Compile time", f"{desc.date} {desc.time}"),
        ("ELF file SHA256", f"{elf_text(desc)}..."),
        ("ESP-IDF", desc.idf),
    )
    for name, value in fields:
        yield info("app_init", f"{name + ':':<17} {value}")


def elf_text(desc: AppDesc) -> str:
    """The short ELF hash in hex."""
    return desc.elf_sha256.hex()[:SHA_SHOWN]
