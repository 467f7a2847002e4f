"""How the reference firmware takes an image for good, and the slot that holds it for the next boot.

It leaves both to esp_ota_ops. The bugs planted here are of firmware that goes its own ways: it
looks at less than ``esp_ota_end`` does, or writes otadata itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.ota_errors import OtaError, OtaRefused
from pytest_blynk_ota.virtual.app.reference_http import Problem
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.ota_ops import OtaHandle


def target_slot(context: Context) -> Partition | None:
    """The slot that is written: the one that does not run."""
    slots = context.started.table.ota_slots
    if context.has("Z30"):
        return context.started.partition  # esp_ota_get_running_partition()
    if context.has("Z31") and slots:
        return slots[0]  # esp_partition_find_first(..., SUBTYPE_APP_OTA_0, ...), free or not
    return context.ota.next_update_partition()


async def end(context: Context, handle: OtaHandle) -> None:
    """``esp_ota_end``: the whole image is looked at once more, in flash.

    Raises:
        OtaRefused: it is no image that can be started.
        Panic: a planted bug has written over the code that runs.
    """
    if context.has("Z30"):
        context.crash.now("illegal")  # the first call that the cache does not hold any more
    if context.has("Z33") or context.has("Z35"):
        return  # ESP_OK whatever lies in flash
    if not context.has("Z34"):
        await handle.end()
    elif not context.ota.verify(handle.target, any_chip=True):
        context.ota.complain("verify")
        raise OtaRefused(OtaError.VALIDATE_FAILED)


async def switch_early(context: Context, target: Partition) -> None:
    """Z38: the slot is switched with the last bytes of the file still in RAM."""
    if context.has("Z38"):
        await context.ota.select(target)


async def switch(context: Context, target: Partition) -> None:
    """``esp_ota_set_boot_partition``: the next boot starts what is in ``target``.

    Raises:
        Problem: it is refused.
    """
    ways = (way for bug, way in WRONG_WAYS.items() if context.has(bug))
    try:
        await next(ways, _choose)(context, target)
    except OtaRefused as refusal:
        raise Problem(f"esp_ota_set_boot_partition: {refusal}", again=False) from None


async def _choose(context: Context, target: Partition) -> None:
    await context.ota.choose(target)


async def _last_label(context: Context, _target: Partition) -> None:
    """The partition that partitions.csv calls "app1", wherever the file was written to."""
    await context.ota.choose(context.started.table.ota_slots[-1])


async def _into_otadata(context: Context, target: Partition) -> None:
    """Looked at as by ``end``, then straight into otadata: no chip id, no secure version."""
    if not context.ota.verify(target, any_chip=context.has("Z34")):
        raise OtaRefused(OtaError.VALIDATE_FAILED)
    await context.ota.select(target)


async def _unseen(context: Context, target: Partition) -> None:
    """Straight into otadata, whatever lies in the slot."""
    await context.ota.select(target)


async def _both_erased(context: Context, target: Partition) -> None:
    """otadata as a whole: read, erased, written again. In between, no slot is chosen."""
    sector, entry = context.ota.planned(target)
    place = context.started.table.otadata
    assert place is not None
    entries = list(context.ota.entries())
    entries[sector] = entry
    await context.machine.erase(place.offset, 2 * SECTOR_BYTES)
    for number, one in enumerate(entries):
        if not one.is_initial:
            await context.machine.program(place.offset + number * SECTOR_BYTES, one.build())


async def _over_the_running(context: Context, target: Partition) -> None:
    """Into the sector whose entry names the running slot, with a ``seq`` above all others."""
    ota, count = context.ota, len(context.started.table.ota_slots)
    sector, entry = ota.planned(target)
    entries = ota.entries()
    newest = max((one.seq for one in entries if not one.is_initial), default=0)
    entry = replace(entry, seq=entry.seq + max(0, -(-(newest + 1 - entry.seq) // count)) * count)
    mine = ota.sector_of(context.started.partition)
    await ota.rewrite(sector if mine is None else mine, entry)


async def _not_at_all(_context: Context, _target: Partition) -> None:
    """The restart comes first, or the switch was made already."""


Way = Callable[["Context", "Partition"], Awaitable[None]]

WRONG_WAYS: Mapping[str, Way] = {
    "Z32": _last_label,
    "Z33": _unseen,
    "Z34": _into_otadata,
    "Z35": _unseen,
    "Z36": _both_erased,
    "Z37": _over_the_running,
    "Z38": _not_at_all,
    "Z39": _not_at_all,
    "Z40": _not_at_all,
    "Z60": _into_otadata,
}
"""Planted bugs that do not go through ``esp_ota_set_boot_partition`` as they should."""
