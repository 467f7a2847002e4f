"""How much longer faults make a healthy download."""

from __future__ import annotations

import pytest

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.kinds import KINDS
from pytest_blynk_ota.delivery.slowness import SLOWS, slowness_s

SIZE = 100_000


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.stall(0, seconds=29), 29),
        (faults.stall("50%"), 0),
        (faults.latency(3, jitter=2), 5),
        (faults.latency(10, jitter=0.5, spread="lognormal"), 27.18),
        (faults.bandwidth(1000), 100),
        (faults.bandwidth(1000, after="75%"), 25),
        (faults.bandwidth(1000, after="3s"), 100),
        (faults.drip(after="last 100"), 100),
        (faults.segments(bytes=1000, gap=0.2), 20),
        (faults.slow_headers(10), 40),
        (faults.split_headers(gap=7), 7),
        (faults.status(503, retry_after=60), 60),
        (faults.unreachable("silent", seconds=15), 15),
        (faults.corrupt(0), 0),
    ],
)
def test_a_fault_adds_what_it_takes_at_the_most(fault, seconds):
    assert slowness_s([fault], SIZE) == pytest.approx(seconds, abs=0.01)


def test_several_add_up_but_one_that_nobody_would_wait_for_adds_nothing():
    assert slowness_s([faults.latency(3), faults.drip(1), faults.latency(4)], SIZE) == 7


def test_only_faults_that_there_are_slow_down():
    assert set(SLOWS) <= set(KINDS)
