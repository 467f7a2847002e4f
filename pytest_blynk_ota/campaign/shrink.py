"""Making a failing plan smaller, until nothing can be left out. Pure: the caller runs the plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from pytest_blynk_ota.campaign.plan import Plan, Step


def smallest(plan: Plan, fails: Callable[[Plan], bool], most: int = 40) -> Plan:
    """A plan that still fails and of which nothing can be left out.

    Args:
        fails: runs a plan; whether it fails in the same way.
        most: runs that may be spent on it; what is smallest then is returned.
    """
    left = most
    while True:
        for smaller in smaller_ones(plan):
            if not left:
                return plan
            left -= 1
            if fails(smaller):
                plan = smaller
                break
        else:
            return plan


def smaller_ones(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less, the biggest things first."""
    steps = plan.steps
    if len(steps) > 1:
        for at in range(len(steps)):
            yield Plan(steps[:at] + steps[at + 1 :])
    for at, step in enumerate(steps):
        for less in _less(step):
            yield Plan((*steps[:at], less, *steps[at + 1 :]))


def _less(step: Step) -> Iterator[Step]:
    for key in ("faults", "cloud"):
        texts = getattr(step, key)
        for at in range(len(texts)):
            yield replace(step, **{key: texts[:at] + texts[at + 1 :]})
    if step.cut is not None:
        yield replace(step, cut=None)
    if step.op == "ship":
        yield replace(step, op="offer", limit=None)
        if step.limit != 1:
            yield replace(step, limit=1)
