"""``ota.sweep_power_cuts()``: a virtual board is cut by its journal, a real one at moments."""

from __future__ import annotations

import secrets
from pathlib import Path

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.sweep import PowerCutSweep, Ships, SweepPlan
from pytest_blynk_ota.sweep_journal import JournalSweep
from pytest_blynk_ota.sweep_moments import MomentSweep

SEEDS = 1 << 32
MAX_TORN = 16
MAX_MEMBERS = 100


def sweep_plan(
    torn: int,
    members: int,
    seed: int | None,
    timeout: float | None,
    wait_s: float,
    trial_s: float = 0.0,
    bricks: int | None = None,
) -> SweepPlan:
    """What was asked for. Raises UsageError."""
    known = {
        "torn": (torn, 0, MAX_TORN),
        "members": (members, 1, MAX_MEMBERS),
        "seed": (secrets.randbelow(SEEDS) if seed is None else seed, 0, 1 << 64),
    }
    for name, (value, least, most) in known.items():
        if not whole(value) or not least <= value <= most:
            raise UsageError(
                f"sweep_power_cuts: {name} is a whole number from {least} to {most}, got {value!r}"
            )
    if bricks is not None and not (whole(bricks) and bricks >= 1):
        raise UsageError(
            f"sweep_power_cuts: bricks is a whole number from 1, or None, got {bricks!r}"
        )
    return SweepPlan(torn, members, known["seed"][0], timeout, wait_s, trial_s, bricks)


def whole(value: object) -> bool:
    """Whether an argument is a whole number; True is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def sweep(
    ota: Ships, rig: Rig, place: Place, image: Image, plan: SweepPlan, evidence: Path
) -> PowerCutSweep:
    """Carry the plan out on a board that runs Old; the evidence names the seed first."""
    if place.power is None:
        raise UsageError(
            f"board {place.name} has no power outlet in the rig file, so its power cannot be cut; "
            'a test that needs one says @pytest.mark.requires("power")'
        )
    control = rig.virtual.control if rig.virtual and place.config.is_virtual else None
    how = "moments" if control is None else "journal"
    asked = {"seed": plan.seed, "torn": plan.torn, "members": plan.members, "bricks": plan.bricks}
    rig.recorder("ota", "sweep", place.name, how=how, image=image.sha256, **asked)
    if control is None:
        done = MomentSweep(ota, rig, place, place.power, evidence).run(image, plan)
    else:
        found = JournalSweep(ota, rig, place, control, place.power, evidence)
        done = found.run(image, plan)
    rig.recorder("ota", "sweep_ended", place.name, seed=plan.seed, **done.to_json())
    return done
