"""One boot, from reset to reset: mask ROM, bootloader, application."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import (
    HASH_BYTES,
    HEADER,
    MAGIC,
    MAX_SEGMENTS,
    SEGMENT,
    checksum,
    checksum_at,
    parse,
)
from pytest_blynk_ota.virtual.app import start as app
from pytest_blynk_ota.virtual.boot import bootloader
from pytest_blynk_ota.virtual.boot.endings import Reset, forget_if_powered_on
from pytest_blynk_ota.virtual.boot.log import Log
from pytest_blynk_ota.virtual.boot.rom import ROMS, Rom, rom_banner, rom_load

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image
    from pytest_blynk_ota.virtual.chip.flash import NorFlash
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
        await app.run(machine, log, started, cause)
    except Reset as reset:
        return reset.cause


async def start(machine: Machine, cause: int) -> tuple[Log, bootloader.Started]:
    """ROM and bootloader: the log of this boot, and what they hand over to the application.

    A sweep of power cuts runs this on paper, without the application behind it.

    Raises:
        Reset: there is nothing to start.
    """
    log = Log(machine)
    machine.stage = "rom"
    image = await _rom(machine, log, cause)
    machine.stage = "bootloader"
    return log, await bootloader.run(machine, log, image, cause)


async def _rom(machine: Machine, log: Log, cause: int) -> Image:
    """The mask ROM: print the banner and load the bootloader, of which it checks the XOR sum.

    Raises:
        Reset: by the watchdog, if there is nothing to load.
    """
    chip = CHIPS[machine.chip.name]
    rom = ROMS[chip.name]
    log.text(*rom_banner(rom, cause))
    await machine.clock.spend(ROM_S)
    start = chip.bootloader_offset
    header = machine.flash.read(start, HEADER.size)
    if header[0] != MAGIC:
        await _no_header(machine, log, rom, header)
    segments = list(_segments(machine.flash, start, count=header[1]))
    log.text(*rom_load(rom, header, segments))
    end = checksum_at(HEADER.size + sum(SEGMENT.size + size for _, size in segments)) + 1
    image = parse(machine.flash.read(start, min(end + HASH_BYTES, machine.flash.size - start)))
    if len(image.segments) < max(header[1], 1):
        await _stuck(machine, log, rom, rom.bad_segment)
    if not image.checksum_ok:
        await _bad_checksum(machine, log, rom, image)
    if not image.hash_ok:
        log.text(*_bad_hash(rom, image))
    log.text(f"entry 0x{image.entry:08x}")
    if any(chip.maps(segment.address) for segment in image.segments):
        # an application: it lies where flash is to be mapped, which nobody has done
        await _stuck(machine, log, rom, ())
    return image


def _segments(flash: NorFlash, start: int, count: int) -> Iterator[tuple[int, int]]:
    """Address and size of each segment, the first one that does not end in flash included."""
    at = start + HEADER.size
    for _ in range(min(count, MAX_SEGMENTS)):
        if at + SEGMENT.size > flash.size:
            return
        address, size = SEGMENT.unpack(flash.read(at, SEGMENT.size))
        yield address, size
        at += SEGMENT.size + size


async def _no_header(machine: Machine, log: Log, rom: Rom, data: bytes) -> NoReturn:
    word = int.from_bytes(data[:4], "little")
    for _ in range(HEADER_TRIES):
        log.text(f"invalid header: 0x{word:08x}")
        await machine.clock.sleep(WATCHDOG_S / HEADER_TRIES)
    raise Reset(rom.watchdog)


async def _bad_checksum(machine: Machine, log: Log, rom: Rom, image: Image) -> NoReturn:
    calculated = checksum(part.data for part in image.segments)
    stored = image.data[image.length - 1 - (HASH_BYTES if image.hash_appended else 0)]
    words = tuple(line.format(calculated=calculated, stored=stored) for line in rom.bad_checksum)
    await _stuck(machine, log, rom, words)


def _bad_hash(rom: Rom, image: Image) -> Iterator[str]:
    end = image.length - HASH_BYTES
    calculated = hashlib.sha256(image.data[:end]).hexdigest()
    stored = image.data[end : image.length].hex()
    for line in rom.bad_hash:
        yield line.format(calculated=calculated, stored=stored)


async def _stuck(machine: Machine, log: Log, rom: Rom, words: tuple[str, ...]) -> NoReturn:
    """Say ``words``, if any, and wait for the watchdog."""
    log.text(*words)
    await machine.clock.sleep(WATCHDOG_S)
    raise Reset(rom.watchdog)
