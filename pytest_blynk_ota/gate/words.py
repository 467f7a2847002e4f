"""Numbers in sentences."""

from __future__ import annotations


def percent(part: float) -> str:
    """A part of a whole, as ``1%`` or ``0.25%``: as many digits as it needs, four at most."""
    return f"{100 * part:.4g}%"


def count(number: int, one: str, more: str = "") -> str:
    """``1 run``, ``3 runs``."""
    return f"{number} {one if number == 1 else more or one + 's'}"
