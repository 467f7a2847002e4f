"""What ``ota.sweep_power_cuts()`` returns: one update, cut everywhere, and what came of it.

::

    rows      one for each cut that was really made: where, what booted, how the update ended
    update    the same update without a cut
    decided   boots decided from the journal of that update, of which the rows are samples
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.shipment import Operation
from pytest_blynk_ota.verdict import Outcome

GONE = frozenset({Outcome.BRICKED, Outcome.BOOT_LOOP, Outcome.OFFLINE})
"""How an operation ends whose device did not come back."""

NOTHING = "nothing"


class Ships(Protocol):
    """What a sweep needs of the ``ota`` fixture."""

    def restore(self) -> None:
        """Bring Old back, over the wire."""

    def rewound(self, start: Callable[[], None]) -> None:
        """Old is back in the flash, by a snapshot: ``start`` the board, wait until Old is up."""

    def ship(self, image: Image | None = None, *, timeout: float | None = None) -> Result:
        """One shipment."""

    def shipping(self, image: Image | None = None, *, timeout: float | None = None) -> Operation:
        """The same with a hand in it."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What was asked for.

    Attributes:
        torn: variants of each torn flash operation.
        members: cuts really made in each group of cut points.
        seed: of the torn content, and of which cut is made.
        timeout: of each shipment, in device seconds; ``None``: its own default.
        wait_s: device seconds in which a cut has to strike.
        trial_s: device seconds for which New is on trial after its login: its self-test.
        bricks: cuts not survived after which no other is made; ``None``: all are made.
    """

    torn: int
    members: int
    seed: int
    timeout: float | None
    wait_s: float
    trial_s: float = 0.0
    bricks: int | None = None


ERASED = "-"
CHOSEN = ("NEW", "PENDING_VERIFY")
"""Words of an entry of otadata: nothing there; a slot that was selected and has not confirmed."""


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One cut, really made.

    Attributes:
        phase: what the update was doing.
        at: where exactly, in words.
        points: how many cut points come to the same, this one included.
        booted: slot and version that start after it, ``nothing``, or, where the journal cannot be
            read, the version that was reported first.
        otadata: both entries after that boot; () where the journal cannot be read.
        result: how the shipment ended, as judged.
        on_trial: whether the cut came when New had reported, and had not confirmed itself yet.
    """

    phase: str
    at: str
    points: int
    booted: str
    otadata: tuple[str, ...]
    result: Result
    on_trial: bool = False

    @property
    def came_back(self) -> bool:
        """Whether the device was there again at the end."""
        return self.result.outcome not in GONE

    @property
    def brick(self) -> bool:
        """Whether nothing boots after the cut, or the device did not come back."""
        return self.booted == NOTHING or not self.came_back

    @property
    def flaw(self) -> str | None:
        """What is wrong with otadata after the cut, though something booted; None: nothing, or the
        journal cannot be read.

        A board that has lost both entries starts the first slot, and looks well if that is the
        right one. A slot that is chosen before it is whole is fallen back from: that does, too.
        """
        if self.otadata and all(entry == ERASED for entry in self.otadata):
            return "no entry of otadata is left"
        slot = self.booted.partition(" ")[0]
        for entry in self.otadata:
            label, _, state = entry.partition(" ")
            if state in CHOSEN and label != slot:
                return f"otadata chose {label}, which cannot be started"
        return None

    @property
    def well(self) -> bool:
        """Whether something booted, and the update still ended with New; or New was on trial and
        had reported, so that the shipment was over: then the bootloader takes Old back by design.
        """
        fine = {Outcome.UPGRADED, Outcome.ROLLED_BACK} if self.on_trial else {Outcome.UPGRADED}
        return self.booted != NOTHING and self.result.outcome in fine and self.flaw is None

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        return (
            self._mark(),
            self.phase,
            str(self.points),
            self.booted,
            ", ".join(self.otadata),
            "yes" if self.came_back else "no",
            "; ".join([str(self.result.outcome), *([self.flaw] if self.flaw else [])]),
            self.at,
        )

    def _mark(self) -> str:
        if not self.well:
            return "!"
        return "" if self.result.outcome is Outcome.UPGRADED else "~"


