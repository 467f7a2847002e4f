"""Which image a board runs when the next operation begins: what was left, or what it says since.

Between two operations a test may cut the power, and our own flash read resets the board: an image
that was never confirmed does not live through either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_blynk_ota.air import names
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.restore import ENDS_ALL_SESSIONS

Said = tuple[str, str]
"""Version and build of a report."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a restore or an operation left behind.

    Attributes:
        image: what runs; None if that is not known.
        said: what it reported, which need not be true; None: nothing.
    """

    image: Image | None
    said: Said | None


def left(
    events: Sequence[Event], board: str, running: str | None, images: Mapping[str, Image]
) -> Left:
    """The state after a verdict by which ``running`` ran; ``images`` are named as in it."""
    mine = [event for event in events if event.board == board]
    ended = max(at for at, event in enumerate(mine) if event.kind == "watch_ended")
    for event in mine[ended:]:
        if (event.source, event.kind) == ("flash", "read"):
            slot = event.data["slots"].get(event.data["would_boot"], {})
            if slot.get("image") != running:
                return Left(images.get(slot.get("image") or ""), None)
    return Left(images.get(running or ""), _said(mine[:ended]))


def still_running(
    events: Sequence[Event], board: str, before: Left, known: Sequence[Image]
) -> Image | None:
    """The image that was left, or the one known image that the board has reported since."""
    said = _said([event for event in events if event.board == board])
    if before.image is None or said is None or said == before.said:
        return before.image
    declare = {one.sha256: one for one in (before.image, *known) if _declares(one, said)}
    if before.image.sha256 in declare:
        return before.image
    return next(iter(declare.values())) if len(declare) == 1 else None


def _said(events: Sequence[Event]) -> Said | None:
    """What was last reported since the last reset."""
    for event in reversed(events):
        key = (event.source, event.kind)
        if key in ENDS_ALL_SESSIONS and not event.data.get("download"):
            return None
        if key == ("cloud", "report") and event.data["version"]:
            return event.data["version"], event.data["build"] or ""
    return None


def _declares(image: Image, said: Said) -> bool:
    return names(said[0], said[1], image.version, image.build)
