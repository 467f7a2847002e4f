"""What an ESP-IDF application prints before ``app_main()``, by chip and release.

Sources: cpu_start.c, startup.c, esp_app_desc.c, esp_efuse_startup.c, heap_caps_init.c,
esp_flash_api.c, sleep_gpio.c, app_startup.c, port.c and the recorded logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.boot import generation
from pytest_blynk_ota.virtual.boot.bootlog import DUAL_CORE, Line, info
from pytest_blynk_ota.virtual.boot.generation import generation as age_of

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.idf import Version
    from pytest_blynk_ota.firmware.image import AppDesc

APP_CPU_ENTRY = 0x40081048
DETECTED = "winbond"
"""By the flash chip's manufacturer, 0xEF (spi_flash_chip_winbond.c)."""


@dataclass(frozen=True)
class Heap:
    """One region of free memory."""

    start: int
    size: int
    name: str


@dataclass(frozen=True)
class Target:
    """What differs from chip to chip.

    Attributes:
        console: receive and transmit pin of UART0.
        revisions: oldest and newest chip that an image runs on, without configuration.
        newest: the newest one that older releases knew, with the first that knows more.
        heaps, old_heaps: from IDF 5.2 on, and before.
    """

    console: tuple[int, int]
    revisions: tuple[str, str]
    newest: tuple[Version, str] | None
    heaps: tuple[Heap, ...]
    old_heaps: tuple[Heap, ...]
    isolates_pins: bool
    """Whether its pins keep their state in sleep by a work-around (sleep_gpio.c)."""


_ESP32_HEAPS = (
    Heap(0x3FFAE6E0, 0x1920, "DRAM"),
    Heap(0x3FFB3568, 0x2CA98, "DRAM"),
    Heap(0x3FFE0440, 0x3AE0, "D/IRAM"),
    Heap(0x3FFE4350, 0x1BCB0, "D/IRAM"),
    Heap(0x4008AB28, 0x154D8, "IRAM"),
)

TARGETS: Mapping[str, Target] = {
    "esp32": Target(
        console=(3, 1),
        revisions=("v0.0", "v3.99"),
        newest=None,
        heaps=_ESP32_HEAPS,
        old_heaps=_ESP32_HEAPS,
        isolates_pins=False,
    ),
    "esp32c3": Target(
        console=(20, 21),
        revisions=("v0.3", "v1.99"),
        newest=((5, 1, 0), "v0.99"),
        heaps=(
            Heap(0x3FC8BDE0, 0x34220, "RAM"),
            Heap(0x3FCC0000, 0x1C710, "Retention RAM"),
            Heap(0x3FCDC710, 0x2950, "Retention RAM"),
            Heap(0x50000020, 0x1FC8, "RTCRAM"),
        ),
        old_heaps=(
            Heap(0x3FC8C9F0, 0x33610, "DRAM"),
            Heap(0x3FCC0000, 0x1C710, "DRAM/RETENTION"),
            Heap(0x3FCDC710, 0x2950, "DRAM/RETENTION/STACK"),
            Heap(0x50000010, 0x1FD8, "RTCRAM"),
        ),
        isolates_pins=True,
    ),
    "esp32s3": Target(
        console=(44, 43),
        revisions=("v0.0", "v0.99"),
        newest=None,
        heaps=(
            Heap(0x3FC94660, 0x550B0, "RAM"),
            Heap(0x3FCE9710, 0x5724, "RAM"),
            Heap(0x3FCF0000, 0x8000, "DRAM"),
            Heap(0x600FE010, 0x1FD8, "RTCRAM"),
        ),
        old_heaps=(
            Heap(0x3FC94DF0, 0x54920, "DRAM"),
            Heap(0x3FCE9710, 0x5724, "STACK/DRAM"),
            Heap(0x3FCF0000, 0x8000, "DRAM"),
            Heap(0x600FE000, 0x2000, "RTCRAM"),
        ),
        isolates_pins=True,
    ),
}


