"""Numbers from print: each row names where it stands."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_blynk_ota.gate.statistics import (
    binomial_cdf,
    failures_allowed,
    fisher,
    interval,
    is_worse,
    lower_bound,
    rule_of_three,
    runs_needed,
    upper_bound,
)

NEWCOMBE = "R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 5"
R_MANUAL = "R, help(binom.test): Mendelian inheritance, after Conover (1971), 97-104"
SCIPY = "SciPy, scipy.stats.binomtest, examples"


@pytest.mark.parametrize(
    ("failures", "runs", "low", "high", "digits", "source"),
    [
        (81, 263, 0.2527, 0.3676, 4, NEWCOMBE),
        (15, 148, 0.0578, 0.1617, 4, NEWCOMBE),
        (0, 20, 0.0, 0.1684, 4, NEWCOMBE),
        (1, 29, 0.0009, 0.1776, 4, NEWCOMBE),
        (682, 925, 0.7076683, 0.7654066, 7, R_MANUAL),
        (7, 50, 0.05819170033997342, 0.26739600249700846, 9, SCIPY),
    ],
)
def test_the_interval_is_that_of_published_tables(failures, runs, low, high, digits, source):
    found = interval(failures, runs, 0.95)
    assert found == (pytest.approx(low, abs=10**-digits), pytest.approx(high, abs=10**-digits))


WILKS = (
    "S. S. Wilks, Annals of Mathematical Statistics 12 (1941), 91-96; ISO 16269-6: the k-th of n"
)
"""The largest of 59 results is above 95 % of all, as surely as 95 in 100: the same equation. The
orders 1, 2, 3 of nuclear safety analysis (59, 93, 124 and 299, 473, 628) are 0, 1, 2 failures."""


@pytest.mark.parametrize(
    ("rate", "confidence", "failures", "runs", "source"),
    [
        (0.10, 0.90, 0, 22, WILKS),
        (0.10, 0.95, 0, 29, WILKS),
        (0.05, 0.95, 0, 59, WILKS),
        (0.01, 0.95, 0, 299, WILKS),
        (0.01, 0.99, 0, 459, WILKS),
        (0.05, 0.95, 1, 93, WILKS),
        (0.05, 0.95, 2, 124, WILKS),
        (0.01, 0.95, 1, 473, WILKS),
        (0.01, 0.95, 2, 628, WILKS),
    ],
)
def test_the_runs_needed_are_those_of_published_tables(rate, confidence, failures, runs, source):
    assert runs_needed(rate, confidence, failures) == runs


def test_a_rate_or_confidence_that_no_number_of_runs_shows_is_refused():
    for rate, confidence in ((0.0, 0.95), (0.01, 1.0), (1.0, 0.95), (0.01, 0.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            runs_needed(rate, confidence)


def test_more_runs_than_any_rack_makes_are_no_number():
    assert runs_needed(1e-8, 0.95) is None


def test_the_rule_of_three_is_the_bound_of_a_run_without_failures_to_one_digit():
    for runs in (30, 100, 300, 1000):  # Hanley & Lippman-Hand (1983): from 30 on
        assert (
            upper_bound(0, runs, 0.95) <= rule_of_three(runs) <= 1.06 * upper_bound(0, runs, 0.95)
        )


def summed(failures, runs, rate):
    rows = (math.comb(runs, k) * rate**k * (1 - rate) ** (runs - k) for k in range(failures + 1))
    return math.fsum(rows)


@given(st.integers(1, 300), st.data())
def test_the_binomial_is_that_of_its_sum(runs, data):
    failures = data.draw(st.integers(0, runs))
    rate = data.draw(st.floats(1e-6, 1 - 1e-6))
    assert binomial_cdf(failures, runs, rate) == pytest.approx(
        summed(failures, runs, rate), abs=1e-10
    )


@settings(max_examples=30)
@given(st.integers(1, 60), st.floats(0.001, 0.999), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_true_rate_is_above_the_bound_no_more_often_than_it_says(runs, rate, confidence):
    missed = math.fsum(
        chance(k, runs, rate) for k in range(runs + 1) if upper_bound(k, runs, confidence) < rate
    )
    assert missed <= 1 - confidence + 1e-9


@given(st.integers(1, 500), st.data())
def test_bounds_enclose_what_was_seen_and_only_grow_with_failures(runs, data):
    failures = data.draw(st.integers(0, runs))
    low, high = lower_bound(failures, runs, 0.95), upper_bound(failures, runs, 0.95)
    assert low <= failures / runs <= high
    if failures < runs:
        assert upper_bound(failures + 1, runs, 0.95) > high


@given(
    st.sampled_from([0.3, 0.1, 0.05, 0.01]), st.sampled_from([0.8, 0.95, 0.99]), st.integers(0, 4)
)
def test_the_runs_needed_are_the_fewest_that_do(rate, confidence, failures):
    runs = runs_needed(rate, confidence, failures)
    assert upper_bound(failures, runs, confidence) <= rate + 1e-12
    assert upper_bound(failures, runs - 1, confidence) > rate
    assert failures_allowed(runs, rate, confidence) == failures
    assert failures_allowed(runs - 1, rate, confidence) == failures - 1


def test_fisher_is_that_of_the_lady_tasting_tea():
    # R. A. Fisher, The Design of Experiments (1935), II: 17 of 70 for three of four cups or better
    assert fisher((1, 4), (3, 4)) == pytest.approx(17 / 70)


def test_fisher_is_that_of_the_twins():
    # R, help(fisher.test): Fisher's criminal twins (1962, 1970), one-sided: 0.0004652
    assert fisher((2, 17), (10, 13)) == pytest.approx(0.0004652, abs=5e-8)


def test_boschloo_is_that_of_scipys_manual():
    # scipy.stats.boschloo_exact, example: 74 of 117 and 31 of 63: Fisher 0.0483, Boschloo 0.0355
    assert fisher((31, 63), (74, 117)) == pytest.approx(0.0483, abs=5e-5)
    assert is_worse((31, 63), (74, 117)) == pytest.approx(0.0355, abs=1e-4)


def test_a_release_that_fails_no_more_often_than_the_last_is_not_worse():
    for old, new in (((0, 50), (0, 50)), ((3, 30), (3, 30)), ((5, 30), (1, 30))):
        assert is_worse(old, new) > 0.3


def test_nothing_is_worse_than_what_was_never_run():
    assert is_worse((0, 0), (3, 3)) == 1.0
    assert is_worse((0, 5), (0, 0)) == 1.0


@settings(max_examples=20)
@given(st.integers(1, 15), st.integers(1, 15), st.data())
def test_one_more_failure_never_makes_a_release_better(n, m, data):
    x, y = data.draw(st.integers(0, n)), data.draw(st.integers(0, m - 1))
    assert is_worse((x, n), (y + 1, m)) <= is_worse((x, n), (y, m)) + 1e-9


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_equal_releases_are_called_worse_no_more_often_than_asked(rate):
    n, m, level = 8, 10, 0.05
    called = math.fsum(
        chance(x, n, rate) * chance(y, m, rate)
        for x in range(n + 1)
        for y in range(m + 1)
        if is_worse((x, n), (y, m)) <= level
    )
    assert called <= level + 1e-6


def chance(k, n, rate):
    return math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
