"""The application that the bootloader started: what its bytes say it does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.virtual.app import console, coredump, ending
from pytest_blynk_ota.virtual.app.context import Context
from pytest_blynk_ota.virtual.app.firmwares import FIRMWARES
from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
from pytest_blynk_ota.virtual.app.trouble import CrashPlan
from pytest_blynk_ota.virtual.boot.applog import app_start
from pytest_blynk_ota.virtual.boot.bootloader import revision_text
from pytest_blynk_ota.virtual.boot.endings import Panic
from pytest_blynk_ota.virtual.boot.generation import coloured, generation
from pytest_blynk_ota.virtual.boot.rom import FLASH_MODES

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image
    from pytest_blynk_ota.virtual.boot.bootloader import Started
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine

STARTUP_TEXT = b"Project name:"
"""A build that logs at INFO holds this format string (esp_app_desc.c)."""
ILLEGAL_BYTES = {"xtensa": 3, "riscv": 2}
"""Length of the instruction that is illegal when all its bytes are zero."""


async def run(machine: Machine, log: Log, started: Started, cause: int) -> NoReturn:
    """Run the application until it resets the chip.

    Args:
        cause: of the reset before it.

    Raises:
        Reset: always; a hang does not return.
    """
    image = started.image
    arch = CHIPS[machine.chip.name].arch
    try:
        _enter(image, arch)
        behaviour = image.behaviour
        _begin(machine, log, started)
        if behaviour is None or behaviour.kind != "app":
            await _not_ours(machine, log, image)
        plan = CrashPlan(machine, behaviour, image.sha256)
        ota = OtaOps(machine, log, started)
        await _live(Context(machine, log, started, behaviour, plan, ota, cause))
    except Panic as crash:
        await ending.end(machine, log, started, crash)


def _enter(image: Image, arch: str) -> None:
    """Fetch the first instruction.

    Raises:
        Panic: it is one that no processor of this kind has.
    """
    size = ILLEGAL_BYTES[arch]
    for segment in image.segments:
        start = image.entry - segment.address
        if start >= 0 and start + size <= len(segment.data):
            if not any(segment.data[start : start + size]):
                raise Panic("illegal", image.entry)
            return


def _begin(machine: Machine, log: Log, started: Started) -> None:
    """What ESP-IDF prints before the application's own code."""
    image, chip = started.image, machine.chip
    log.verbose = _logs_at_info(image)
    log.coloured = coloured(generation(image.app_desc.idf if image.app_desc else None))
    mode = FLASH_MODES.get(image.data[2], "DIO")
    more = coredump.at_start(image.behaviour.coredump if image.behaviour else "", started.table)
    log.idf(
        app_start(chip.name, revision_text(chip.revision), image.app_desc, mode=mode, more=more)
    )


def _logs_at_info(image: Image) -> bool:
    if image.behaviour is not None:
        return image.behaviour.log == "info"
    return STARTUP_TEXT in image.data


async def _not_ours(machine: Machine, log: Log, image: Image) -> NoReturn:
    """A real chip would run it; this one says why it does not."""
    desc = image.app_desc
    what = f"{desc.project} {desc.version}" if desc else "no application description"
    why = "cannot be read" if image.malformed_behaviour else "is not there"
    log.text(
        f"virtual board: the behaviour segment of the image in this slot ({what}) {why}:",
        "virtual board: its code cannot be run here; the board stays up and does nothing.",
        *(f"virtual board: {problem}" for problem in image.problems),
    )
    machine.complain(f"the image {what} does not run here: "
                     f"{image.malformed_behaviour or 'it has no behaviour segment'}")  # fmt: skip
    await asyncio.Event().wait()
    raise AssertionError("an event that nobody sets was set")


async def _live(context: Context) -> NoReturn:
    """The firmware, its console, and trouble that comes whatever they do: the first ends all."""
    firmware = FIRMWARES[context.behaviour.profile](context)
    lives = (
        firmware.run(),
        console.serve(context.machine, firmware.console()),
        context.crash.strike(),
    )
    tasks = {asyncio.ensure_future(life) for life in lives}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    raise AssertionError("a firmware ended without a reset")
