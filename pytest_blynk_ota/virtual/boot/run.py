"""One boot, from reset to reset: mask ROM, bootloader, application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import HASH_BYTES, MAGIC, Image, checksum, parse
from pytest_blynk_ota.firmware.partitions import TABLE_OFFSET
from pytest_blynk_ota.virtual.app import start as app
from pytest_blynk_ota.virtual.boot import bootloader
from pytest_blynk_ota.virtual.boot.bootlog import ROMS, Rom, rom_banner, rom_load
from pytest_blynk_ota.virtual.boot.endings import Reset, forget_if_powered_on
from pytest_blynk_ota.virtual.boot.log import Log

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.machine import Machine

ROM_S = 0.05
"""Reset to the first instruction of the bootloader."""
WATCHDOG_S = 1.0
"""The ROM's watchdog, from the reset on."""
HEADER_TRIES = 8
"""``invalid header`` lines until the watchdog bites."""


async def execute(machine: Machine, cause: int) -> int:
    """Run one boot; return the cause code of the reset that ends it. A hang never returns."""
    forget_if_powered_on(machine, cause)
    try:
        log, started = await start(machine, cause)
        machine.stage = "app"
        await app.run(machine, log, started)
    except Reset as reset:
        return reset.cause


async def start(machine: Machine, cause: int) -> tuple[Log, bootloader.Started]:
    """ROM and bootloader: the log of this boot, and what they hand over to the application.

    Raises:
        Reset: there is nothing to start.
    """
    log = Log(machine)
    machine.stage = "rom"
    image = await _rom(machine, log, cause)
    machine.stage = "bootloader"
    return log, await bootloader.run(machine, log, image)


async def _rom(machine: Machine, log: Log, cause: int) -> Image:
    """The mask ROM: print the banner and load the bootloader, of which it checks the XOR sum.

    Raises:
        Reset: by the watchdog, if there is nothing to load.
    """
    rom = ROMS[machine.chip.name]
    log.text(*rom_banner(rom, cause))
    await machine.clock.spend(ROM_S)
    offset = CHIPS[machine.chip.name].bootloader_offset
    data = machine.flash.read(offset, TABLE_OFFSET - offset)
    image = _readable(data)
    if image is None:
        await _no_header(machine, log, rom, data)
    assert image is not None
    segments = [(segment.address, len(segment.data)) for segment in image.segments]
    log.text(*rom_load(rom, data, segments))
    if not image.checksum_ok:
        await _bad_checksum(machine, log, rom, image)
    log.text(f"entry 0x{image.entry:08x}")
    return image


def _readable(data: bytes) -> Image | None:
    if data[0] != MAGIC:
        return None
    try:
        return parse(data, "the bootloader")
    except FirmwareError:
        return None


async def _no_header(machine: Machine, log: Log, rom: Rom, data: bytes) -> None:
    word = int.from_bytes(data[:4], "little")
    for _ in range(HEADER_TRIES):
        log.text(f"invalid header: 0x{word:08x}")
        await machine.clock.sleep(WATCHDOG_S / HEADER_TRIES)
    raise Reset(rom.watchdog)


async def _bad_checksum(machine: Machine, log: Log, rom: Rom, image: Image) -> None:
    calculated = checksum(part.data for part in image.segments)
    stored = image.data[image.length - 1 - (HASH_BYTES if image.hash_appended else 0)]
    for line in rom.bad_checksum:
        log.text(line.format(calculated=calculated, stored=stored))
    await machine.clock.sleep(WATCHDOG_S)
    raise Reset(rom.watchdog)
