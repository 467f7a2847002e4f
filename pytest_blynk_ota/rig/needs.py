"""What a test may require of its board, and why a board has it not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from pytest_blynk_ota.cloud.doors import KINDS

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.place import Place
    from pytest_blynk_ota.rig.shelf import Firmware

ANTI_ROLLBACK = "anti-rollback"
"""The tag of a board whose bootloader refuses images below the secure version in its eFuses. They
only grow: once a test has burnt one, the board is for such tests alone."""

Lack = Callable[["Place", "Firmware"], str | None]


def _no_power(place: Place, firmware: Firmware) -> str | None:
    return None if place.power else f"board {place.name} has no power outlet in the rig file"


def _no_rollback(place: Place, firmware: Firmware) -> str | None:
    bootloader = place.config.bootloader
    if bootloader is not None and not bootloader.rollback:
        return f"the bootloader of board {place.name} has no rollback, says the rig file"
    if not place.profile.rollback:
        return f"profile {place.profile.name} of board {place.name} has no rollback"
    return None


def _no_fixture(place: Place, firmware: Firmware) -> str | None:
    if firmware.is_fixture:
        return None
    return "needs a fixture image that can be told to misbehave; --old is your own"


def _no_anti_rollback(place: Place, firmware: Firmware) -> str | None:
    if ANTI_ROLLBACK in place.config.tags:
        return None
    return f"board {place.name} has no tag {ANTI_ROLLBACK!r} in the rig file"


def _no_https(place: Place, firmware: Firmware) -> str | None:
    """A fixture image of a virtual board can be built to trust the rig; any other has its own."""
    if KINDS[place.config.dials or place.profile.dials].tls:
        return None
    if firmware.is_fixture and place.config.is_virtual:
        if place.profile.fixture != "edgent-new":
            return None
        return f"board {place.name}: a build of new Edgent for plain ports cannot speak TLS at all"
    return f"board {place.name} is not known to trust the rig's firmware server over https"


def _network(need: str) -> Lack:
    """A need of the rig's network, which knows itself what is missing."""
    return lambda place, firmware: place.network.lack(need)


NEEDS: Mapping[str, Lack] = {
    "power": _no_power,
    "anti-rollback": _no_anti_rollback,
    "https": _no_https,
    "network": _network("network"),
    "ap": _network("ap"),
    "link": _network("link"),
    "netem": _network("netem"),
    "dns": _network("dns"),
    "rollback": _no_rollback,
    "fixture-firmware": _no_fixture,
}


def lacking(needs: Iterable[str], place: Place, firmware: Firmware) -> str | None:
    """The first reason why a test with these needs cannot run on a board; None if it can."""
    reasons = (NEEDS[need](place, firmware) for need in needs)
    return next((reason for reason in reasons if reason), None)
