"""What the mask ROM of each chip prints, from the reset to the bootloader's entry.

Texts follow recorded logs of real ROMs; those that no recording has follow logs in the issues of
espressif/esp-idf, and the names of reset causes ``rom/rtc.h`` of each chip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

POWER_ON = 0x1
SOFTWARE_SYSTEM = 0x3
"""What the bootloader does when it cannot load anything (bootloader_reset)."""
DEEP_SLEEP = 0x5
SOFTWARE_CPU = 0xC
"""esp_restart() and the end of a panic."""
BROWNOUT = 0xF
RTC_WATCHDOG = 0x10

FLASH_MODES = {0: "QIO", 1: "QOUT", 2: "DIO", 3: "DOUT"}
CLOCK_DIVIDERS = {0x0: 2, 0x1: 3, 0x2: 4, 0xF: 1}
"""Low nibble of image byte 3 to divider of 80 MHz (esptool FLASH_FREQUENCY)."""
HEADER_BYTES = 24
SEGMENT_HEADER_BYTES = 8
READ_BYTES = 16
"""ESP32's ROM reads flash in pieces of this size, and says so of a header that lies across two."""
FORGETS_PC = frozenset({POWER_ON, DEEP_SLEEP, BROWNOUT, RTC_WATCHDOG})
"""Causes that reset the record of the program counter too."""


@dataclass(frozen=True)
class Rom:
    """The mask ROM's texts of one chip."""

    greeting: tuple[str, ...]
    strap: str
    download: str
    """The strap text of a start in download mode."""
    resets: Mapping[int, str]
    saved_pc: int | None
    """Where the program was, of chips that record it; ``None``: it does not."""
    config: tuple[str, ...]
    load: str
    straddle: str | None
    """Of a segment's header that lies across two reads."""
    bad_segment: tuple[str, ...]
    bad_checksum: tuple[str, ...]
    bad_hash: tuple[str, ...]
    """Of an appended SHA-256 that does not fit: it starts nevertheless. Empty: does not look."""
    watchdog: int
    """Code of the reset that ends a start without a usable bootloader."""


RESETS_ESP32 = {
    POWER_ON: "POWERON_RESET",
    SOFTWARE_SYSTEM: "SW_RESET",
    0x4: "OWDT_RESET",
    DEEP_SLEEP: "DEEPSLEEP_RESET",
    0x6: "SDIO_RESET",
    0x7: "TG0WDT_SYS_RESET",
    0x8: "TG1WDT_SYS_RESET",
    0x9: "RTCWDT_SYS_RESET",
    0xA: "INTRUSION_RESET",
    0xB: "TGWDT_CPU_RESET",
    SOFTWARE_CPU: "SW_CPU_RESET",
    0xD: "RTCWDT_CPU_RESET",
    0xE: "EXT_CPU_RESET",
    BROWNOUT: "RTCWDT_BROWN_OUT_RESET",
    RTC_WATCHDOG: "RTCWDT_RTC_RESET",
}
RESETS_LATER = {
    POWER_ON: "POWERON",
    SOFTWARE_SYSTEM: "RTC_SW_SYS_RST",
    DEEP_SLEEP: "DSLEEP",
    0x7: "TG0WDT_SYS_RST",
    0x8: "TG1WDT_SYS_RST",
    0x9: "RTCWDT_SYS_RST",
    0xA: "INTRUSION_RST",
    0xB: "TG0WDT_CPU_RST",
    SOFTWARE_CPU: "RTC_SW_CPU_RST",
    0xD: "RTCWDT_CPU_RST",
    BROWNOUT: "BROWNOUT_RST",
    RTC_WATCHDOG: "RTCWDT_RTC_RST",
    0x11: "TG1WDT_CPU_RST",
    0x12: "SUPER_WDT_RST",
    0x13: "GLITCH_RTC_RST",
    0x14: "EFUSE_RST",
    0x15: "USB_UART_CHIP_RESET",
    0x16: "USB_JTAG_CHIP_RESET",
    0x17: "POWER_GLITCH_RST",
}
"""ESP32-C3 and ESP32-S3."""

HASH_FAILED = (
    "SHA-256 comparison failed:",
    "Calculated: {calculated}",
    "Expected: {stored}",
    "Attempting to boot anyway...",
)
LATER_CHECKSUM = "Checksum failure. Calculated 0x{calculated:02x} stored 0x{stored:02x}"
LATER_LOAD = "load:0x{address:08x},len:0x{size:x}"
INVALID_BLOCK = "Invalid image block, can't boot."

