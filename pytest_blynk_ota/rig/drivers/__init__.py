"""Power drivers of ours, under the names that a rig file uses for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pytest_blynk_ota.rig.drivers.labgrid import Labgrid
from pytest_blynk_ota.rig.drivers.relays import Shelly, Tasmota

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.extensions import PowerDriver

LABGRID = "labgrid:"
OURS: dict[str, Callable[..., PowerDriver]] = {"shelly": Shelly, "tasmota": Tasmota}
NAMES = (*OURS, f"{LABGRID}MODEL")


def driver_of(name: str) -> Callable[..., PowerDriver] | None:
    """What makes the driver of that name; None if it is none of ours."""
    if name.startswith(LABGRID):
        return partial(Labgrid, name.removeprefix(LABGRID))
    return OURS.get(name)
