"""A test that stops as soon as the answer is clear either way. Pure.

Wald's sequential probability ratio test (A. Wald: Sequential Tests of Statistical Hypotheses,
Annals of Mathematical Statistics 16 (1945), 117-186) between two failure rates: one at which a
release has to pass, and one at which it must not. After each run the failures so far are held
against two lines of the same slope. Wald's bounds on both errors are approximate, and a test that
may go on for ever is of no use on a rack, so the walk is cut off, and what it then promises is
worked out exactly, run by run, as by L. A. Aroian: Sequential Analysis, Direct Method,
Technometrics 10 (1968), 125-132. Lines and cut are moved until both errors are within what was
asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pytest_blynk_ota.gate.statistics import MAX_RUNS, binomial_cdf

TIGHTER = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the errors asked for with which the lines are drawn; the rest is for the cut."""
LONGER = (1.0, 1.1, 1.25, 1.5, 2.0)
"""Where the walk is cut, in parts of the fixed count for the same errors."""
HEADROOM = 0.94
"""Errors are kept to so much of what was asked, for which a simulation of 100,000 releases, half of
them bad, has to show it too: three standard deviations of 5 % are 0.3 %."""
MAX_WORK = 30_000
"""Runs times failures of the fixed count: beyond, what a walk promises takes seconds."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A count that is fixed in advance.

    Attributes:
        runs: how many.
        allowed: failures with which it passes.
    """

    runs: int
    allowed: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What a plan does with releases of one failure rate, exactly.

    Attributes:
        passes: the chance that it passes.
        runs: how many runs it takes, on average.
    """

    passes: float
    runs: float


@dataclass(frozen=True, slots=True)
class Walk:
    """A sequential plan.

    Attributes:
        good, bad: the two failure rates.
        pass_after: by number of failures the fewest runs after which it passes with them.
        fail_until: by number of failures the most runs up to which it fails with them; 0: never.
        last: the run after which nothing is left open.
        allowed: failures with which it passes there.
    """

    good: float
    bad: float
    pass_after: tuple[int, ...]
    fail_until: tuple[int, ...]
    last: int
    allowed: int

    def says(self, failures: int, runs: int) -> bool | None:
        """True: pass; False: fail; None: go on. Of the first run on which it says one or the other;
        what came after it does not change it."""
        if failures > self.allowed:
            return False
        if runs >= self.pass_after[failures]:
            return True
        if runs <= self.fail_until[failures]:
            return False
        return None if runs < self.last else True

    def follow(self, failed: Iterable[bool]) -> tuple[bool | None, int, int]:
        """What it says of results in their order, and after how many runs and failures."""
        runs = failures = 0
        for one in failed:
            runs, failures = runs + 1, failures + one
            said = self.says(failures, runs)
            if said is not None:
                return said, runs, failures
        return None, runs, failures

    def promise(self, rate: float) -> Promise:
        """What it does with releases that fail at this rate: worked out, not simulated."""
        return _promise(self, rate)


def _promise(walk: Walk, rate: float) -> Promise:
    going = [1.0] + [0.0] * walk.allowed  # the chance of each number of failures, undecided
    passes = steps = 0.0
    for run in range(1, walk.last + 1):
        steps += math.fsum(going)
        for failures in range(walk.allowed, -1, -1):
            came = going[failures - 1] * rate if failures else 0.0
            here = going[failures] * (1 - rate) + came
            said = walk.says(failures, run) if here else None
            passes += here if said is True else 0.0
            going[failures] = here if said is None else 0.0
    return Promise(passes, steps)


@lru_cache(maxsize=64)
def fixed_count(good: float, bad: float, false_pass: float, false_fail: float) -> Fixed | None:
    """The smallest fixed count with both errors within what is asked; None: there is none that a
    rack could make.

    Args:
        good: a release that fails so often shall pass,
        false_fail: but for this chance.
        bad: a release that fails so often must not pass,
        false_pass: but for this chance.

    Raises:
        ValueError: the numbers contradict each other.
    """
    _check(good, bad, false_pass, false_fail)

    def at(allowed: int) -> Fixed | None:
        runs = _fewest(allowed, bad, false_pass)
        fine = 1 - binomial_cdf(allowed, runs, good) <= false_fail
        return Fixed(runs, allowed) if fine else None

    low, high = -1, 0
    while at(high) is None:
        low, high = high, 2 * high + 1
        if _fewest(high, bad, false_pass) > MAX_RUNS // 10:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle) else (middle, high)
    return at(high)


def _fewest(allowed: int, bad: float, false_pass: float) -> int:
    low, high = allowed, allowed + 1
    while binomial_cdf(allowed, high, bad) > false_pass and high <= MAX_RUNS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        fine = binomial_cdf(allowed, middle, bad) <= false_pass
        low, high = (low, middle) if fine else (middle, high)
    return high


def _check(good: float, bad: float, false_pass: float, false_fail: float) -> None:
    if not 0 < good < bad < 1:
        raise ValueError("the good rate has to be above 0 and below the bad one")
    if not (0 < false_pass < 0.5 and 0 < false_fail < 0.5):
        raise ValueError("the chances of an error have to be above 0 and below 50 %")


@lru_cache(maxsize=64)
def plan(good: float, bad: float, false_pass: float, false_fail: float) -> Walk | None:
    """The walk that keeps both errors, exactly, in the fewest runs of those that were tried; None:
    too many runs to work it out.

    Arguments and errors raised as of :func:`fixed_count`.
    """
    fixed = fixed_count(good, bad, false_pass, false_fail)
    if fixed is None or fixed.runs * (fixed.allowed + 1) > MAX_WORK:
        return None
    best: tuple[float, Walk] | None = None
    for longer in LONGER:
        for share in TIGHTER:
            lines = wald_lines(good, bad, false_pass * share, false_fail * share)
            walk = _cut(good, bad, lines, math.ceil(fixed.runs * longer), false_pass, false_fail)
            if walk is None:
                continue
            cost = walk.promise(good).runs + walk.promise(bad).runs
            if best is None or cost < best[0]:
                best = cost, walk
            break  # tighter lines only take longer
    return best[1] if best else None


@dataclass(frozen=True, slots=True)
class Lines:
    """Wald's two lines: pass at ``failures <= slope * runs - below``, fail at
    ``failures >= slope * runs + above``."""

    slope: float
    below: float
    above: float


def wald_lines(good: float, bad: float, false_pass: float, false_fail: float) -> Lines:
    """Wald's lines for two rates and two errors."""
    unit = math.log(bad / good) + math.log((1 - good) / (1 - bad))
    return Lines(
        slope=math.log((1 - good) / (1 - bad)) / unit,
        below=math.log((1 - false_fail) / false_pass) / unit,
        above=math.log((1 - false_pass) / false_fail) / unit,
    )


def _cut(
    good: float, bad: float, lines: Lines, last: int, false_pass: float, false_fail: float
) -> Walk | None:
    """The walk cut off after ``last`` runs, with as many failures allowed there as the errors ask
    for; None: no number keeps both."""
    middle = round(lines.slope * last)
    for allowed in sorted(range(middle + 3), key=lambda one: abs(one - middle)):
        walk = Walk(good, bad, *_tables(lines, last, allowed), last, allowed)
        if (
            walk.promise(bad).passes <= HEADROOM * false_pass
            and 1 - walk.promise(good).passes <= HEADROOM * false_fail
        ):
            return walk
    return None


def _tables(lines: Lines, last: int, allowed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    numbers: Sequence[int] = range(allowed + 1)
    passes = [math.ceil((one + lines.below) / lines.slope) for one in numbers]
    fails = [math.floor((one - lines.above) / lines.slope) for one in numbers]
    # In the last runs it passes once no failure can change it any more: so that one failure more
    # always takes one run more, and no failure is ever of use.
    ends = [last - (allowed - one) for one in numbers]
    return (
        tuple(min(one, end) for one, end in zip(passes, ends, strict=True)),
        tuple(max(one, 0) for one in fails),
    )
