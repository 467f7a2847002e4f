"""Whether the gate's sequential test keeps its word, and what it saves.

For each plan 100,000 releases are made up: half of them fail as often as the good rate says, half
as often as the bad one, which is where both errors are largest. Each is tested until the plan
stops. The same is worked out exactly beside it, and so is a fixed count for the same errors.

    python benchmarks/bench_gate_statistics.py [--releases 100000] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from dataclasses import dataclass

from pytest_blynk_ota.gate.sequential import Fixed, Walk, fixed_count, plan
from pytest_blynk_ota.gate.statistics import binomial_cdf

PLANS = (
    (0.01, 0.10, 0.05, 0.10),
    (0.02, 0.10, 0.05, 0.05),
    (0.005, 0.05, 0.05, 0.10),
    (0.001, 0.01, 0.05, 0.10),
    (0.002, 0.01, 0.05, 0.10),
)
"""Good rate, bad rate, chance of a false pass, chance of a false fail."""
LEAST_SAVED = 0.30


@dataclass
class Tally:
    """What became of releases of one rate."""

    releases: int = 0
    passed: int = 0
    runs: int = 0

    @property
    def rate(self) -> float:
        return self.passed / self.releases


def simulated(walk: Walk, rate: float, releases: int, dice: random.Random) -> Tally:
    """Releases that fail at this rate. A run of successes is drawn as one number, which is the same
    as drawing them one by one, for nothing but its end and the plan's next limit matter."""
    tally = Tally()
    for _ in range(releases):
        passed, runs = one(walk, rate, dice)
        tally.releases += 1
        tally.passed += passed
        tally.runs += runs
    return tally


def one(walk: Walk, rate: float, dice: random.Random) -> tuple[bool, int]:
    runs = failures = 0
    while True:
        fails_at = runs + 1 + int(math.log(1 - dice.random()) / math.log(1 - rate))
        if fails_at > walk.pass_after[failures]:
            return True, walk.pass_after[failures]
        runs, failures = fails_at, failures + 1
        said = walk.says(failures, runs)
        if said is not None:
            return said, runs


def report(asked: tuple[float, float, float, float], releases: int, dice: random.Random) -> bool:
    good, bad, false_pass, false_fail = asked
    began = time.perf_counter()
    walk, fixed = plan(*asked), fixed_count(*asked)
    assert walk is not None
    assert fixed is not None
    of_good, of_bad = (simulated(walk, rate, releases // 2, dice) for rate in (good, bad))
    took = time.perf_counter() - began
    exact_good, exact_bad = walk.promise(good), walk.promise(bad)
    mean = (of_good.runs + of_bad.runs) / releases
    saved = 1 - mean / fixed.runs
    exact_saved = 1 - (exact_good.runs + exact_bad.runs) / 2 / fixed.runs
    fine = (
        exact_bad.passes <= false_pass
        and 1 - exact_good.passes <= false_fail
        and of_bad.rate <= false_pass
        and 1 - of_good.rate <= false_fail
        and saved >= LEAST_SAVED
    )
    print(f"good {good:.1%}, bad {bad:.1%}; {releases} releases in {took:.1f} s")
    row("false pass", of_bad.rate, exact_bad.passes, false_pass, by_count(fixed, bad))
    row(
        "false fail", 1 - of_good.rate, 1 - exact_good.passes, false_fail, 1 - by_count(fixed, good)
    )
    print(
        f"  mean runs: {mean:.1f} ({of_good.runs / of_good.releases:.1f} of good ones, "
        f"{of_bad.runs / of_bad.releases:.1f} of bad ones), fixed count: {fixed.runs}; "
        f"saved: {saved:.1%}, exact {exact_saved:.1%}, asked at least {LEAST_SAVED:.0%}: "
        f"{'OK' if fine else 'MISSED'}"
    )
    return fine


def row(name: str, simulated: float, exact: float, asked: float, fixed: float) -> None:
    print(
        f"  {name}: simulated {simulated:.2%}, exact {exact:.2%}, asked at most {asked:.0%}; "
        f"by the fixed count {fixed:.2%}"
    )


def by_count(fixed: Fixed, rate: float) -> float:
    return binomial_cdf(fixed.allowed, fixed.runs, rate)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    dice = random.Random(told.seed)
    missed = sum(not report(asked, told.releases, dice) for asked in PLANS)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
