"""Which firmware it was that crashed, and the crash of each boot in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_blynk_ota.verdict.crash_told import crash_told
from pytest_blynk_ota.verdict.images_seen import EARLIER, Ran
from pytest_blynk_ota.verdict.rows import Case
from pytest_blynk_ota.verdict.sightings import Noted

UNSURE = ("", EARLIER)
"""Witnesses by whose word no firmware is blamed."""


def image_told(case: Case, image: str | None) -> str:
    """An image as sentences name it: ``new (1.1.0)``."""
    version = case.story.operation.images.get(image or "", {}).get("version")
    return f"{image} ({version})" if version else (image or "an unknown image")


def crashed_in(
    case: Case, crashes: Iterable[Noted], ran_of: Mapping[int, Ran] | None = None
) -> str:
    """The firmware that ran when it crashed so, ``, in new (1.1.0)``; "" where that is not known of
    each of the crashes, or only the first line of one is stored."""
    ran_of = _ran_of(case) if ran_of is None else ran_of
    names: dict[str, None] = {}
    for crash in crashes:
        ran = ran_of.get(id(crash))
        if ran is None or ran.image is None or ran.by in UNSURE or "kind" not in crash.data:
            return ""
        names[image_told(case, ran.image)] = None
    return f", in {' and '.join(names)}" if names else ""


def crashes_in_words(case: Case) -> tuple[str, ...]:
    """Each crash with the boot that it ended. Evidence of an earlier version, which has the first
    line of a crash alone, is told as it was told then."""
    ran_of = _ran_of(case)  # once: in a loop of boots there are tens of thousands
    number = {id(boot.crash): at for at, boot in enumerate(case.story.window)}
    return tuple(_in_words(case, one, number[id(one)], ran_of) for one in case.story.crashes())


def _in_words(case: Case, crash: Noted, at: int, ran_of: Mapping[int, Ran]) -> str:
    told = crash_told(crash.data)
    if "kind" not in crash.data:
        return told
    boot = f"boot {at}" if at else "the boot that ran at the begin"
    return f"{told} in {boot}{crashed_in(case, [crash], ran_of).replace(', in ', ', ', 1)}"


def _ran_of(case: Case) -> Mapping[int, Ran]:
    """What ran in the boot that a crash ended, by the identity of the crash."""
    return {id(ran.boot.crash): ran for ran in case.images.ran if ran.boot.crash is not None}
