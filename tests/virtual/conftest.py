"""Fixtures of the virtual-hardware tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from virtual_bench import MAC, Bench, ThreadedRack, threaded_rack

from pytest_blynk_ota.virtual.chip.chips import MODELS, make_chip
from pytest_blynk_ota.virtual.chip.flash import NorFlash


@pytest.fixture(params=sorted(MODELS))
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
    """The default boards, one of each chip, running the echo firmware."""
    with threaded_rack() as made:
        yield made
