"""Bringing a board back to Old: what must stand in its flash, and the proof that Old came up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_blynk_ota.board.baseline import SECTOR_BYTES, Baseline, Region, Span
from pytest_blynk_ota.board.baseline import Restored as Written
from pytest_blynk_ota.board.condition import condition
from pytest_blynk_ota.errors import FirmwareError, OldNotSettled, UsageError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.firmware.partitions import (
    DEFAULT_TABLE,
    FACTORY_TABLE,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)
from pytest_blynk_ota.rig.foreign import TELL_DEVICE_S
from pytest_blynk_ota.rig.learning import learn
from pytest_blynk_ota.rig.needs import ANTI_ROLLBACK
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.rack import CHECK_S, Rig
from pytest_blynk_ota.rig.recovery import with_escalation
from pytest_blynk_ota.rig.shelf import Firmware
from pytest_blynk_ota.verdict.boots import NEVER, boots_of
from pytest_blynk_ota.verdict.sightings import Report, Sightings
from pytest_blynk_ota.verdict.story import Visit, visits_of

SKEW_S = 0.5
SKEW_WALL_S = 0.05
"""Two witnesses on one host may be this much apart: device seconds, but never less wall time."""

SlotMap = dict[str, dict[str, object]]
"""Slot label to its offset, its size and the name of the image in it (None: nothing bootable)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the baseline of a test differs in.

    Attributes:
        rollback: whether the bootloader goes back; virtual boards only.
        slot: of Old, 0 or 1. A board whose otadata is lost starts the first one: what depends on
            otadata shows only from the second.
        factory: whether an earlier version stands in the factory partition. A virtual board gets
            one; on a real one it is written there if its table has the partition.
    """

    rollback: bool = True
    slot: int = 0
    factory: bool = False


USUAL = Wanted()


@dataclass(frozen=True, slots=True)
class Restored:
    """The state that a test starts from."""

    table: PartitionTable
    slots: SlotMap
    otadata: tuple[str, str]


def skew_s(speed: float) -> float:
    """Device seconds within which two witnesses' events have no order."""
    return max(SKEW_S, SKEW_WALL_S * speed)


def baseline(
    rig: Rig, place: Place, firmware: Firmware, wanted: Wanted = USUAL
) -> tuple[Baseline, Restored]:
    """All that must stand in flash for Old to run from its slot, and nothing else to.

    Raises:
        UsageError: the partition table has no two slots, or Old does not fit.
    """
    table = FACTORY_TABLE if wanted.factory else DEFAULT_TABLE
    regions: list[Region] = []
    if place.config.is_virtual:
        chip = CHIPS[place.config.chip]
        regions.append(
            Region(
                "bootloader",
                chip.bootloader_offset,
                firmware.bootloader(
                    rollback=wanted.rollback, anti_rollback=ANTI_ROLLBACK in place.config.tags
                ),
            )
        )
        regions.append(Region("partition table", TABLE_OFFSET, table.build()))
    else:
        if not wanted.rollback:
            raise UsageError(f"board {place.name} is real: its bootloader is not replaced")
        try:
            table = place.board.read_table()
        except FirmwareError as error:
            raise UsageError(
                f"board {place.name}: at 0x{TABLE_OFFSET:x} of its flash there is no partition "
                f"table ({error}); write bootloader and partition table once, with your own build "
                f"or with esptool write-flash"
            ) from error
    if wanted.factory and (place_of := table.factory) is not None:
        regions.append(_fitting(place_of, firmware.factory, "factory image"))
    return _with_old(rig, place, firmware, table, regions, wanted.slot)


