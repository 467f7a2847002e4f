"""Fixtures of the virtual-hardware tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from virtual_bench import MAC, SPEED, Bench, ThreadedRack, echo

from pytest_blynk_ota.virtual.chips import MODELS, make_chip
from pytest_blynk_ota.virtual.flash import NorFlash


@pytest.fixture(params=["esp32", "esp32c3"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A chip of each kind in download mode."""
    flash = NorFlash()
    yield Bench(make_chip(MODELS[request.param], MAC), flash)
    flash.close()


@pytest.fixture
def stub(bench: Bench) -> Bench:
    """The same with the stub running."""
    bench.start_stub()
    return bench


@pytest.fixture
def rack() -> Iterator[ThreadedRack]:
    """Both default boards, running the echo firmware."""
    made = ThreadedRack(echo, SPEED)
    yield made
    made.close()
