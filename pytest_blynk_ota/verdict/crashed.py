"""Which firmware it was that crashed, and the crash of each boot in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_blynk_ota.verdict.crash_told import crash_told
from pytest_blynk_ota.verdict.images_seen import EARLIER
from pytest_blynk_ota.verdict.rows import Case
from pytest_blynk_ota.verdict.sightings import Noted

UNSURE = ("", EARLIER)
"""Witnesses by whose word no firmware is blamed."""


def image_told(case: Case, image: str | None) -> str:
    """An image as sentences name it: ``new (1.1.0)``."""
    version = case.story.operation.images.get(image or "", {}).get("version")
    return f"{image} ({version})" if version else (image or "an unknown image")


def crashed_in(case: Case, crashes: Iterable[Noted]) -> str:
    """The firmware that ran when it crashed so, ``, in new (1.1.0)``; "" where that is not known of
    each of the crashes, or only the first line of one is stored."""
    names: list[str] = []
    for crash in crashes:
        ran = next((ran for ran in case.images.ran if ran.boot.crash is crash), None)
        if ran is None or ran.image is None or ran.by in UNSURE or "kind" not in crash.data:
            return ""
        names.append(image_told(case, ran.image))
    return f", in {' and '.join(dict.fromkeys(names))}" if names else ""


def crash_in_words(case: Case, crash: Noted) -> str:
    """A crash with the boot that it ended. Evidence of an earlier version, which has the first
    line of a crash alone, is told as it was told then."""
    at = next((i for i, boot in enumerate(case.story.window) if boot.crash is crash), None)
    told = crash_told(crash.data)
    if at is None or "kind" not in crash.data:
        return told
    boot = f"boot {at}" if at else "the boot that ran at the begin"
    return f"{told} in {boot}{crashed_in(case, [crash]).replace(', in ', ', ', 1)}"
