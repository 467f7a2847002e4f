"""All cut points of a recording decided, and put together by what would boot.

Of *n* operations there are *n* + 1 states between them, and of each operation that was whole some
torn variants. Each state is one boot. Groups are states with the same phase, the same application
started and the same otadata after it; those on trial are groups of their own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pytest_blynk_ota.virtual.chip.flash import Recording
from pytest_blynk_ota.virtual.chip.operations import Operation, Tear
from pytest_blynk_ota.virtual.sweep.memo import Memo
from pytest_blynk_ota.virtual.sweep.paper import Boot, Hardware, boot
from pytest_blynk_ota.virtual.sweep.phases import AT_THE_END, AT_THE_START, phases, trials
from pytest_blynk_ota.virtual.sweep.state import FlashState, Limit

WHOLE = 0
"""The variant in which the operation has not begun."""


class CutPoint(NamedTuple):
    """Where the power goes away.

    Attributes:
        operation: how many operations are done before it.
        variant: 0: the next one does not begin; else which way it is torn.
    """

    operation: int
    variant: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a sweep.

    Attributes:
        torn: variants of each torn operation.
        members: how many cut points of each group are picked.
        seed: of torn content and picks.
    """

    torn: int = 2
    members: int = 1
    seed: int = 0

    def tear(self, point: CutPoint) -> Tear | None:
        """How the operation at a cut point is torn."""
        return Tear(f"{self.seed} {point.operation}", point.variant) if point.variant else None


@dataclass(slots=True)
class Group:
    """Cut points that come to the same.

    Attributes:
        on_trial: whether an application that was started is not confirmed yet.
        members: the picked ones.
    """

    phase: str
    boot: Boot
    on_trial: bool
    first: CutPoint
    last: CutPoint
    draw: random.Random
    count: int = 0
    members: list[CutPoint] = field(default_factory=list)

    def add(self, point: CutPoint, wanted: int) -> None:
        """Count one more; each has the same chance to be picked."""
        self.last = point
        self.count += 1
        if len(self.members) < wanted:
            self.members.append(point)
        elif (place := self.draw.randrange(self.count)) < wanted:
            self.members[place] = point


