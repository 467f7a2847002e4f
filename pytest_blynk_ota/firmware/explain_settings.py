"""What a boot decision depends on besides the flash: what was asked for, found or taken."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import dump
from pytest_blynk_ota.firmware.chips import CHIPS, Chip
from pytest_blynk_ota.firmware.dump import Bootloader
from pytest_blynk_ota.firmware.partitions import TABLE_OFFSET, PartitionTable

STANDARD_SIZES = frozenset(dump.FLASH_SIZES.values())


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known beside the dump; ``None``: find it in the dump, or take the default.

    Attributes:
        revision: of the chip, major * 100 + minor.
        secure_version: what the eFuses hold, for a bootloader with anti-rollback.
        flash_size: in bytes, instead of the bootloader's header.
    """

    chip: Chip | None = None
    rollback: bool | None = None
    revision: int | None = None
    secure_version: int | None = None
    flash_size: int | None = None
    table_offset: int = TABLE_OFFSET


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that the decision depends on, and where it is known from.

    Attributes:
        known: whether anything says so; else it is a default.
    """

    value: int | bool | str | None
    said_by: str
    known: bool = True


def number_of(setting: Setting | None) -> int | None:
    """The value of a setting that is a number or not known."""
    value = setting.value if setting else None
    return value if isinstance(value, int) else None


def flash_size_of(data: bytes, asked: Asked, bootloader: Bootloader | None) -> Setting:
    """What the bootloader holds the partition table against."""
    if asked.flash_size is not None:
        return Setting(asked.flash_size, "--flash-size")
    if bootloader is not None:
        return Setting(bootloader.flash_size, "bootloader header")
    if len(data) in STANDARD_SIZES:
        return Setting(len(data), "size of the dump")
    return Setting(None, "nothing in the dump", known=False)


def chip_of(
    data: bytes, asked: Asked, bootloader: Bootloader | None, table: PartitionTable | None
) -> tuple[Chip, str]:
    """The chip, and what says so.

    Raises:
        FirmwareError: nothing does.
    """
    if asked.chip is not None:
        return asked.chip, "--chip"
    if bootloader is not None:
        return bootloader.chip, f"bootloader header at 0x{bootloader.chip.bootloader_offset:x}"
    found = dump.chip_of_apps(data, table) if table else None
    if found is None:
        raise FirmwareError(
            "chip not known: the dump holds no bootloader and no application image; "
            f"expected --chip with one of {', '.join(CHIPS)}"
        )
    return found[0], f"application in {found[1]}"


def rollback_of(asked: Asked, bootloader: Bootloader | None) -> Setting:
    """Whether the bootloader was built with rollback; its option has no effect on its strings."""
    if asked.rollback is not None:
        return Setting(asked.rollback, "--rollback")
    if asked.secure_version is not None:
        return Setting(True, "--secure-version: anti-rollback needs it")
    if bootloader is not None and bootloader.rollback is not None:
        return Setting(bootloader.rollback, f"the bootloader: {bootloader.said_by}")
    return Setting(False, "ESP-IDF's default", known=False)


def secure_version_of(asked: Asked, bootloader: Bootloader | None) -> Setting | None:
    """What the eFuses hold; ``None``: the bootloader has no anti-rollback."""
    if asked.secure_version is not None:
        return Setting(asked.secure_version, "--secure-version")
    if bootloader is not None and bootloader.anti_rollback:
        return Setting(0, "fresh eFuses, which no dump holds", known=False)
    return None
