"""What the reference firmware writes down in NVS: nothing, unless a bug is planted that does.

Strings in the namespace ``ota``. Where a bug is not planted, its note is neither read nor written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware import tag as tags
from pytest_blynk_ota.firmware.image import app_desc
from pytest_blynk_ota.virtual.app.preferences import Preferences
from pytest_blynk_ota.virtual.boot.rom import BROWNOUT

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import Partition
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.report import Claim

SPACE = "ota"
VERSION, BUILD, URL, FROM, UNSTABLE = "version", "build", "url", "from", "unstable"


async def _opened(context: Context) -> Preferences:
    preferences = Preferences(context.machine, context.started.table)
    await preferences.begin()
    return preferences


def claim_of(context: Context, slot: Partition) -> Claim:
    """What the image in a slot is going to report, by its tag or its description."""
    image = context.machine.flash.read(slot.offset, slot.size)
    tag, desc = tags.find(image), app_desc(image)
    if tag is not None:
        return tag.version, tag.build
    return (desc.version, f"{desc.date} {desc.time}") if desc else (None, None)


async def keep_claim(context: Context, slot: Partition) -> None:
    """Z40: the version is a setting; whether the new image ever runs is not looked at."""
    if not context.has("Z40"):
        return
    notes = await _opened(context)
    for key, text in zip((VERSION, BUILD), claim_of(context, slot), strict=True):
        await notes.put_string(SPACE, key, text or "")


async def kept_claim(context: Context) -> Claim | None:
    """Z40: what was kept; None: nothing yet, or the bug is not planted."""
    if not context.has("Z40"):
        return None
    notes = await _opened(context)
    version = notes.string(SPACE, VERSION)
    return (version, notes.string(SPACE, BUILD)) if version else None


async def keep_url(context: Context, url: str) -> None:
    """Z59: so that the next boot can see whether this update has come to anything."""
    if not context.has("Z59"):
        return
    notes = await _opened(context)
    await notes.put_string(SPACE, FROM, f"{context.started.partition.label} {_version(context)}")
    await notes.put_string(SPACE, URL, url)


async def unfinished_url(context: Context) -> str | None:
    """Z59: the other slot runs, but no other version: "it did not work, once more"."""
    if not context.has("Z59"):
        return None
    notes = await _opened(context)
    url, (label, _, version) = notes.string(SPACE, URL), notes.string(SPACE, FROM).partition(" ")
    await notes.remove(SPACE, URL)
    again = label != context.started.partition.label and version == _version(context)
    return url if url and again else None


async def note_brownout(context: Context) -> None:
    """Z61: after one brownout the supply counts as unstable; nothing ever takes that back."""
    if context.has("Z61") and context.cause == BROWNOUT:
        await (await _opened(context)).put_string(SPACE, UNSTABLE, "yes")


async def supply_is_unstable(context: Context) -> bool:
    """Z61: whether there was a brownout, ever."""
    return context.has("Z61") and bool((await _opened(context)).string(SPACE, UNSTABLE))


async def forget_all(context: Context) -> None:
    """Z51: ``nvs_flash_erase()`` before the new image starts, "to be on the safe side"."""
    place = context.started.table.find("nvs")
    if context.has("Z51") and place is not None:
        await context.machine.erase(place.offset, place.size)


def _version(context: Context) -> str:
    return context.behaviour.version
