"""What may stand in each OTA slot: the state at the start, changed by each download. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.verdict.answers import came, has_file
from pytest_blynk_ota.verdict.downloads_seen import DownloadSeen
from pytest_blynk_ota.verdict.fault_kinds import HARMLESS, kind_of, leads_away
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.sightings import Request

Options = frozenset[str | None]
"""Names of images of which one is there; None: nothing that boots."""

THIRD = "third"
"""Any image that is neither Old nor New nor known by name."""


@dataclass(slots=True)
class SlotMap:
    """Slot labels in the order of their offsets, each with what may be in it."""

    operation: Operation
    options: dict[str, Options]

    @classmethod
    def at_start(cls, operation: Operation) -> SlotMap:
        """As the operation's event says."""
        order = sorted(operation.slots, key=lambda label: operation.slots[label]["offset"])
        return cls(operation, {label: _told(operation.slots[label]["image"]) for label in order})

    def label_at(self, offset: int) -> str | None:
        """The slot that begins at an offset."""
        return next(
            (label for label, slot in self.operation.slots.items() if slot["offset"] == offset),
            None,
        )

    def at(self, offset: int) -> Options:
        """What may be in the slot, or in the factory partition, that begins at an offset."""
        factory = self.operation.factory
        if factory is not None and factory["offset"] == offset:
            return frozenset([factory["image"]])
        return self.options.get(self.label_at(offset) or "", frozenset([None]))

    def bootable(self) -> frozenset[str]:
        """The images that may stand in some slot, or in the factory partition."""
        slots = {name for options in self.options.values() for name in options if name}
        factory = self.operation.factory
        return frozenset(slots | ({factory["image"]} if factory is not None else set()))

    def only_slot_of(self, image: str | None) -> str | None:
        """The one slot that may hold an image; None if several or none may."""
        found = [label for label, options in self.options.items() if image in options]
        return found[0] if image is not None and len(found) == 1 else None

    def after(self, label: str | None) -> str | None:
        """The slot that an update from ``label`` goes to: the next one (esp_ota_ops.c)."""
        labels = list(self.options)
        if label not in labels:
            return None
        return labels[(labels.index(label) + 1) % len(labels)]

    def written(self, offset: int, size: int) -> None:
        """The test wrote there: what was in a slot may be spoilt, or be another image."""
        for label, slot in self.operation.slots.items():
            if overlap(slot, (offset, size)):
                self.options[label] |= {None, THIRD}

    def received(self, download: DownloadSeen, running: str | None) -> None:
        """A download from the slot ``running`` (None: not known) changes its target."""
        target = self.after(running)
        for label in self.options if target is None else (target,):
            self.options[label] = self._after(self.options[label], download, target is not None)

    def _after(self, before: Options, download: DownloadSeen, sure: bool) -> Options:
        """What may be in a slot after each answer of a download, in order."""
        options = before
        new = download.image or self.operation.offered
        for number, request in enumerate(download.gets, 1):
            options = self._written(options, new, download.gets[:number], request, sure)
        return options

    def _written(
        self, before: Options, new: str, gets: Sequence[Request], last: Request, sure: bool
    ) -> Options:
        kinds = {kind_of(fault.text) for one in gets for fault in one.fired}
        if any(leads_away(fault.text) for fault in last.fired):
            return before | {None, new, THIRD}  # what comes from there we do not see
        good = last.status is None or 200 <= last.status < 300
        if not last.written or not (good or has_file(last)):
            return before
        if not has_file(last):
            return before | {None}
        if "other" in kinds:
            return before | {None, new, THIRD}
        if came(gets):
            sure = sure and kinds <= HARMLESS
            return frozenset([new]) if sure else before | {None, new}
        # The last acknowledgement may have been lost; the length that was said may be a lie.
        size = self.operation.images.get(new, {}).get("size")
        said, first = (
            (last.part.total, last.part.first) if last.part is not None else (last.announced, 0)
        )
        sizes = [one for one in (said, size) if one]
        maybe = any(first + last.written >= one for one in sizes)
        return before | {None} | (frozenset([new]) if maybe else frozenset())

    def believed(self, running: str | None, image: str | None) -> dict[str, dict[str, Any]]:
        """One image a slot, as the next operation should believe it; rather New than nothing."""
        result = {}
        for label, options in self.options.items():
            names = sorted(name for name in options if name is not None)
            new = self.operation.offered
            best = new if new in names else names[0] if names else None
            if label == running and image is not None:
                best = image
            result[label] = {**self.operation.slots[label], "image": best}
        return result


def overlap(slot: Mapping[str, Any], span: Sequence[int]) -> bool:
    """Whether an offset and a size reach into a slot."""
    offset, size = span
    return bool(offset < slot["offset"] + slot["size"] and slot["offset"] < offset + size)


def _told(image: str | Sequence[str | None] | None) -> Options:
    """What an operation's event says of a slot: one image, or a list where several may be there."""
    return frozenset([image]) if image is None or isinstance(image, str) else frozenset(image)


def from_flash(operation: Operation, read: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The slot map as a flash read shows it; a factory slot is none that updates go to."""
    return {
        label: {**slot, **read["slots"].get(label, {})} for label, slot in operation.slots.items()
    }
