"""Faults are data: they print as what makes them, and nonsense is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.errors import FaultError

PERCENTS = st.decimals(0, 100, places=3).map(lambda share: f"{share}%")
OFFSETS = st.one_of(
    st.integers(-(2**32), 2**32), PERCENTS, st.integers(1, 2**32).map(lambda n: f"last {n}")
)
RATES = st.one_of(st.integers(1, 2**31), st.floats(1e-6, 1e12))
PLAIN = st.one_of(
    st.builds(faults.stall, after=OFFSETS, seconds=st.none() | RATES),
    st.builds(faults.drip, bytes_per_s=RATES, after=OFFSETS),
    st.builds(faults.bandwidth, bytes_per_s=RATES, after=OFFSETS),
    st.builds(faults.truncate, after=OFFSETS),
    st.builds(faults.reset, after=OFFSETS),
    st.builds(faults.corrupt, at=OFFSETS, flips=st.integers(1, 4096), seed=st.integers(0, 2**32)),
    st.builds(faults.status, code=st.integers(200, 599)),
)
NUMBERS = st.lists(st.integers(1, 1000), min_size=1, max_size=4)
FAULTS = st.one_of(PLAIN, st.builds(lambda one, at: one.on_attempt(*at), PLAIN, NUMBERS))


@given(FAULTS)
def test_the_text_form_of_a_fault_reads_back_as_the_fault(fault):
    assert faults.parse(str(fault)) == fault


@given(FAULTS)
def test_the_repr_of_a_fault_is_the_python_text_that_makes_it(fault):
    assert eval(repr(fault), {"faults": faults}) == fault


WORDS = ["stall", "drip", "after=50%", "after=", "=", "on", "attempt", "1", "last", "-1", "at=x"]


@given(st.text(max_size=40) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_a_fault_or_refused_as_a_fault_error(text):
    try:
        fault = faults.parse(text)
    except FaultError:
        return
    assert faults.parse(str(fault)) == fault


@pytest.mark.parametrize(("text", "fault"), [
    ("stall", faults.stall()),
    ("stall after=50% on attempt 1", faults.stall(after="50%").on_attempt(1)),
    ("stall 0 seconds=2.5", faults.stall(0, seconds=2.5)),
    ("status 503 on attempts 1 and 2", faults.status(503).on_attempt(1, 2)),
    ("reset last 4096", faults.reset(-4096)),
    ("truncate after=last 4096 on attempt 2,1", faults.truncate("last 4096").on_attempt(1, 2)),
    ("  drip   after=99% ", faults.drip(after="99%")),
    ("bandwidth 2048", faults.bandwidth(2048)),
    ("corrupt at=-1 flips=3 seed=7", faults.corrupt(at="last 1", flips=3, seed=7)),
])  # fmt: skip
def test_a_fault_is_written_on_the_command_line_as_one_says_it(text, fault):
    assert faults.parse(text) == fault


@pytest.mark.parametrize(("text", "says"), [
    ("stal after=1", "did you mean 'stall'?"),
    ("drop", "drop is a fault of the cloud: cloud_faults.drop()"),
    ("stall aftr=1", "did you mean 'after'?"),
    ("", "names no fault"),
    ("explode", "known are stall, drip"),
    ("truncate", "after is missing"),
    ("stall after=half", 'expected bytes, "50%" or "last 4096"'),
    ("stall after=101%", "more than the whole file"),
    ("reset after=last 0", 'write "100%"'),
    ("stall after=1 after=2", "stands twice"),
    ("stall 1 2", "no name=value"),
    ("stall seconds=0", "above 0"),
    ("bandwidth nan", "nan"),
    ("drip bytes_per_s=inf", "above 0"),
    ("status 99", "expected 200 to 599"),
    ("corrupt flips=0", "expected 1 to 4096"),
    ("stall on attempt 0", "the first attempt is 1"),
    ("status 503 after=1", "status has no parameter 'after'"),
])  # fmt: skip
def test_nonsense_is_refused_with_the_word_that_is_wrong(text, says):
    with pytest.raises(FaultError) as caught:
        faults.parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("make", [
    lambda: faults.stall(after=True),
    lambda: faults.stall(after=1.5),
    lambda: faults.stall(seconds=-1),
    lambda: faults.bandwidth(None),
    lambda: faults.status("teapot"),
    lambda: faults.stall().on_attempt(),
    lambda: faults.stall().on_attempt(0),
    lambda: faults.stall().on_attempt("1"),
    lambda: faults.Fault("stall", code=404),
    lambda: faults.Fault("fire"),
])  # fmt: skip
def test_the_python_form_refuses_the_same(make):
    with pytest.raises(FaultError):
        make()


def test_two_ways_to_say_one_fault_are_equal():
    assert faults.stall("50.0%") == faults.stall(" 50 %")
    assert faults.reset("last 10") == faults.reset(-10)
    assert faults.drip(2.0) == faults.drip(2)
    assert faults.status(503).on_attempt(2, 1, 2) == faults.status(503).on_attempt(1, 2)


def test_a_fault_is_due_in_the_attempts_it_names_or_in_all():
    assert faults.stall().due(7)
    assert faults.stall().on_attempt(1, 3).due(3)
    assert not faults.stall().on_attempt(1, 3).due(2)


def test_the_two_forms_in_the_reference_are_the_same_faults():
    page = Path(__file__).parents[2] / "docs/reference/faults.md"
    rows = re.findall(r"^\| `(faults\.[^`]+)` \| `([^`]+)`", page.read_text("utf-8"), re.MULTILINE)
    assert {text.split()[0] for _, text in rows} == set(faults.PARAMETERS)
    for python, text in rows:
        assert eval(python, {"faults": faults}) == faults.parse(text)
