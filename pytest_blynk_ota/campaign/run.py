"""Carrying plans out on a board, and what must hold however much goes wrong.

After any trouble the board runs Old or New and is reachable, no error finding is new, and one
shipment with nothing in its way gets through.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_blynk_ota.beginning import DOWNLOAD_LIMIT
from pytest_blynk_ota.campaign.book import Book, Entry
from pytest_blynk_ota.campaign.draw import draw
from pytest_blynk_ota.campaign.plan import Plan, Step
from pytest_blynk_ota.campaign.shrink import smallest
from pytest_blynk_ota.errors import NotReached, UsageError
from pytest_blynk_ota.verdict import Outcome

if TYPE_CHECKING:
    from pytest_blynk_ota.ota import Ota
    from pytest_blynk_ota.result import Result
    from pytest_blynk_ota.rig.power import Power

BAD = (Outcome.BRICKED, Outcome.BOOT_LOOP, Outcome.OFFLINE, Outcome.MISREPORTED)
"""Outcomes that no trouble on the way excuses."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a campaign may take.

    Attributes:
        plans: how many; None: any number.
        wall_s: wall seconds after which no further one begins; None: any.
    """

    plans: int | None = None
    wall_s: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """``200``, ``90min`` or ``8h``.

        Raises:
            UsageError: it is neither.
        """
        for suffix, seconds in (("min", 60), ("h", 3600)):
            number = text.removesuffix(suffix)
            if text.endswith(suffix) and number.isdecimal() and int(number):
                return cls(wall_s=float(int(number) * seconds))
        if text.isdecimal() and int(text):
            return cls(plans=int(text))
        raise UsageError(
            f"--campaign: expected a number of plans as 200, or a time as 90min or 8h, got {text!r}"
        )


class Hands(Protocol):
    """What a plan is carried out with."""

    def restore(self) -> None:
        """Bring the board back to Old."""

    def carry_out(self, step: Step) -> Result:
        """Make one update."""

    def clean(self) -> Result:
        """One shipment with nothing in its way."""

    def problem_of(self, result: Result) -> str | None:
        """An error finding that this firmware is not known for."""


class OnBoard:
    """Plans on the board of a test."""

    def __init__(self, ota: Ota, power: Power | None, known: frozenset[str]) -> None:
        self._ota = ota
        self._power = power
        self._known = known
        self._fresh = True

    def restore(self) -> None:
        """Bring the board back to Old; the first time the fixture has done that."""
        if not self._fresh:
            self._ota.restore()
        self._fresh = False

    def carry_out(self, step: Step) -> Result:
        """Make one update."""
        way = (
            self._ota.shipping(faults=step.all_faults, download_limit=step.limit or DOWNLOAD_LIMIT)
            if step.op == "ship"
            else self._ota.offering(faults=step.all_faults)
        )
        with way as operation:
            if step.cut is not None and self._power is not None:
                try:
                    operation.wait_for(progress=step.cut)
                except NotReached:  # something else ended the download before
                    pass
                else:
                    self._power.cycle()
        return operation.result

    def clean(self) -> Result:
        """One shipment with nothing in its way."""
        return self._ota.ship()

    def problem_of(self, result: Result) -> str | None:
        """An error finding that this firmware is not known for."""
        for finding in result.findings:
            if finding.severity == "error" and finding.name not in self._known:
                return f"finding {finding}"
        return None


def problem_with(plan: Plan, hands: Hands) -> str | None:
    """What is wrong after a plan; None: nothing. Raises RigError: then nothing is known."""
    hands.restore()
    result: Result | None = None
    for step in plan.steps:
        if result is not None and result.outcome is Outcome.UPGRADED:
            hands.restore()
        result = hands.carry_out(step)
        if result.outcome in BAD:
            return f"{result.outcome} after {step}"
        if found := hands.problem_of(result):
            return f"{found} after {step}"
    if result is not None and result.outcome is Outcome.UPGRADED:
        return None
    after = hands.clean()
    if after.outcome is not Outcome.UPGRADED:
        return f"{after.outcome} of a clean shipment afterwards"
    return None


def kind_of(problem: str) -> str:
    """What two problems have in common that are the same one."""
    return problem.split(" after ")[0].split(" [")[0]


class Campaign:
    """Plans of one seed on one board, from where it stopped last time.

    Args:
        power: whether the board has an outlet.
    """

    def __init__(self, seed: int, book: Book, hands: Hands, *, power: bool) -> None:
        self.seed = seed
        self.book = book
        self._hands = hands
        self._power = power

    def run(self, budget: Budget) -> list[Entry]:
        """Run plans until the budget is spent; all problems of this campaign, earlier ones too.

        Raises:
            RigError: the rack failed; the plan that was under way is not counted.
        """
        for number in self._numbers(budget):
            plan = draw(self.seed, number, power=self._power)
            self.book.write(self._entry(number, plan))
        return [entry for entry in self.book.entries if entry.problem]

    def _numbers(self, budget: Budget) -> Iterator[int]:
        ends = None if budget.wall_s is None else time.monotonic() + budget.wall_s
        while ends is None or time.monotonic() < ends:
            number = self.book.next_number
            if budget.plans is not None and number > budget.plans:
                return
            yield number

    def _entry(self, number: int, plan: Plan) -> Entry:
        problem = problem_with(plan, self._hands)
        if problem is None:
            return Entry(number)
        kind = kind_of(problem)
        small = smallest(plan, lambda one: self._same(one, kind))
        path = self.book.keep(f"plan-{number}.toml", f"# {problem}\n{small.to_toml()}")
        return Entry(number, problem, str(path))

    def _same(self, plan: Plan, kind: str) -> bool:
        problem = problem_with(plan, self._hands)
        return problem is not None and kind_of(problem) == kind
