"""The second-stage bootloader: it does what firmware.bootrules decides, and says so.

How it was built is in its own image: our bootloaders carry a behaviour segment. For a foreign one
the rig file says whether it rolls back; release and log show in the strings that it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import loaderinfo
from pytest_blynk_ota.firmware.bootrules import Decision, Reader, Write, decide
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import parse
from pytest_blynk_ota.virtual.boot import bootlog, generation
from pytest_blynk_ota.virtual.boot.bootlog import Line, error
from pytest_blynk_ota.virtual.boot.endings import Reset
from pytest_blynk_ota.virtual.boot.rom import SOFTWARE_SYSTEM

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image
    from pytest_blynk_ota.firmware.partitions import Partition, PartitionTable
    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine

BOOTLOADER_S = 0.25
"""From the ROM's jump to the application's entry."""
RELEASE = "v5.1.4"
"""Of a bootloader that does not tell its own."""


@dataclass(frozen=True)
class Build:
    """How a bootloader was built.

    Attributes:
        verbose: whether it logs at INFO.
        secured: whether it refuses images below the secure version in the eFuses.
        idf: ESP-IDF's version in it; ``None``: it does not say.
        built: when; ``None``: it does not say.
    """

    rollback: bool
    verbose: bool
    coloured: bool
    secured: bool
    idf: str | None
    built: str | None


@dataclass(frozen=True)
class Started:
    """What the bootloader hands over.

    Attributes:
        partition: where the application stands.
        image: the application, without what lies behind it in the partition.
        rollback, secured: whether this build knows rollback, and anti-rollback; the application
            shares its sdkconfig.
    """

    partition: Partition
    image: Image
    table: PartitionTable
    rollback: bool
    secured: bool = False


async def run(machine: Machine, log: Log, own: Image, cause: int) -> Started:
    """Choose the application, write otadata as the rules say, and start it.

    Args:
        cause: of the reset that led here.

    Raises:
        Reset: there is nothing to start.
    """
    build = _build(machine, own)
    log.verbose, log.coloured = build.verbose, build.coloured
    chip = machine.chip
    log.idf(
        bootlog.greeting(
            chip.name,
            revision_text(chip.revision),
            own.data[:4],
            idf=build.idf or RELEASE,
            built=build.built,
            cause=cause,
        )
    )
    await machine.clock.spend(BOOTLOADER_S)
    decision = _decide(machine, log, own, build)
    log.idf(bootlog.table(decision.table.rows))
    for step in decision.steps:
        if isinstance(step, Write):
            await machine.erase(step.offset, step.erase)
            await machine.program(step.offset, step.data)
        else:
            log.idf([Line(step.level, step.tag, step.text)])
    if decision.burn is not None:
        machine.efuses.burn_secure_version(decision.burn)
    if decision.loaded is None:
        raise Reset(SOFTWARE_SYSTEM)
    log.idf([bootlog.info("boot", "Disabling RNG early entropy source...")])
    image = _read_image(machine, decision.loaded)
    return Started(decision.loaded, image, decision.table, build.rollback, build.secured)


def revision_text(revision: int) -> str:
    """A chip's revision as logs have it: 300 is v3.0."""
    return f"v{revision // 100}.{revision % 100}"


def _build(machine: Machine, own: Image) -> Build:
    told, behaviour = loaderinfo.read(own), own.behaviour
    coloured = generation.coloured(generation.generation(told.idf))
    if behaviour is None or behaviour.kind != "bootloader":
        if told.coloured is not None:
            coloured = told.coloured
        rollback = bool(machine.foreign_rollback)
        if own.malformed_behaviour:
            machine.complain(
                f"its bootloader's {own.malformed_behaviour}; "
                f"taken for one that {'rolls' if rollback else 'does not roll'} back"
            )
        return Build(rollback, told.verbose, coloured, False, told.idf, told.built)
    return Build(
        behaviour.rollback,
        behaviour.log == "info",
        coloured,
        behaviour.anti_rollback,
        told.idf,
        told.built,
    )


def _decide(machine: Machine, log: Log, own: Image, build: Build) -> Decision:
    """The decision; a table that cannot be read is logged as the bootloader does.

    Raises:
        Reset: there is no table.
    """
    chip = machine.chip
    try:
        return decide(
            read_flash(machine),
            build.rollback,
            CHIPS[chip.name],
            revision=chip.revision,
            flash_size=bootlog.flash_bytes(own.data),
            secure_version=machine.efuses.secure_version if build.secured else None,
            idf=build.idf,
        )
    except FirmwareError as refused:
        log.idf(_no_table(str(refused)))
        machine.complain(f"its bootloader refuses the partition table: {refused}")
        raise Reset(SOFTWARE_SYSTEM) from refused


def _no_table(why: str) -> Iterator[Line]:
    yield error("flash_parts", why)
    yield error("boot", "Failed to verify partition table")
    yield error("boot", "load partition table error!")


def read_flash(machine: Machine) -> Reader:
    """Reads as the bootloader does: what lies behind the end of the chip is missing."""
    flash = machine.flash

    def read(offset: int, length: int) -> bytes:
        start = min(offset, flash.size)
        return flash.read(start, min(length, flash.size - start))

    return read


def _read_image(machine: Machine, partition: Partition) -> Image:
    data = machine.flash.read(partition.offset, partition.size)
    return parse(data[: parse(data).length])