def unbootable(slot: Partition, images: Sequence[Image]) -> Iterator[Span]:
    """The sectors of a slot that must be erased so that no stale image can pass for an update.

    The first holds the header. The one where an image ends must go, too: an update that stops
    half-way would otherwise be completed by the tail of the same image from the test before.
    """
    ends = {(len(image.data) - 1) // SECTOR_BYTES for image in images}
    for sector in sorted({0} | {end for end in ends if (end + 1) * SECTOR_BYTES <= slot.size}):
        yield Span(slot.label, slot.offset + sector * SECTOR_BYTES, SECTOR_BYTES)


def _with_old(
    rig: Rig,
    place: Place,
    firmware: Firmware,
    table: PartitionTable,
    regions: list[Region],
    number: int,
) -> tuple[Baseline, Restored]:
    old = firmware.old
    slots, ota = table.ota_slots, table.otadata
    if ota is None or len(slots) < 2:
        raise UsageError(
            f"board {place.name}: its partition table has {len(slots)} OTA slots and "
            f"{'an' if ota else 'no'} otadata partition; an update needs two slots and otadata"
        )
    home = slots[number]
    standing = _fitting(home, old, "old image")
    sectors = otadata.entries_for(number)
    regions.append(Region("otadata", ota.offset, b"".join(sectors)))
    if place.told is not None:
        regions += place.told.regions(rig.settings(place), table)
    regions.append(standing)
    others = [slot for slot in slots if slot is not home]
    erased = tuple(span for slot in others for span in unbootable(slot, (old, firmware.new)))
    believed: SlotMap = {
        slot.label: {
            "offset": slot.offset,
            "size": slot.size,
            "image": "old" if slot is home else None,
        }
        for slot in slots
    }
    state = (sectors[0][:32].hex(), sectors[1][:32].hex())
    return Baseline(tuple(regions), erased), Restored(table, believed, state)


def _fitting(slot: Partition, image: Image, what: str) -> Region:
    """An image in its slot. Raises FirmwareError if it is too large."""
    if len(image.data) > slot.size:
        raise FirmwareError(
            f"{what} has {len(image.data)} bytes, slot {slot.label} holds {slot.size}"
        )
    return Region(slot.label, slot.offset, image.data)


def restore(rig: Rig, place: Place, firmware: Firmware, wanted: Wanted = USUAL) -> Restored:
    """Write what differs, reset the board into Old and tell it the settings that its way tells.
    Does not wait for Old to come up, unless its token is still to be learned.

    Raises:
        RigError: the board does not answer, not even after a power cycle where it has an outlet; or
            the way to provision it fails; or the board's token is to be learned, and cannot be.
    """

    def write() -> tuple[Written, Restored]:
        plan, state = baseline(rig, place, firmware, wanted)
        return place.board.restore(plan), state

    done, state = with_escalation(
        write,
        board=place.name,
        power=place.power,
        ward=rig.ward(place.config),
        record=rig.recorder,
    )
    since = time.monotonic()
    if place.told is not None:
        place.told.tell(rig.settings(place), place.board, rig.timeout(TELL_DEVICE_S))
    if not place.token:
        learn(rig, place, since)
    rig.recorder(
        "ota",
        "restored",
        place.name,
        image="old",
        slots=state.slots,
        otadata=state.otadata,
        wrote_bytes=done.wrote_bytes,
        serial_bytes=done.serial_bytes,
        seconds=done.seconds,
        regions=list(done.regions),
    )
    return state


def await_settled(
    rig: Rig, place: Place, image: Image, *, after: int, settle_s: float | None = None
) -> None:
    """Wait until the board has been logged in on ``image`` without a break for its settle time.

    Args:
        after: cursor of the timeline; only what was seen after it counts.
        settle_s: device seconds; the profile's settle time if None.

    Raises:
        OldNotSettled: it did not come up and stay in time; says what came instead.
    """
    profile, speed = place.profile, rig.speed
    settle_s = profile.settle_s if settle_s is None else settle_s
    timeline = rig.recorder.timeline
    limit = rig.timeout(profile.boot_s + profile.login_s + profile.settle_s)
    deadline = timeline.now() + limit
    while True:
        rig.check()
        seen = timeline.cursor
        since = settled_since(timeline.events(after), place.name, image, skew_s(speed) / speed)
        now = timeline.now()
        if since is not None and now - since >= settle_s / speed:
            return
        if now >= deadline:
            raise OldNotSettled(_why_not(rig, place, image, after, limit))
        wake = deadline if since is None else min(deadline, since + settle_s / speed)
        timeline.wait(
            lambda batch: True if batch else None,
            min(max(wake - now, 0.001), CHECK_S),
            after=seen,
        )


def settled_since(events: Sequence[Event], board: str, image: Image, skew: float) -> float | None:
    """When the login that still stands on ``image`` was reported; None if there is none.

    Args:
        skew: host seconds within which two witnesses' events have no order.
    """
    visits = standing(events, board, skew)
    return min(
        (report.t for visit in visits for report in visit.reports if _same(report, image)),
        default=None,
    )


def standing(events: Sequence[Event], board: str, skew: float) -> list[Visit]:
    """The sessions that no end and no reset has ended, as far as was seen. The banner of a reset
    of ours may be read later than the login that follows it."""
    seen = Sightings(board).feed(events)
    return [v for v in visits_of(seen, boots_of(seen, skew), skew) if v.end == NEVER]


ENDS_ALL_SESSIONS = {("uart", "reset"), ("rig", "reset"), ("power", "off"), ("power", "on")}


def _same(report: Report, image: Image) -> bool:
    return report.version == image.version and (
        not image.build or not report.build or report.build == image.build
    )


def heard_from(events: Sequence[Event], board: str) -> str:
    """What a board reported, each version once, however often it came and went."""
    reports = Counter(
        f"{event.data['version']} (built {event.data['build']})"
        for event in events
        if (event.source, event.kind, event.board) == ("cloud", "report", board)
    )
    rows = [f"{what} {n} times" if n > 1 else what for what, n in reports.items()]
    return f"reported {', '.join(rows)}" if rows else "did not log in"


def turned_away(events: Sequence[Event], board: str) -> str:
    """Why the cloud ended connections before their login: the board's, or those of nobody."""
    told = [event for event in events if event.source == "cloud" and event.board in (None, board)]
    inside = {event.data["session"] for event in told if event.kind == "login"}
    reasons = [
        event.data["why"]
        for event in told
        if event.kind == "closed"
        and event.data["by"] == "server"
        and event.data["session"] not in inside
    ]
    return ", ".join(dict.fromkeys(reasons))


STARTS_OF_OURS = ENDS_ALL_SESSIONS - {("uart", "reset")}


def _said_since_start(events: Sequence[Event], board: str) -> list[str]:
    """The lines of a board's log since we started it last."""
    own = [(event.source, event.kind, event) for event in events if event.board == board]
    begun = max((n for n, (s, k, _) in enumerate(own) if (s, k) in STARTS_OF_OURS), default=-1)
    return [str(e.data["text"]) for s, k, e in own[begun + 1 :] if (s, k) == ("uart", "line")]


def _why_not(rig: Rig, place: Place, image: Image, after: int, limit: float) -> str:
    events = rig.recorder.timeline.events(after)
    heard = heard_from(events, place.name)
    if away := turned_away(events, place.name):
        heard += f"; meanwhile the cloud ended connections before their login: {away}"
    console = place.board.console
    said = [*_said_since_start(events, place.name), *console.texts(console.cursor)]
    if wrong := condition(said, console.baud):
        heard += f". {wrong}"
    lines = "\n".join(f"    {line}" for line in console.last())
    return (
        f"board {place.name}: after the restore, Old ({image.version}) did not stay logged in for "
        f"{place.profile.settle_s:g} s; within {limit:.1f} s it {heard}\n"
        f"last lines of the log:\n{lines}"
    )