class Sweep:
    """The decisions of a whole recording.

    Args:
        recording: it may go on; what the serial loader did in it, and all after that, is no part of
            the update.
        hardware: of the board; its secure version is that before the first operation.
        limit: of the board's bad sectors.

    Attributes:
        base: the flash before the first operation.
        decided: boots decided so far.
        groups: in the order in which they first came.
        before: what booted before the first operation.
        hashes: of the flash at each picked cut point.
    """

    def __init__(self, recording: Recording, hardware: Hardware, limit: Limit, plan: Plan) -> None:
        self.operations = tuple(
            itertools.takewhile(lambda one: one.author != "loader", recording.operations)
        )
        self.plan = plan
        self.decided = 0
        self.groups: list[Group] = []
        self.hashes: dict[CutPoint, str] = {}
        self.base = recording.base
        self._hardware = hardware
        self._limit = limit
        self._memos: dict[int, Memo[Boot]] = {}
        self._found: dict[tuple[str, Boot, bool], Group] = {}
        self.before = self._decide(self._fresh(), hardware.secure_version)
        self._phases = [*phases(self.operations, self.base, self.before.slot), AT_THE_END]
        self._trials = trials(self.operations, self.base)

    @property
    def computed(self) -> int:
        """How many decisions were not found in the cache."""
        return sum(memo.computed for memo in self._memos.values())

    def points(self) -> int:
        """How many cut points there are."""
        whole = sum(not one.is_torn for one in self.operations)
        return len(self.operations) + 1 + whole * self.plan.torn

    def phase(self, point: CutPoint) -> str:
        """In words; a cut between two phases belongs to the one that did not begin."""
        if self.operations and point == (0, WHOLE):
            return AT_THE_START
        return self._phases[point.operation]

    def steps(self) -> Iterator[None]:
        """Do all of it, in slices: each step is one boot, or the hash of one flash."""
        for point, state in self._states():
            self._sort(point, self._decide(state, self._secure_version(point)))
            self.decided += 1
            yield
        picked = {point for group in self.groups for point in group.members}
        for point, state in self._states(picked):
            self.hashes[point] = state.sha256()
            yield

    def run(self) -> Sweep:
        """Do all of it at once."""
        for _ in self.steps():
            pass
        return self

    def _fresh(self) -> FlashState:
        return FlashState(self.base, self._limit)

    def _states(self, only: set[CutPoint] | None = None) -> Iterator[tuple[CutPoint, FlashState]]:
        """Each cut point with the flash as it is there, valid until the next."""
        state = self._fresh()
        for number, operation in enumerate(self.operations):
            for point in self._points_at(number, operation):
                if only is not None and point not in only:
                    continue
                tear = self.plan.tear(point)
                if tear is None:
                    yield point, state
                    continue
                with state.torn(operation, tear):
                    yield point, state
            state.apply(operation)
        end = CutPoint(len(self.operations), WHOLE)
        if only is None or end in only:
            yield end, state

    def _points_at(self, number: int, operation: Operation) -> Iterator[CutPoint]:
        yield CutPoint(number, WHOLE)
        if not operation.is_torn:
            for variant in range(1, self.plan.torn + 1):
                yield CutPoint(number, variant)

    def _decide(self, state: FlashState, secure_version: int) -> Boot:
        memo = self._memos.get(secure_version)
        if memo is None:
            hardware = self._hardware.burnt(secure_version)
            memo = self._memos[secure_version] = Memo(lambda read: boot(read, hardware))
        return memo(state)

    def _secure_version(self, point: CutPoint) -> int:
        """Burnt when the operation that the cut hits began; none is burnt after the last."""
        if not self.operations:
            return self._hardware.secure_version
        return self.operations[min(point.operation, len(self.operations) - 1)].secure_version

    def _sort(self, point: CutPoint, boot: Boot) -> None:
        phase, on_trial = self.phase(point), self._trials[point.operation]
        group = self._found.get((phase, boot, on_trial))
        if group is None:
            draw = random.Random(f"members {self.plan.seed} {len(self.groups)}")
            group = Group(phase, boot, on_trial, point, point, draw)
            self._found[phase, boot, on_trial] = group
            self.groups.append(group)
        group.add(point, self.plan.members)

    def can_be_armed(self, point: CutPoint) -> bool:
        """Whether there is such a cut point, and an operation to tell it by."""
        after = point.operation == len(self.operations)
        return bool(self.operations) and not (after and point.variant)

    def to_json(self) -> dict[str, Any]:
        """What the test side gets."""
        return {
            "operations": len(self.operations),
            "cut_points": self.points(),
            "decided": self.decided,
            "computed": self.computed,
            "seed": self.plan.seed,
            "torn": self.plan.torn,
            "before": _boot_data(self.before),
            "groups": [self._group_data(group) for group in self.groups],
        }

    def _group_data(self, group: Group) -> dict[str, Any]:
        return {
            "phase": group.phase,
            "on_trial": group.on_trial,
            **_boot_data(group.boot),
            "count": group.count,
            "first": group.first._asdict(),
            "last": group.last._asdict(),
            "members": [self._member_data(point) for point in sorted(group.members)],
        }

    def _member_data(self, point: CutPoint) -> dict[str, Any]:
        hit = self.operations[point.operation] if point.operation < len(self.operations) else None
        told = {} if hit is None else {key: getattr(hit, key) for key in TOLD}
        return {**point._asdict(), **told, "flash_sha256": self.hashes.get(point)}


TOLD = ("kind", "offset", "length", "author", "boot")
"""What is told of the operation that a cut hits."""


def _boot_data(boot: Boot) -> dict[str, Any]:
    return {
        "slot": boot.slot,
        "version": boot.version,
        "sha256": boot.sha256,
        "otadata": list(boot.otadata),
        "why": boot.why,
    }
