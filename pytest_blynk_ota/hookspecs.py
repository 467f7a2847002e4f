"""Hooks of ours that a user's ``conftest.py`` or plugin may implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_blynk_ota.rig.extensions import Factory


def pytest_blynk_ota_power(config: pytest.Config) -> Mapping[str, Factory]:  # type: ignore[empty-body]
    """Power drivers by the names that a rig file calls them in ``power = { driver = "NAME" }``.

    Each factory gets the other keys of that table by their names, and gives a ``PowerDriver``.
    Called once, before the rig file is read, in each ``conftest.py`` that is known then.
    """


def pytest_blynk_ota_provision(config: pytest.Config) -> Mapping[str, Factory]:  # type: ignore[empty-body]
    """Ways to provision by the names of ``provision = { kind = "NAME" }``.

    Each factory gets the other keys of that table by their names, without ``wifi``, and gives a
    ``Provisioning``. Called once, before the rig file is read.
    """
