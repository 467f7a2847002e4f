"""Versions and builds as devices name them, and what a shipment compares. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

BUILD_FORMAT = "%b %d %Y %H:%M:%S"
"""``__DATE__ " " __TIME__`` of a C compiler, as in the ``build`` of a blnkinf tag."""

SEMVER = re.compile(r"v?(?P<core>\d+(?:\.\d+)*)(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")
"""Semantic versioning 2.0.0, but for the number of parts: devices say ``1.0`` as well."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a firmware is called: by its tag, or by a device that runs it. "" is not told.

    Attributes:
        version: ``mcu`` of the tag.
        build: when it was built, as ``Nov 23 2026 17:29:49``.
        fw_type: its type; a Blynk library takes the template's id for it.
        library: version of the Blynk library in it (``blynk`` of the tag).
    """

    version: str = ""
    build: str = ""
    fw_type: str = ""
    library: str = ""


def names(version: str, build: str, wanted_version: str | None, wanted_build: str | None) -> bool:
    """Whether a report names an image. A build that one side does not tell is no difference."""
    return version == wanted_version and (not build or not wanted_build or build == wanted_build)


Order = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]
Ordered = TypeVar("Ordered", Order, datetime)


def semver(text: str) -> Order | None:
    """A key that sorts as semantic versions do; None for what is none.

    Missing parts are zeros, ``1.0`` is ``1.0.0``. What follows ``+`` does not count.
    """
    found = SEMVER.fullmatch(text.strip())
    if not found:
        return None
    core = tuple(int(part) for part in found["core"].split("."))
    while core and core[-1] == 0:
        core = core[:-1]
    parts = (found["pre"] or "").split(".") if found["pre"] else []
    # numbers before words, numbers by value, words by ASCII (semver.org, 11.4)
    before = tuple((not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts)
    return core, not before, before


def built(text: str) -> datetime | None:
    """When a build was made; None for what is no date."""
    try:
        return datetime.strptime(" ".join(text.split()), BUILD_FORMAT)
    except ValueError:
        return None


def _below(mine: Ordered | None, new: Ordered | None) -> bool:
    """Whether the device's is lower; a comparison that cannot be made is no."""
    return mine is not None and new is not None and mine < new


def lower_version(device: Named, new: Named) -> bool:
    """Whether the device runs a lower version than New's."""
    return _below(semver(device.version), semver(new.version))


def newer_version(device: Named, new: Named) -> bool:
    """Whether the device runs a higher version than New's."""
    return _below(semver(new.version), semver(device.version))


def _always(device: Named, new: Named) -> bool:
    return True


def _other_build(device: Named, new: Named) -> bool:
    mine, wanted = built(device.build), built(new.build)
    if mine is None or wanted is None:
        return bool(device.build and new.build) and device.build != new.build
    return mine != wanted


CONDITIONS: Mapping[str, tuple[Callable[[Named, Named], bool], str]] = {
    "not new": (_always, "ours: whatever runs is not New, as a test asks for it"),
    "lower version": (lower_version, "new-shipping: Lower firmware version, Blynk's default"),
    "earlier build": (
        lambda device, new: _below(built(device.build), built(new.build)),
        "new-shipping: Earlier build date",
    ),
    "other build": (_other_build, "new-shipping: Another build date"),
    "lower library": (
        lambda device, new: _below(semver(device.library), semver(new.library)),
        "new-shipping: Lower generic version, of the Blynk library",
    ),
}
"""What a device must run to be sent New, beside not running it: word, check, source."""
