"""Scenarios that no rig can do yet: listed, and skipped with the reason."""

import pytest
from catalogue import Scenario, scenarios

LISTED = [
    pytest.param(one, id=f"{one.id} {one.what}", marks=pytest.mark.scenario(one.id))
    for one in scenarios().values()
    if one.not_here
]


@pytest.mark.parametrize("one", LISTED)
def test_not_here(one: Scenario):
    pytest.skip(f"{one.id}: {one.not_here}")
