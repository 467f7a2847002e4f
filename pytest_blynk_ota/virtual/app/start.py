"""The application that the bootloader started: what its bytes say it does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.virtual.app import console, panic
from pytest_blynk_ota.virtual.app.context import Context
from pytest_blynk_ota.virtual.app.firmwares import FIRMWARES
from pytest_blynk_ota.virtual.app.ota_ops import OtaOps
from pytest_blynk_ota.virtual.app.trouble import CrashPlan
from pytest_blynk_ota.virtual.boot.bootloader import revision_text
from pytest_blynk_ota.virtual.boot.bootlog import SOFTWARE_CPU, app_start, elf_text
from pytest_blynk_ota.virtual.boot.endings import Panic, Reset

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image
    from pytest_blynk_ota.virtual.boot.bootloader import Started
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine

STARTUP_TEXT = b"Project name:"
"""A build that logs at INFO holds this format string (esp_app_desc.c)."""
ILLEGAL_BYTES = {"xtensa": 3, "riscv": 2}
"""Length of the instruction that is illegal when all its bytes are zero."""
PANIC_BYTES_PER_S = 11520
"""The panic handler polls the UART until each byte is out, at 115200 baud (panic.c)."""


async def run(machine: Machine, log: Log, started: Started) -> NoReturn:
    """Run the application until it resets the chip.

    Raises:
        Reset: always; a hang does not return.
    """
    image = started.image
    arch = CHIPS[machine.chip.name].arch
    try:
        _enter(image, arch)
        behaviour = image.behaviour
        log.verbose = _logs_at_info(image)
        log.idf(app_start(machine.chip.name, revision_text(machine.chip.revision), image.app_desc))
        if behaviour is None or behaviour.kind != "app":
            await _not_ours(log, image)
        plan = CrashPlan(machine, behaviour, image.sha256)
        ota = OtaOps(machine, log, started)
        await _live(Context(machine, log, started, behaviour, plan, ota))
    except Panic as crash:
        elf = elf_text(image.app_desc) if image.app_desc else "0" * 9
        words = _last_words(arch, crash, elf)
        log.text(*words)
        await machine.clock.spend(sum(len(line) + 2 for line in words) / PANIC_BYTES_PER_S)
        raise Reset(SOFTWARE_CPU) from crash


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


def _logs_at_info(image: Image) -> bool:
    if image.behaviour is not None:
        return image.behaviour.log == "info"
    return STARTUP_TEXT in image.data


async def _not_ours(log: Log, image: Image) -> NoReturn:
    desc = image.app_desc
    what = f"{desc.project} {desc.version}" if desc else "no application description"
    log.text(
        f"virtual board: the image in this slot ({what}) has no behaviour segment,",
        "virtual board: its code cannot be run here; the board stays up and does nothing.",
        *(f"virtual board: {problem}" for problem in image.problems),
    )
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


def _last_words(arch: str, crash: Panic, elf: str) -> list[str]:
    if crash.how == "abort":
        return list(panic.abort(arch, elf))
    cause = panic.ILLEGAL if crash.how == "illegal" else panic.LOAD
    return list(panic.exception(arch, cause, elf, crash.pc))
