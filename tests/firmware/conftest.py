"""Fixture images of both chips."""

from __future__ import annotations

import pytest
import shipped_recipes


@pytest.fixture(params=["esp32", "esp32c3"])
def chip(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def made():
    """The image of a shipped recipe."""
    return shipped_recipes.make


@pytest.fixture
def new(made, chip) -> bytes:
    return made("new", chip)