HEAD = ("", "phase", "points", "boots", "otadata then", "came back", "ended", "cut really made")


@dataclass(frozen=True, slots=True)
class PowerCutSweep:
    """A sweep of power cuts over one update.

    Attributes:
        board: name of the board.
        seed: gives the same cuts again.
        rows: the cuts that were really made.
        update: the result of the update without a cut; ``None`` on a real rack.
        cut_points: how many places there are for a cut.
        decided: boots that were decided; 0 on a real rack, where none can be.
        states: groups of cut points with the same phase, boot and otadata.
        seconds: wall seconds that the decisions took.
        evidence: the folder that holds the events of this test.
        left: cuts of the plan that were not made any more, as too many before were not survived.
    """

    board: str
    seed: int
    rows: tuple[SweepRow, ...]
    update: Result | None
    cut_points: int
    decided: int
    states: int
    seconds: float
    evidence: Path
    left: int

    @property
    def all_well(self) -> bool:
        """Whether every cut was made and survived and the update still ended with New, or, where
        the cut came in its trial, with Old taken back.
        """
        if self.left:  # of a cut that was not made nobody knows
            return False
        updated = self.update is None or self.update.outcome is Outcome.UPGRADED
        return updated and bool(self.rows) and all(row.well for row in self.rows)

    @property
    def bricks(self) -> tuple[SweepRow, ...]:
        """The cuts after which nothing boots, or the device did not come back."""
        return tuple(row for row in self.rows if row.brick)

    def __repr__(self) -> str:
        bad = [row for row in self.rows if not row.well]
        words = "well so far" if self.left else "all well"
        if bad:
            flaw = f", {bad[0].flaw}" if bad[0].flaw else ""
            words = f"{len(bad)} of {len(self.rows)} not well: {bad[0].phase}{flaw}"
        if self.update is not None and self.update.outcome is not Outcome.UPGRADED:
            words = f"the update without a cut: {self.update.outcome}"
        if self.left:
            words += f"; {self._stopped()}"
        return f"<power cuts on {self.board}, seed {self.seed}: {words}>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"power cuts of one update on {self.board}, seed {self.seed}"
        if self.update is not None:
            yield f"  without a cut: {self.update.outcome}"
        if self.decided:
            yield (
                f"  {self.cut_points} cut points, {self.decided} boots decided in "
                f"{self.seconds:.2f} s, {self.states} states, {len(self.rows)} really run"
            )
        else:
            run = len(self.rows) if self.left else "all"
            yield f"  {len(self.rows) + self.left} sampled moments, {run} really run"
        yield from ("  " + line for line in table([HEAD, *(row.cells() for row in self.rows)]))
        if self.left:
            yield f"  {self._stopped()} (bricks=None makes all)"
        yield f"  evidence: {self.evidence}"

    def _stopped(self) -> str:
        lost = len(self.bricks)
        cuts = "1 cut that was" if lost == 1 else f"{lost} cuts that were"
        more = "1 more was" if self.left == 1 else f"{self.left} more were"
        return f"stopped after {cuts} not survived; {more} not made"

    def to_json(self) -> Mapping[str, Any]:
        """What stands in the evidence."""
        return {
            "all_well": self.all_well,
            "left": self.left,
            "rows": [
                {
                    "phase": row.phase,
                    "at": row.at,
                    "points": row.points,
                    "booted": row.booted,
                    "otadata": list(row.otadata),
                    "operation": row.result.number,
                    "outcome": str(row.result.outcome),
                    "came_back": row.came_back,
                    "well": row.well,
                }
                for row in self.rows
            ],
            "table": str(self),
        }


def until_lost(rows: Iterable[SweepRow], bricks: int | None) -> tuple[SweepRow, ...]:
    """The rows, each made when it is asked for, up to the one with which so many are bricks: a
    shipment to a brick lasts its whole deadline. All of them if ``bricks`` is None."""
    made: list[SweepRow] = []
    lost = 0
    for row in rows:
        made.append(row)
        lost += row.brick
        if lost == bricks:
            break
    return tuple(made)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with their columns in line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
