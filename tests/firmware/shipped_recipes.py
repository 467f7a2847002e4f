"""Images of the recipes in ``firmware_fixtures``."""

from __future__ import annotations

from pathlib import Path

from pytest_blynk_ota.firmware import recipe

RECIPES = Path(__file__).parents[2] / "firmware_fixtures"


def make(name: str, chip: str, **changes) -> bytes:
    text = (RECIPES / f"{name}.toml").read_text()
    return recipe.make(recipe.loads(text, f"{name}.toml"), chip, **changes)
