"""Which images a board may hold during a test, their names in the evidence, and where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_blynk_ota.beginning import facts, written_since
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.restore import Restored
from pytest_blynk_ota.rig.shelf import Firmware, refuse_equal
from pytest_blynk_ota.running import Left, left, still_running
from pytest_blynk_ota.verdict import Verdict
from pytest_blynk_ota.verdict.slot_map import THIRD, overlap


class Holdings:
    """Goes from operation to operation: what the next one starts from is what the last one left.

    Args:
        board: its name in the rig file.
        firmware: Old, New and what is derived from them.
        factory: whether the baseline has a factory application.

    Attributes:
        names: the images of the operation by their names in the evidence.
        state: what the last restore has put there; None before it.
    """

    def __init__(self, board: str, firmware: Firmware, *, factory: bool) -> None:
        self._board = board
        self._firmware = firmware
        self._factory = factory
        self.names: dict[str, Image] = {}
        self.state: Restored | None = None
        self._running: Image | None = None
        self._left = Left(None, None)
        self._slots: dict[str, dict[str, object]] | None = None
        self._unjudged: list[Image] = []

    def restored(self) -> None:
        """Old is back, and nothing else counts any more."""
        self._left = Left(self._firmware.old, None)
        self._unjudged.clear()
        self._slots = None

    def running(self, events: Sequence[Event]) -> Image | None:
        """The image that runs now, if that is known."""
        images = [*self.names.values(), self._firmware.old, self._firmware.new]
        return still_running(events, self._board, self._left, images)

    def named(self, running: Image | None, offered: Image, *others: Image) -> dict[str, Image]:
        """Names of the images in an operation's evidence: old runs now, new is offered."""
        names = {"new": offered}
        if running is not None:
            names["old"] = running
        known = {image.sha256 for image in names.values()}
        usual = [self._firmware.old, self._firmware.new]
        usual += [self._firmware.factory] if self._factory else []
        for image in (*others, *self.names.values(), *usual):
            if image.sha256 not in known:
                known.add(image.sha256)
                names[f"third-{len(known) - 2}"] = image
        return names

    def begin(self, running: Image | None, names: dict[str, Image]) -> None:
        """An operation begins, with the images as :meth:`named`."""
        self._running, self.names = running, names

    def offered(self, *images: Image) -> None:
        """They may come to stand in any slot, until a verdict says what became of them."""
        self._unjudged += images

    def superseding(self, image: Image) -> tuple[str, bytes, Mapping[str, Any]]:
        """A name in the evidence for an image that is offered in the middle of an operation.

        Raises:
            UsageError: it is the one that runs, or the one that is on offer.
        """
        for name, other in self.names.items():
            if name in ("old", "new"):
                refuse_equal(other, image, (f"the image {name!r}", "the one that is to follow"))
            elif other.sha256 == image.sha256:
                return name, image.data, facts(image)
        name = f"third-{len(self.names)}"
        self.names = {**self.names, name: image}
        self.offered(image)
        return name, image.data, facts(image)

    def describe(self, events: Sequence[Event]) -> Mapping[str, Any]:
        """What the ``ota/operation`` event says of them."""
        by_sha = {image.sha256: name for name, image in self.names.items()}
        return {
            "images": {name: facts(image) for name, image in self.names.items()},
            "running": by_sha.get(self._running.sha256) if self._running else None,
            "slots": self._slots_by_name(by_sha, events),
            **self._factory_of(by_sha),
        }

    def _factory_of(self, by_sha: Mapping[str, str]) -> Mapping[str, Any]:
        """What stands in the factory partition, where the baseline has put it there."""
        assert self.state is not None, "restore() comes before the first operation"
        place = self.state.table.factory
        if place is None or not self._factory:
            return {}
        image = by_sha[self._firmware.factory.sha256]
        row = {"label": place.label, "offset": place.offset, "size": place.size, "image": image}
        return {"factory": row}

    def _slots_by_name(
        self, by_sha: Mapping[str, str], events: Sequence[Event]
    ) -> Mapping[str, Any]:
        """The slot map as believed, in this operation's names for the images. What an operation
        without a verdict has offered may be in any slot, whole or not."""
        maybe = [by_sha[image.sha256] for image in self._unjudged if image.sha256 in by_sha]
        slots = self._slots_by_sha()
        believed = {label: by_sha.get(str(slot["image"])) for label, slot in slots.items()}
        written = written_since(events, self._board)

        def there(label: str, slot: Mapping[str, Any]) -> Any:
            options = [believed[label], *maybe, None] if maybe else [believed[label]]
            if any(overlap(slot, span) for span in written):
                options += [None, THIRD]
            return options if len(options) > 1 else options[0]

        return {label: {**slot, "image": there(label, slot)} for label, slot in slots.items()}

    def _slots_by_sha(self) -> dict[str, dict[str, object]]:
        if self._slots is not None:
            return self._slots
        assert self.state is not None, "restore() comes before the first operation"
        return {
            label: {**slot, "image": self._firmware.old.sha256 if slot["image"] else None}
            for label, slot in self.state.slots.items()
        }

    def judged(self, verdict: Verdict, events: Sequence[Event]) -> None:
        """What the next operation starts from is what this one left."""
        self._left = left(events, self._board, verdict.running_image, self.names)
        self._unjudged.clear()
        self._slots = {
            label: {
                **slot,
                "image": self.names[slot["image"]].sha256 if slot["image"] in self.names else None,
            }
            for label, slot in verdict.slots.items()
        }
