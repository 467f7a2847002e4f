"""What a number of test results says of a failure rate, exactly. Pure; floats and ``math`` alone.

=========================  =======================================================================
:func:`binomial_cdf`       Abramowitz & Stegun 26.5.24: a regularised incomplete beta function,
                           by its continued fraction (26.5.8, as Lentz' method evaluates it)
:func:`upper_bound`,       C. J. Clopper, E. S. Pearson: The use of confidence or fiducial limits,
:func:`lower_bound`        Biometrika 26 (1934), 404-413
:func:`runs_needed`        the same bound, solved for the number of runs
:func:`rule_of_three`      J. A. Hanley, A. Lippman-Hand: If nothing goes wrong, is everything all
                           right? JAMA 249 (1983), 1743-1745
:func:`fisher`             R. A. Fisher: The Design of Experiments (1935), chapter II
:func:`is_worse`           R. D. Boschloo: Raised conditional level of significance for the 2x2
                           table, Statistica Neerlandica 24 (1970), 1-9
=========================  =======================================================================

Sequential tests are in :mod:`pytest_blynk_ota.gate.sequential`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

EPSILON = 1e-15
TINY = 1e-300
MAX_STEPS = 100_000
HALVINGS = 100
"""Of an interval from 0 to 1: more than a float has digits."""
MAX_RUNS = 10_000_000
"""No rack makes more; a demand beyond is refused."""
NUISANCE_STEPS = 400
"""Common failure rates at which :func:`is_worse` looks for the worst case."""
ROUNDING = 1e-9
LARGE = 40_000
"""Old's runs times New's from which Fisher's p-value stands for Boschloo's: it is a little larger,
so that it accuses less, and takes no seconds."""


def binomial_cdf(failures: int, runs: int, rate: float) -> float:
    """The chance of at most so many failures in so many runs, each of which fails at this rate."""
    if failures < 0:
        return 0.0
    if failures >= runs or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    return _beta(runs - failures, failures + 1, 1 - rate)


def binomial_pmf(failures: int, runs: int, rate: float) -> float:
    """The chance of exactly so many failures."""
    if not 0 < rate < 1:
        return float(failures == (runs if rate >= 1 else 0))
    return math.exp(
        _log_choose(runs, failures)
        + failures * math.log(rate)
        + (runs - failures) * math.log1p(-rate)
    )


def upper_bound(failures: int, runs: int, confidence: float) -> float:
    """The failure rate that is not exceeded, with this confidence: one-sided, Clopper-Pearson."""
    if failures >= runs:
        return 1.0
    return _falls_to_zero(lambda rate: binomial_cdf(failures, runs, rate) - (1 - confidence))


def lower_bound(failures: int, runs: int, confidence: float) -> float:
    """The failure rate that is reached, with this confidence: one-sided, Clopper-Pearson."""
    if failures <= 0:
        return 0.0
    return _falls_to_zero(lambda rate: binomial_cdf(failures - 1, runs, rate) - confidence)


def interval(failures: int, runs: int, confidence: float) -> tuple[float, float]:
    """The central two-sided interval of the failure rate."""
    side = 1 - (1 - confidence) / 2
    return lower_bound(failures, runs, side), upper_bound(failures, runs, side)


def rule_of_three(runs: int) -> float:
    """About the upper bound at 95 % confidence after so many runs without a failure: for the head,
    slightly more than :func:`upper_bound` says."""
    return 3 / runs


@lru_cache(maxsize=1024)
def runs_needed(rate: float, confidence: float, failures: int = 0) -> int | None:
    """The fewest runs that show, with so many failures among them, that the failure rate is at most
    ``rate`` with ``confidence``. None: more than ``MAX_RUNS``.

    Raises:
        ValueError: no number of runs can show that.
    """
    if not 0 < rate < 1 or not 0 < confidence < 1:
        raise ValueError("a rate and a confidence between 0 and 1 are expected, without the ends")
    low, high = failures, failures + 1
    while binomial_cdf(failures, high, rate) > 1 - confidence:
        if high > MAX_RUNS:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        shown = binomial_cdf(failures, middle, rate) <= 1 - confidence
        low, high = (low, middle) if shown else (middle, high)
    return high


def failures_allowed(runs: int, rate: float, confidence: float) -> int:
    """The most failures among so many runs that still show the rate; -1: not even none does."""
    low, high = -1, runs
    while high - low > 1:
        middle = (low + high) // 2
        shown = binomial_cdf(middle, runs, rate) <= 1 - confidence
        low, high = (middle, high) if shown else (low, middle)
    return low


def fisher(old: tuple[int, int], new: tuple[int, int]) -> float:
    """The chance of at least as many failures of New as seen, if both fail equally often, given how
    many failures there are in all.

    Args:
        old, new: failures and runs of a release.
    """
    (x, n), (y, m) = old, new
    total = x + y
    whole = _log_choose(n + m, total)
    rows = range(y, min(m, total) + 1)
    chances = (_log_choose(m, k) + _log_choose(n, total - k) - whole for k in rows)
    return min(1.0, math.fsum(math.exp(one) for one in chances))


def is_worse(old: tuple[int, int], new: tuple[int, int]) -> float:
    """Boschloo's p-value for "New fails more often than Old"; small: it does.

    Fisher's p-value is used as a mere statistic, and the chance of one as small is taken at the
    common failure rate where it is largest. It is exact whatever that rate is, as Fisher's test is,
    and never weaker: two releases that are tested a fixed number of times do not have the number
    of failures fixed, which Fisher's test takes as given.

    Args:
        old, new: failures and runs of a release.
    """
    (_, n), (_, m) = old, new
    seen = fisher(old, new)
    if not n or not m or seen >= 1 or n * m > LARGE:
        return seen
    limits = _as_extreme(n, m, seen * (1 + ROUNDING))
    return min(seen, _worst_case(n, m, limits))


def _as_extreme(n: int, m: int, seen: float) -> list[int]:
    """For each number of Old's failures the fewest of New's that are as extreme as what was seen.

    It only grows with Old's failures, so one walk along the edge finds all.
    """
    limits, y = [], 0
    for x in range(n + 1):
        while y <= m and fisher((x, n), (y, m)) > seen:
            y += 1
        limits.append(y)
    return limits


def _worst_case(n: int, m: int, limits: list[int]) -> float:
    """The largest chance of anything as extreme, over the common failure rate."""

    def chance(rate: float) -> float:
        tails = _tails(m, rate)
        return math.fsum(
            binomial_pmf(x, n, rate) * tails[y] for x, y in enumerate(limits) if y <= m
        )

    best = max(range(1, NUISANCE_STEPS), key=lambda step: chance(step / NUISANCE_STEPS))
    near = ((best + k / NUISANCE_STEPS * 2 - 1) / NUISANCE_STEPS for k in range(NUISANCE_STEPS))
    return max(chance(rate) for rate in near)


def _tails(runs: int, rate: float) -> list[float]:
    """The chance of at least 0, 1, 2, … failures."""
    tails = [0.0] * (runs + 2)
    for failures in range(runs, -1, -1):
        tails[failures] = tails[failures + 1] + binomial_pmf(failures, runs, rate)
    return tails


def _falls_to_zero(falling: Callable[[float], float]) -> float:
    """Where a function that falls with the rate, from 0 to 1, is 0."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return high


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), where its fraction is fast."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_front) / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """1 + d1/(1 + d2/(1 + …)), A&S 26.5.8, by Lentz' method."""
    value, above, below = 1.0, 1.0, 0.0
    for step in range(1, MAX_STEPS):
        m = step // 2
        if step % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        below = 1 / _not_zero(1 + d * below)
        above = _not_zero(1 + d / above)
        value *= above * below
        if abs(above * below - 1) < EPSILON:
            return value
    raise ArithmeticError(f"the beta function of {a}, {b} does not converge at {x}")


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
