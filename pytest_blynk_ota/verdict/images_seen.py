"""Which image ran in each boot, and whether New was selected. Pure.

Best first: slot hash; ELF hash or ``app_init`` version; slot offset by the slot map; what was
known at the start; what alone was whole in flash; the firmware's prints; the report; what ran
before a reset between two operations. The last three can mislead: they count only when flash has
been asked (``believe``). A mark counts only where Old and New differ in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.air import names
from pytest_blynk_ota.verdict.boots import Boot
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.otadata_seen import selected_by_otadata
from pytest_blynk_ota.verdict.sightings import Noted, Report
from pytest_blynk_ota.verdict.slot_map import THIRD, SlotMap, from_flash
from pytest_blynk_ota.verdict.story import Story

EARLIER = "what ran before"
ONLY_WHOLE = "what was whole in flash"
"""One image alone was whole in flash."""
WEAK = ("prints", "report", EARLIER)
"""Witnesses that can lie, and what was known before the board was reset."""

OUTLIVED = "the cloud session of the boot before it lived on"

APP_FIELDS = {"elf_sha256": "elf_sha256", "version": "app_version", "project": "project"}
"""``uart/app`` field to the image fact that it shows (esp_app_desc.c)."""


@dataclass(slots=True)
class Ran:
    """The image of one boot.

    Attributes:
        options: names of the images that it may have been; one: it is known.
        by: the witness that says so.
        events: what it rests on.
        conflicts: sentences on witnesses that say otherwise.
    """

    boot: Boot
    options: frozenset[str]
    by: str
    events: tuple[int, ...] = ()
    conflicts: tuple[str, ...] = ()

    @property
    def image(self) -> str | None:
        """The image, if it is known."""
        return next(iter(self.options)) if len(self.options) == 1 else None

    @property
    def independent(self) -> str | None:
        """The image, if it is known without its own word for it."""
        return None if self.by == "report" else self.image


@dataclass(slots=True)
class Images:
    """All that is known of images in one operation."""

    story: Story
    ran: list[Ran]
    slots: SlotMap
    flash: Noted | None
    may_hold_new: bool
    old_reports: Report | None = None
    labels: dict[int, str | None] = field(default_factory=dict)

    @property
    def new(self) -> str:
        """The name of the offered image."""
        return self.story.operation.offered

    @property
    def tried(self) -> frozenset[str]:
        """The names of all images that were on offer."""
        return self.story.operation.tried

    @property
    def old(self) -> str | None:
        """The name of the image that ran when the operation began, as far as is known."""
        return self.ran[0].image or self.story.operation.running

    @property
    def final(self) -> Ran:
        """The image at the end."""
        return self.ran[-1]

    def of(self, boot: Boot) -> Ran | None:
        """The image of a boot of the operation."""
        return next((ran for ran in self.ran if ran.boot is boot), None)

    def declares(self, image: str, report: Report) -> bool | None:
        """Whether an image declares what a report names; None: it declares nothing."""
        return declares(self.story.operation, image, report, self.old_reports)

    def selected(self) -> bool | None:
        """New was started, or otadata holds a seq above those at the start. None: not known."""
        later = self.ran[1:]
        if any(ran.image in self.tried and ran.by not in WEAK for ran in later):
            return True
        if self.flash is not None:
            above = selected_by_otadata(self.story.operation, self.flash.data, self.old)
            if above is not None:
                return above or self._started()
        if not self.may_hold_new:
            return False
        asked = self.flash is not None  # and could not tell: then the firmware's words count
        sure = all(ran.image is not None and (asked or ran.by not in WEAK) for ran in later)
        if self.story.watched_uart and sure:
            return self._started()
        return self._started() or None

    def _started(self) -> bool:
        return any(ran.image in self.tried for ran in self.ran[1:])

    def believed_slots(self) -> Mapping[str, Mapping[str, Any]]:
        """Slot map at the end."""
        if self.flash is not None:
            return from_flash(self.story.operation, self.flash.data)
        running = self.labels.get(self.final.boot.index)
        return self.slots.believed(running, self.final.image)


def declares(
    operation: Operation, image: str, report: Report, old_reports: Report | None
) -> bool | None:
    """Tag against report; without a tag: Old is what it first said, New is anything else."""
    facts = operation.images.get(image)
    if facts is None:
        return None
    if facts.get("build") is not None or facts.get("fw_type") is not None:
        return names(report.version, report.build, facts.get("version"), facts.get("build"))
    if old_reports is None or image not in operation.tried | {operation.running}:
        return None
    as_old = names(report.version, report.build, old_reports.version, old_reports.build)
    return as_old if image == operation.running else not as_old


def images_of(story: Story, *, flash: Noted | None, believe: bool) -> Images:
    """Work through the boots in order; downloads change the slot map in between."""
    slots = SlotMap.at_start(story.operation)
    window = story.window
    reported = [r for v in story.visits if v.boot is window[0] for r in v.reports if r.version]
    old_reports = min(reported, key=lambda report: report.t, default=None)
    images = Images(story, [], slots, flash, False, old_reports)
    read_in = _read_in(story, flash)
    written = [one for one in story.seen.written if one[1] > story.operation.seq]
    for at, boot in enumerate(window):
        for one in [one for one in written if one[0] <= boot.start]:
            slots.written(*one[2:])
            written.remove(one)
        images.may_hold_new |= bool(images.tried & slots.bootable())
        ran = _ran(images, boot, at == 0, flash if boot is read_in else None, believe)
        images.ran.append(ran)
        images.labels[boot.index] = _label(images, ran, flash if boot is read_in else None)
        for download in story.downloads:
            if download.boot is boot:
                slots.received(download, images.labels[boot.index])
    images.may_hold_new |= bool(images.tried & slots.bootable())
    return images


def _read_in(story: Story, flash: Noted | None) -> Boot | None:
    """The boot that a flash read speaks of: the last one before the loader was entered."""
    if flash is None:
        return None
    acts = [a.t for a in story.seen.acts if a.what == "loader" and story.until <= a.t <= flash.t]
    entered = min(acts, default=flash.t)
    return next((b for b in reversed(story.boots) if not b.loader and b.start < entered), None)


def _label(images: Images, ran: Ran, flash: Noted | None) -> str | None:
    """The slot that a boot ran from, if it is known."""
    offset = _offset(ran.boot)
    if offset is not None and not (ran.boot.doubted and ran.image is None):
        return images.slots.label_at(offset)
    if flash is not None and flash.data["running"] in (
        flash.data["would_boot"],
        flash.data.get("started"),
    ):
        return str(flash.data["running"]) if flash.data["running"] else None
    return images.slots.only_slot_of(ran.image)


def _offset(boot: Boot) -> int | None:
    marks = boot.marked("slot")
    return int(marks[-1].data["offset"]) if marks else None


Said = tuple[str, frozenset[str], tuple[int, ...]]
"""Witness, the images it allows, its events."""


def _ran(images: Images, boot: Boot, first: bool, flash: Noted | None, believe: bool) -> Ran:
    """The image of one boot from all witnesses, best first."""
    strong = [s for s in (_by_flash(flash), _by_app(images, boot), _by_offset(images, boot)) if s]
    running = images.story.operation.running
    weak = _weak(images, boot)
    if first and running is not None:
        known = not _reset_since_known(images.story, boot)
        start = ("start" if known else EARLIER, frozenset([running]), (images.story.operation.seq,))
        (strong if known else weak).append(start)
    sure = [said for said in strong if len(said[1]) == 1]
    if boot.doubted and sure and sure[0][0] != "slot hash":
        before = images.ran[-1].options if images.ran else frozenset([running or THIRD])
        both = sure[0][1] | before
        if len(both) > 1:
            return Ran(boot, both, "", sure[0][2], (f"{_word(sure[0])}, but {OUTLIVED}",))
    if sure and not _marks_quarrel(sure, believe):
        return _settle(boot, sure[0], [*sure[1:], *weak])
    if sure:
        both = sure[0][1] | sure[1][1]
        return Ran(
            boot, both, "", sure[0][2] + sure[1][2], (f"{_word(sure[0])}, {_word(sure[1])}",)
        )
    whole = _possible(images, [], weak)
    possible = _possible(images, strong, weak)
    if len(possible) == 1:
        by, _, events = strong[0] if len(whole) > 1 else (ONLY_WHOLE, possible, ())
        return _settle(boot, (by, possible, events), weak)
    fits = [(said[0], said[1] & possible, said[2]) for said in weak if said[1] & possible]
    if flash is not None and flash.data["running"] is not None:
        label = flash.data["running"]
        name = str(flash.data["slots"].get(label, {}).get("image") or THIRD)
        fits.append(("slot hash", frozenset([name]), (flash.seq,)))
    if believe and fits:
        return _settle(boot, fits[0], fits[1:])
    events = tuple(seq for said in weak for seq in said[2])
    return Ran(boot, possible, "", events)


def _reset_since_known(story: Story, first: Boot) -> bool:
    """Whether the board was reset between the last restore or verdict and this operation. Then
    it may run another image: one that was never confirmed is gone. Our own flash read is allowed
    for by what the operation says to be running."""
    known = [
        note.t
        for note in story.seen.notes
        if note.kind in ("restored", "watch_ended") and note.seq < story.operation.seq
    ]
    return bool(known) and first.start > max(known) and first.by != "rig"


def _settle(boot: Boot, best: Said, others: list[Said]) -> Ran:
    conflicts = tuple(
        f"{_word(best)}, but {_word(said)}: the better witness counts"
        for said in others
        if not best[1] & said[1]
    )
    return Ran(boot, best[1], best[0], best[2], conflicts)


def _word(said: Said) -> str:
    return f"{said[0]} says {' or '.join(sorted(said[1]))}"


def _marks_quarrel(sure: list[Said], believe: bool) -> bool:
    """ELF hash and slot offset disagree, and flash can still be read."""
    said = {name: options for name, options, _ in sure}
    mark, offset = said.get("app_init"), said.get("slot offset")
    quarrel = mark is not None and offset is not None and mark != offset
    return quarrel and not believe and "slot hash" not in said


def _possible(images: Images, strong: list[Said], weak: list[Said]) -> frozenset[str]:
    """The images that no witness rules out."""
    possible = images.slots.bootable()
    if not possible or images.story.operation.running is None:
        possible |= {images.new, THIRD} | set(images.story.operation.images)
    if any(THIRD in said[1] for said in weak):
        possible |= {THIRD}
    for said in strong:
        possible = possible & said[1] or said[1]
    return possible


def _by_flash(flash: Noted | None) -> Said | None:
    """The hash of the slot that otadata says was booted.

    Where the boot rules would now start another slot, either may have run: an image that was
    never confirmed, or one that fell back; unless the image of that slot was good enough to start.
    """
    if flash is None or flash.data["running"] is None:
        return None
    started = flash.data.get("started")
    labels = {started} if started else {flash.data["running"], flash.data["would_boot"]} - {None}
    slots = flash.data["slots"]
    found = frozenset(str(slots.get(label, {}).get("image") or THIRD) for label in labels)
    return "slot hash", found, (flash.seq,)


def _by_app(images: Images, boot: Boot) -> Said | None:
    """``app_init`` lines, or the ELF hash that a panic prints."""
    operation = images.story.operation
    old, new = (operation.images.get(str(n), {}) for n in (operation.running, operation.offered))
    for name, fact in APP_FIELDS.items():
        if old.get(fact) == new.get(fact):
            continue
        for mark in boot.marked("app"):
            if mark.data["field"] == name:
                value = str(mark.data["value"])
                found = frozenset(
                    image
                    for image, facts in operation.images.items()
                    if _matches(name, value, str(facts.get(fact) or ""))
                )
                return "app_init", found or frozenset([THIRD]), (mark.seq,)
    return None


def _matches(field_name: str, shown: str, fact: str) -> bool:
    """The log shows the first characters of the ELF hash only."""
    if field_name == "elf_sha256":
        return bool(shown) and fact.startswith(shown)
    return shown == fact


def _by_offset(images: Images, boot: Boot) -> Said | None:
    offset = _offset(boot)
    if offset is None:
        return None
    options = images.slots.at(offset)
    found = frozenset(name for name in options if name is not None)  # what boots not did not run
    found = found or frozenset([THIRD])
    return "slot offset", found, tuple(mark.seq for mark in boot.marked("slot")[-1:])


def _weak(images: Images, boot: Boot) -> list[Said]:
    """The firmware's own words: its prints, then its report."""
    rows: list[Said] = []
    for mark in boot.marked("firmware"):
        if mark.data["what"] == "version":
            report = Report(
                mark.t,
                mark.seq,
                0,
                str(mark.data.get("version") or ""),
                str(mark.data.get("build") or ""),
            )
            said = _by_word(images, "prints", report)
            if said:
                rows.append(said)
    for report in images.story.reports(boot):
        said = _by_word(images, "report", report)
        if said:
            rows.append(said)
    return [
        next(row for row in rows if row[0] == word)
        for word in WEAK
        if any(row[0] == word for row in rows)
    ]


def _by_word(images: Images, witness: str, report: Report) -> Said | None:
    """The images that declare what was said; Old and New must differ in it."""
    operation = images.story.operation
    if not report.version:
        return None
    found = frozenset(name for name in operation.images if images.declares(name, report))
    if {operation.running, operation.offered} <= found:
        return None
    return witness, found or frozenset([THIRD]), (report.seq,)