ROMS: Mapping[str, Rom] = {
    "esp32": Rom(
        greeting=("ets Jul 29 2019 12:21:46", ""),
        strap="boot:0x13 (SPI_FAST_FLASH_BOOT)",
        download="boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
        resets=RESETS_ESP32,
        saved_pc=None,
        config=(
            "configsip: 0, SPIWP:0xee",
            "clk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00",
        ),
        load="load:0x{address:08x},len:{size}",
        straddle="ho 0 tail {tail} room {room}",
        bad_segment=(),
        bad_checksum=("csum err:0x{calculated:02x}!=0x{stored:02x}", "ets_main.c 371 "),
        bad_hash=(),
        watchdog=RTC_WATCHDOG,
    ),
    "esp32c3": Rom(
        greeting=("ESP-ROM:esp32c3-api1-20210207", "Build:Feb  7 2021"),
        strap="boot:0xf (SPI_FAST_FLASH_BOOT)",
        download="boot:0x5 (DOWNLOAD(USB/UART0/1))",
        resets=RESETS_LATER,
        saved_pc=0x40381C5A,
        config=("SPIWP:0xee",),
        load=LATER_LOAD,
        straddle=None,
        bad_segment=(INVALID_BLOCK, "ets_main.c 333 "),
        bad_checksum=(LATER_CHECKSUM, "ets_main.c 333 "),
        bad_hash=HASH_FAILED,
        watchdog=0x7,
    ),
    "esp32s3": Rom(
        greeting=("ESP-ROM:esp32s3-20210327", "Build:Mar 27 2021"),
        strap="boot:0x8 (SPI_FAST_FLASH_BOOT)",
        download="boot:0x0 (DOWNLOAD(USB/UART0))",
        resets=RESETS_LATER,
        saved_pc=0x403CDB0A,
        config=("SPIWP:0xee",),
        load=LATER_LOAD,
        straddle=None,
        bad_segment=(INVALID_BLOCK, "ets_main.c 329 "),
        bad_checksum=(LATER_CHECKSUM, "ets_main.c 329 "),
        bad_hash=HASH_FAILED,
        watchdog=0x7,
    ),
}


def rom_banner(rom: Rom, cause: int) -> Iterator[str]:
    """The lines up to the reset cause, and where the program was if the chip still knows."""
    yield from rom.greeting
    yield f"rst:0x{cause:x} ({rom.resets.get(cause, 'UNKNOWN')}),{rom.strap}"
    if rom.saved_pc is not None and cause not in FORGETS_PC:
        yield f"Saved PC:0x{rom.saved_pc:08x}"


def download_banner(rom: Rom, cause: int) -> Iterator[str]:
    """What the ROM says when it starts in download mode."""
    yield from rom.greeting
    yield f"rst:0x{cause:x} ({rom.resets.get(cause, 'UNKNOWN')}),{rom.download}"
    yield "waiting for download"


CLOSED = "Download mode is disabled. Restart with GPIO0 high."
"""What an ESP32 says instead, where UART_DOWNLOAD_DIS is burnt (esp-idf#6106). That the others say
it in the same words is a guess: ESP-IDF documents only that they print an error."""


def closed_banner(rom: Rom, cause: int) -> Iterator[str]:
    """What the ROM says where download mode is asked for, and closed; it does nothing more."""
    yield from rom.greeting
    yield f"rst:0x{cause:x} ({rom.resets.get(cause, 'UNKNOWN')}),{rom.download}"
    yield CLOSED


def rom_load(rom: Rom, header: bytes, segments: Iterable[tuple[int, int]]) -> Iterator[str]:
    """The lines with which the ROM loads the bootloader: ``segments`` are (address, size).

    ``header`` are the first four bytes of the bootloader image: mode and clock stand there.
    """
    yield from rom.config
    mode = FLASH_MODES.get(header[2], "DIO")
    yield f"mode:{mode}, clock div:{CLOCK_DIVIDERS.get(header[3] & 0xF, 2)}"
    at = HEADER_BYTES
    for address, size in segments:
        tail = at % READ_BYTES
        if rom.straddle is not None and tail > READ_BYTES - SEGMENT_HEADER_BYTES:
            yield rom.straddle.format(tail=tail, room=READ_BYTES - tail)
        if address:
            yield rom.load.format(address=address, size=size)
        at += SEGMENT_HEADER_BYTES + size
