"""The test that stops early keeps its word: worked out run by run, against print, and by chance."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.gate.sequential import Walk, fixed_count, plan, wald_lines

ASKED = [
    (0.01, 0.1, 0.05, 0.1),
    (0.02, 0.1, 0.05, 0.05),
    (0.005, 0.05, 0.05, 0.1),
    (0.001, 0.01, 0.05, 0.1),
    (0.05, 0.2, 0.1, 0.1),
]


def test_walds_lines_are_those_of_the_nist_handbook():
    # NIST/SEMATECH e-Handbook of Statistical Methods, 6.2.6: p1 = 0.01, p2 = 0.10, alpha = 0.05,
    # beta = 0.10: xa = -0.939 + 0.0397 n, xr = 1.205 + 0.0397 n. Its alpha rejects the good one.
    lines = wald_lines(0.01, 0.10, false_pass=0.10, false_fail=0.05)
    assert lines.below == pytest.approx(0.939, abs=5e-4)
    assert lines.above == pytest.approx(1.205, abs=5e-4)
    assert lines.slope == pytest.approx(0.0397, abs=5e-5)


def test_a_fixed_count_is_that_of_the_attribute_tables():
    # 95 %/99 % with one failure allowed: 473 runs
    fixed = fixed_count(0.001, 0.01, 0.05, 0.1)
    assert (fixed.runs, fixed.allowed) == (473, 1)


@pytest.mark.parametrize("asked", ASKED)
def test_both_errors_are_within_what_was_asked(asked):
    good, bad, false_pass, false_fail = asked
    walk = plan(*asked)
    assert walk.promise(bad).passes <= false_pass
    assert walk.promise(good).passes >= 1 - false_fail


@pytest.mark.parametrize("asked", ASKED)
def test_it_takes_three_tenths_fewer_runs_than_a_fixed_count(asked):
    good, bad, *_ = asked
    walk, fixed = plan(*asked), fixed_count(*asked)
    assert (walk.promise(good).runs + walk.promise(bad).runs) / 2 <= 0.7 * fixed.runs


@pytest.mark.parametrize("asked", ASKED)
def test_a_worse_release_passes_more_rarely(asked):
    rates = [asked[0] / 2, asked[0], (asked[0] + asked[1]) / 2, asked[1], min(1, asked[1] * 2)]
    passes = [plan(*asked).promise(rate).passes for rate in rates]
    assert passes == sorted(passes, reverse=True)


def walked(walk: Walk, rate: float, dice: random.Random) -> tuple[bool, int]:
    said, runs, _ = walk.follow(dice.random() < rate for _ in range(walk.last))
    assert said is not None
    return said, runs


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_what_is_worked_out_is_what_chance_does(rate):
    walk, dice, count = plan(0.02, 0.1, 0.05, 0.05), random.Random(20261127), 4000
    seen = [walked(walk, rate, dice) for _ in range(count)]
    told = walk.promise(rate)
    assert sum(said for said, _ in seen) / count == pytest.approx(told.passes, abs=0.015)
    assert sum(runs for _, runs in seen) / count == pytest.approx(told.runs, rel=0.05)


@settings(max_examples=50)
@given(st.sampled_from(ASKED), st.lists(st.booleans(), max_size=80), st.integers(0, 79))
def test_a_failure_in_the_place_of_a_success_never_makes_a_pass(asked, failed, at):
    walk = plan(*asked)
    worse = [one or place == at for place, one in enumerate(failed)]
    if walk.follow(failed)[0] is not True:
        assert walk.follow(worse)[0] is not True


def test_it_ends_at_its_last_run_at_the_latest():
    for asked in ASKED:
        walk = plan(*asked)
        for failures in range(walk.allowed + 2):
            assert walk.says(failures, walk.last) is not None


@pytest.mark.parametrize(
    "asked",
    [(0.1, 0.1, 0.05, 0.1), (0.2, 0.1, 0.05, 0.1), (0.0, 0.1, 0.05, 0.1), (0.01, 0.1, 0.6, 0.1)],
)
def test_numbers_that_contradict_each_other_are_refused(asked):
    with pytest.raises(ValueError, match="below"):
        plan(*asked)


def test_a_walk_too_long_to_work_out_is_none():
    assert plan(0.000001, 0.00001, 0.05, 0.1) is None
