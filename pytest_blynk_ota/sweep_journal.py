"""The sweep on a virtual rack: the journal of one update tells every cut point.

The rack decides all of them and puts together those that come to the same. One of each group is
made to happen: Old back by the snapshot from before the update, the same shipment, the power gone
at exactly that flash operation, and back a moment later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_blynk_ota.air import names
from pytest_blynk_ota.errors import DeadlinePassed, RigError
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.firmware.image import Image
from pytest_blynk_ota.rig.control import RackControl
from pytest_blynk_ota.rig.place import Place
from pytest_blynk_ota.rig.power import Power
from pytest_blynk_ota.rig.rack import Rig
from pytest_blynk_ota.sweep import NOTHING, PowerCutSweep, Ships, SweepPlan, SweepRow, until_lost

DECIDE_TIMEOUT_S = 300.0
"""Wall seconds for all decisions; those of a 1 MB update take about one."""
OFF_S = 1.0
"""Device seconds without power."""
SILENCE_S = 0.05
"""Wall seconds without a line after which all of a dark board's lines have been read."""
SILENCE_TIMEOUT_S = 20.0
POLL_S = 1.0
"""Wall seconds after which the rack's health is looked at again while a cut is awaited."""


class JournalSweep:
    """One sweep under way.

    Args:
        evidence: the folder of this test.
    """

    def __init__(
        self,
        ota: Ships,
        rig: Rig,
        place: Place,
        control: RackControl,
        power: Power,
        evidence: Path,
    ) -> None:
        self._ota = ota
        self._rig = rig
        self._name = place.name
        self._control = control
        self._power = power
        self._evidence = evidence
        self._record = rig.recorder

    def run(self, image: Image, plan: SweepPlan) -> PowerCutSweep:
        """Record the update, decide its cuts, make those of the plan.

        Raises:
            RigError: the rack failed, a cut did not strike, or it left another flash than decided.
        """
        self._control.request("PUT", f"/{self._name}/journal")
        try:
            return self._sweep(image, plan)
        finally:  # a cut that has not struck must not strike another operation of the test
            self._control.request("DELETE", f"/{self._name}/cut")

    def _sweep(self, image: Image, plan: SweepPlan) -> PowerCutSweep:
        update = self._ota.ship(image, timeout=plan.timeout)
        found = self._control.request(
            "POST",
            f"/{self._name}/sweep",
            {"torn": plan.torn, "members": plan.members, "seed": plan.seed},
            timeout_s=DECIDE_TIMEOUT_S,
        )
        told = ("operations", "cut_points", "decided", "computed", "seconds")
        groups = found["groups"] if found["operations"] else []
        self._record(
            "ota",
            "swept",
            self._name,
            states=[{key: group[key] for key in STATE} for group in groups],
            **{key: found[key] for key in told},
        )
        rows = until_lost(self._rows(image, plan, groups), plan.bricks)
        return PowerCutSweep(
            self._name,
            plan.seed,
            rows,
            update,
            found["cut_points"],
            found["decided"],
            len(groups),
            found["seconds"],
            self._evidence,
            sum(len(group["members"]) for group in groups) - len(rows),
        )

    def _rows(
        self, image: Image, plan: SweepPlan, groups: list[Mapping[str, Any]]
    ) -> Iterator[SweepRow]:
        for group in groups:
            for member in group["members"]:
                self._rewind(member)
                timeline = self._rig.recorder.timeline
                cursor = timeline.cursor
                with self._ota.shipping(image, timeout=plan.timeout) as shipment:
                    dark = self._cut(group, member, plan.wait_s)
                seen = reported(timeline.events(cursor), dark, self._name, image)
                yield SweepRow(
                    group["phase"],
                    where(member),
                    group["count"],
                    booted(group),
                    tuple(group["otadata"]),
                    shipment.result,
                    on_trial=group["on_trial"] and seen,
                )

    def _rewind(self, member: Mapping[str, Any]) -> None:
        """The flash as before the update, a cut armed, and Old up again."""
        self._power.off(by="rig")
        point = {key: member[key] for key in ("operation", "variant")}
        self._control.request("PUT", f"/{self._name}/cut", point)
        self._fall_silent()
        self._ota.rewound(lambda: self._power.on(by="rig"))

    def _cut(self, group: Mapping[str, Any], member: Mapping[str, Any], wait_s: float) -> int:
        """Wait for the cut; then the board is off, as if the test had done it. Returns the cursor
        of the timeline when all was heard of the dark board."""
        struck = self._struck(group, member, wait_s)
        at = time.monotonic() - struck["ago_s"]
        self._record(
            "ota",
            "cut",
            self._name,
            t=at,
            phase=group["phase"],
            at=where(member),
            booted=booted(group),
            **{key: struck[key] for key in ("expected", "sha256", "as_decided")},
        )
        self._power.off(t=at)
        try:
            if not struck["as_decided"]:
                raise RigError(
                    f"board {self._name}: the cut at {where(member)} ({group['phase']}) left a "
                    f"flash of sha256 {struck['sha256'][:12]}, decided was "
                    f"{struck['expected'][:12]}: this run of the update does other things to the "
                    "flash than the recorded one"
                )
            # The dwell is the act itself, as in power.cycle().
            threading.Event().wait(OFF_S / self._rig.speed)
            self._fall_silent()
            return self._rig.recorder.timeline.cursor
        finally:
            self._power.on()

    def _fall_silent(self) -> None:
        """Read what a board without power had still said: a brick's loop says more than a busy
        host reads at once, and none of it may be taken for the next boot's."""
        timeline = self._rig.recorder.timeline
        self._rig.catch_up()
        deadline = time.monotonic() + SILENCE_TIMEOUT_S
        while time.monotonic() < deadline:
            said = timeline.wait(self._heard, SILENCE_S, after=timeline.cursor)
            if said is None:
                return
        raise DeadlinePassed(
            f"the serial line of board {self._name} to fall silent without power",
            SILENCE_TIMEOUT_S,
            evidence=str(self._evidence),
        )

    def _heard(self, events: Sequence[Event]) -> bool | None:
        uart = any(event.source == "uart" and event.board == self._name for event in events)
        return True if uart else None

    def _struck(
        self, group: Mapping[str, Any], member: Mapping[str, Any], wait_s: float
    ) -> Mapping[str, Any]:
        limit = self._rig.timeout(wait_s)
        deadline = time.monotonic() + limit
        while True:
            self._rig.check()
            left = max(0.0, min(POLL_S, deadline - time.monotonic()))
            state = self._control.request("GET", f"/{self._name}/cut?wait={left:.3f}")
            if state["cut"]:
                return dict(state)
            if time.monotonic() >= deadline:
                raise DeadlinePassed(
                    f"the power cut at {where(member)} ({group['phase']}) on board {self._name}",
                    limit,
                    instead="the update went on without coming to that flash operation",
                    evidence=str(self._evidence),
                )


REPORT = ("cloud", "report")
STATE = ("phase", "on_trial", "slot", "version", "otadata", "why", "count", "first", "last")
"""What the evidence keeps of a group of cut points."""


def reported(events: Sequence[Event], until: int, board: str, image: Image) -> bool:
    """Whether an image had named itself when the cursor was ``until``: a shipment of it is over."""
    told = [
        event.data
        for event in events
        if event.seq <= until and (event.source, event.kind, event.board) == (*REPORT, board)
    ]
    return any(names(one["version"], one["build"], image.version, image.build) for one in told)


def where(member: Mapping[str, Any]) -> str:
    """A cut point in words."""
    if "kind" not in member:
        return f"after operation {member['operation']}"
    what = f"{member['kind']} of {member['length']} bytes at 0x{member['offset']:x}"
    how = f"torn, variant {member['variant']}" if member["variant"] else "not begun"
    return f"operation {member['operation'] + 1}, {what}, {how}"


def booted(group: Mapping[str, Any]) -> str:
    """What starts after a cut, in words."""
    if group["slot"] is None:
        return NOTHING
    return f"{group['slot']} ({group['version'] or 'no version'})"
