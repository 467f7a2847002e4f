"""How the reference firmware opens its slot and writes to it.

It leaves both to esp_ota_ops, which erases what the file needs and then programs what comes. The
bugs planted here are of firmware that saves time, or takes matters into its own hands.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.ota_errors import OtaRefused
from pytest_blynk_ota.virtual.app.ota_ops import SEQUENTIAL_WRITES, SIZE_UNKNOWN, OtaHandle
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition
    from pytest_blynk_ota.virtual.app.context import Context


async def open_slot(context: Context, target: Partition | None, size: int) -> OtaHandle:
    """``esp_ota_begin``.

    Args:
        size: bytes to come, or SIZE_UNKNOWN.

    Raises:
        OtaRefused: as ``esp_ota_begin`` does.
    """
    if context.has("Z30") and target is not None:
        # esp_partition_erase_range() as it goes: that call does not know what runs from there
        return OtaHandle(context.ota, target, sequential=True)
    if context.has("Z27") and size != SIZE_UNKNOWN:
        # for (at = 0; at < size - SECTOR_BYTES; at += SECTOR_BYTES) erase(at)
        size = max(size - SECTOR_BYTES, 1)
    if context.has("Z28"):
        size = SEQUENTIAL_WRITES  # each sector is erased when its block comes
    return await context.ota.begin(target, size)


async def write(context: Context, handle: OtaHandle, data: bytes) -> None:
    """``esp_ota_write``.

    Raises:
        OtaRefused: as ``esp_ota_write`` does.
    """
    if context.has("Z28") and data == b"\xff" * len(data):
        handle.written += len(data)  # an erased block looks like this; but this one is not erased
        return
    await handle.write(data)


async def erase_in_vain(context: Context, target: Partition | None) -> None:
    """Z29: ``esp_ota_begin`` comes first, and then the look whether the file fits at all."""
    if context.has("Z29"):
        with suppress(OtaRefused):
            await context.ota.begin(target)
