"""A board that does not answer: its power is switched; if that is no help, it is held against it.

Resets are tried below this, by the board itself; what is left is the power, and then a person.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pytest_blynk_ota.errors import LoaderSilent, PortGone, RigError
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.power import Power
from pytest_blynk_ota.rig.quarantine import Ward

T = TypeVar("T")
SILENT = (LoaderSilent, PortGone)
"""What a power cycle may mend: a chip that is stuck, a USB port that has hung."""


def with_escalation(
    what: Callable[[], T], *, board: str, power: Power | None, ward: Ward, record: Record
) -> T:
    """Do something that every healthy board can do.

    Args:
        what: it; done again after a power cycle.
        board: its name.
        power: its outlet, if it has one.
        ward: where a failure is held against the board, and forgotten when it works.

    Raises:
        RigError: it failed, and again after the power cycle.
    """
    try:
        done = _twice(what, board, power, record)
    except SILENT as error:
        record("rig", "wedged", board, count=ward.strike(str(error)).count, why=str(error))
        raise
    if ward.look() is not None:
        ward.lift()
    return done


def _twice(what: Callable[[], T], board: str, power: Power | None, record: Record) -> T:
    try:
        return what()
    except SILENT as error:
        if power is None:
            raise
        record("rig", "escalation", board, step="power cycle", why=str(error))
        try:
            power.cycle(by="rig")
        except RigError as other:
            raise type(error)(f"{error}\nand a power cycle did not help: {other}") from error
        try:
            return what()
        except SILENT as again:
            raise type(again)(f"{again}\nand that after a power cycle: {error}") from again
