"""The outlet of a board, as its section in the rig file says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_blynk_ota.errors import OutletUnreachable, UsageError
from pytest_blynk_ota.evidence.redact import MIN_SECRET_CHARS
from pytest_blynk_ota.rig.config import VIRTUAL, BoardSection
from pytest_blynk_ota.rig.extensions import Own
from pytest_blynk_ota.rig.foreign import Caller, DriverOutlet
from pytest_blynk_ota.rig.power import CommandOutlet, HttpOutlet, Outlet
from pytest_blynk_ota.rig.secret import revealed, secret, secrets_among

Learn = Callable[[str, str], None]
"""Takes a secret, and what it is, before anything can print it."""


def outlet_of(
    section: BoardSection, rig: str, learn: Learn, clean: Callable[[str], str]
) -> Outlet | None:
    """The outlet of a real board; None if it has none.

    Args:
        section: the board in the rig file.
        rig: the rig's name.
        clean: takes secrets out of a text.

    Raises:
        ConfigError: a variable of the environment is missing, or a file.
        UsageError: its power is that of a virtual board.
        OutletUnreachable: a driver cannot be made.
    """
    if section.power is None:
        return None
    if section.power.own:
        return driven(section, rig, section.power.own, learn, clean)
    if section.power.virtual:
        raise UsageError(f'board {section.name} is real: power = "virtual" is not for it')
    if section.power.http:
        return HttpOutlet(section.power.http)
    command = section.power.command
    assert command is not None
    return CommandOutlet(command.on, command.off)


def driven(
    section: BoardSection,
    rig: str,
    own: Own,
    learn: Learn,
    clean: Callable[[str], str],
    outlet: str = "",
) -> DriverOutlet:
    """The outlet behind a driver; of a virtual board it has an address, ``outlet``.

    Raises:
        ConfigError: a variable of the environment is missing, or a file.
        OutletUnreachable: the driver cannot be made.
    """
    options = options_of(section, rig, "power", own, learn)
    for key, value in options.items():
        if outlet and value == VIRTUAL:
            options[key] = outlet
    where = f"{own.where}, board {section.name}, power.driver {own.name!r}"
    return DriverOutlet(own, options, Caller(where, OutletUnreachable, clean))


def options_of(section: BoardSection, rig: str, key: str, own: Own, learn: Learn) -> dict[str, Any]:
    """The keys of a driver, or of a way to provision; secrets among them are learned first.

    Raises:
        ConfigError: a variable of the environment is missing, or a file.
    """
    where = f"rig {rig}, board {section.name}, {key}"
    for name, value in secrets_among(own.options).items():
        found = secret(value, f"{where}.{name}")
        if len(found) >= MIN_SECRET_CHARS:
            learn(found, f"{key}.{name} of {section.name}")
    return revealed(own.options, where)
