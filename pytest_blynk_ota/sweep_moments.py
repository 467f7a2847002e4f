"""The sweep on a real rack: cuts at sampled moments, as many of each phase, drawn from a seed.

Nobody can read a real board's journal, so a phase is what can be seen from outside: how far the
download is, the last byte, the first line of the next boot, the login of New.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.power import Power
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.sweep import PowerCutSweep, Ships, SweepPlan, SweepRow, until_lost

NEXT_BOOT = r"rst:0x[0-9a-f]+ \("
"""What each mask ROM prints first of all resets (with its code)."""

Waits = Callable[[random.Random, Image], dict[str, Any]]
"""The moment to wait for, as the arguments of ``shipment.wait_for``."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A phase that can be seen from outside.

    Attributes:
        within_s: device seconds after the moment in which the cut is made; drawn. Flash operations
            that nobody sees follow it: the otadata write, PENDING, the confirmation.
    """

    phase: str
    waits: Waits
    within_s: float


MOMENTS: Sequence[Moment] = (
    Moment("downloading", lambda draw, _: {"progress": draw.uniform(0.02, 0.95)}, 0.0),
    Moment("after the last byte", lambda *_: {"progress": 1.0}, 0.5),
    Moment("at the start of the next boot", lambda *_: {"log": NEXT_BOOT}, 1.0),
    Moment("after the login of New", lambda _, image: {"report": image.version}, 2.0),
)


class MomentSweep:
    """One sweep under way.

    Args:
        evidence: the folder of this test.
    """

    def __init__(self, ota: Ships, rig: Rig, place: Place, power: Power, evidence: Path) -> None:
        self._ota = ota
        self._rig = rig
        self._name = place.name
        self._power = power
        self._evidence = evidence

    def run(self, image: Image, plan: SweepPlan) -> PowerCutSweep:
        """Cut, once for each sample.

        Raises:
            NotReached: an update ended before the moment of its cut.
            RigError: the rack failed.
        """
        rows = until_lost(self._rows(image, plan), plan.bricks)
        cuts = len(MOMENTS) * plan.members
        return PowerCutSweep(
            self._name,
            plan.seed,
            rows,
            None,
            cuts,
            0,
            len(MOMENTS),
            0.0,
            self._evidence,
            cuts - len(rows),
        )

    def _rows(self, image: Image, plan: SweepPlan) -> Iterator[SweepRow]:
        first = True
        for moment in MOMENTS:
            for number in range(plan.members):
                if not first:
                    self._ota.restore()
                first = False
                draw = random.Random(f"{plan.seed} {moment.phase} {number}")
                yield self._row(image, plan, moment, draw)

    def _row(self, image: Image, plan: SweepPlan, moment: Moment, draw: random.Random) -> SweepRow:
        waits, after_s = moment.waits(draw, image), draw.uniform(0.0, moment.within_s)
        timeline = self._rig.recorder.timeline
        with self._ota.shipping(image, timeout=plan.timeout) as shipment:
            shipment.wait_for(**waits)
            threading.Event().wait(after_s / self._rig.speed)  # where in the phase, as drawn
            cursor = timeline.cursor
            self._rig.recorder(
                "ota", "cut", self._name, phase=moment.phase, at=words(waits, after_s)
            )
            self._power.cycle()
        reported = first_report(timeline.events(cursor), self._name)
        on_trial = "report" in waits and after_s < plan.trial_s
        return SweepRow(
            moment.phase, words(waits, after_s), 1, reported, (), shipment.result, on_trial
        )


def words(waits: dict[str, Any], after_s: float) -> str:
    """A sampled moment in words."""
    ((what, value),) = waits.items()
    shown = f"{value:.1%}" if what == "progress" else str(value)
    return f"{what} {shown}" + (f", and {after_s:.2f} s" if after_s else "")


def first_report(events: Sequence[Event], board: str) -> str:
    """The version that the board reported first."""
    for event in events:
        if (event.source, event.kind, event.board) == ("cloud", "report", board):
            return str(event.data["version"])
    return "no report"