def app_start(
    chip: str,
    revision: str,
    desc: AppDesc | None,
    *,
    mode: str = "DIO",
    more: tuple[Line, ...] = (),
) -> Iterator[Line]:
    """All lines up to ``app_main()``.

    Args:
        revision: of the chip, as ``v3.0``.
        desc: the application's description; it says which ESP-IDF it was built with.
        mode: how flash is read.
        more: what components print once flash is there (core dump).
    """
    age = age_of(desc.idf if desc else None)
    target = TARGETS[chip]
    yield from _cores(chip, age)
    if age >= generation.CONSOLE_PINS:
        receive, transmit = target.console
        pins = f"GPIO {receive} and {transmit} are used as console UART I/O pins"
        yield info("cpu_start", pins)
    yield info("cpu_start", "Pro cpu start user code")
    yield info("cpu_start", "cpu freq: 160000000 Hz" if age >= (5, 0, 0) else "cpu freq: 160000000")
    yield from _description(desc, age)
    yield from _revisions(target, revision, age)
    yield from _heaps(target, age)
    yield info("spi_flash", f"detected chip: {DETECTED}")
    yield info("spi_flash", f"flash io: {mode.lower()}")
    if target.isolates_pins:
        tag = "sleep_gpio" if age >= generation.PLAIN_LOG else "sleep"
        yield info(tag, "Configure to isolate all GPIO pins in sleep state")
        yield info(tag, "Enable automatic switching of GPIO sleep configuration")
    yield from more
    yield from _scheduler(chip, age)


def _cores(chip: str, age: Version) -> Iterator[Line]:
    dual = chip in DUAL_CORE
    yield info("cpu_start", "Multicore app" if dual else "Unicore app")
    if age >= generation.QUIET_CORES:
        return
    yield info("cpu_start", "Pro cpu up.")
    if dual:
        yield info("cpu_start", f"Starting app cpu, entry point is 0x{APP_CPU_ENTRY:x}")
        yield info("cpu_start", "App cpu up.")


def _description(desc: AppDesc | None, age: Version) -> Iterator[Line]:
    if desc is None:
        return
    tag = "app_init" if age >= generation.APP_INIT else "cpu_start"
    yield info(tag, "Application information:")
    fields = (
        ("Project name", desc.project),
        ("App version", desc.version),
        ("Secure version", str(desc.secure_version) if desc.secure_version else ""),
        ("Compile time", f"{desc.date} {desc.time}".strip()),
        ("ELF file SHA256", f"{elf_text(desc)}..."),
        ("ESP-IDF", desc.idf),
    )
    for name, value in fields:
        if value:
            yield info(tag, f"{name + ':':<17} {value}")


def elf_text(desc: AppDesc | None) -> str:
    """The short ELF hash in hex (CONFIG_APP_RETRIEVE_LEN_ELF_SHA)."""
    digits = 9 if age_of(desc.idf if desc else None) >= generation.SHORT_HASH else 16
    return (desc.elf_sha256.hex() if desc else "0" * digits)[:digits]


def _revisions(target: Target, revision: str, age: Version) -> Iterator[Line]:
    tag = "efuse_init" if age >= generation.APP_INIT else "cpu_start"
    least, most = target.revisions
    if target.newest is not None and age < target.newest[0]:
        most = target.newest[1]
    yield info(tag, f"Min chip rev:     {least}")
    yield info(tag, f"Max chip rev:     {most} ")
    yield info(tag, f"Chip rev:         {revision}")


def _heaps(target: Target, age: Version) -> Iterator[Line]:
    yield info("heap_init", "Initializing. RAM available for dynamic allocation:")
    for heap in target.heaps if age >= generation.PLAIN_HEAPS else target.old_heaps:
        size = f"len {heap.size:08X} ({heap.size // 1024} KiB)"
        yield info("heap_init", f"At {heap.start:08X} {size}: {heap.name}")


def _scheduler(chip: str, age: Version) -> Iterator[Line]:
    dual = chip in DUAL_CORE
    if age < generation.MAIN_TASK:
        if not dual:
            yield info("cpu_start", "Starting scheduler.")
            return
        yield info("cpu_start", "Starting scheduler on PRO CPU.")
        yield info("cpu_start", "Starting scheduler on APP CPU.")
        return
    if age < generation.QUIET_CORES:
        yield info("app_start", "Starting scheduler on CPU0")
        if dual:
            yield info("app_start", "Starting scheduler on CPU1")
    yield info("main_task", "Started on CPU0")
    yield info("main_task", "Calling app_main()")
