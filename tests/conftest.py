"""Shared by all tests of the project."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Other tests run beside ours: how long one example took says nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# Each run on the virtual rack reads its evidence back and judges it again (pytest_blynk_ota/prove.py).
os.environ.setdefault("BLYNK_OTA_PROVE", "1")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """``-n auto`` is two workers a core: most tests wait for a board, a port or a child.

    A worker that has nothing left takes from the others: the last tests are the longest.
    """
    if config.getoption("dist") == "no":
        config.option.dist = "worksteal"
    return 2 * (os.cpu_count() or 1)
