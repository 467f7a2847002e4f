"""Numbers in sentences."""

from __future__ import annotations


def percent(part: float) -> str:
    """A part of a whole, as ``1%`` or ``0.25%``: as many digits as it needs, four at most; but
    nothing is called ``100%`` that is less."""
    text = f"{100 * part:.4g}%"
    return text if text != "100%" or part >= 1 else f"{100 * part:.10g}%"


def count(number: int, one: str, more: str = "") -> str:
    """``1 run``, ``3 runs``."""
    return f"{number} {one if number == 1 else more or one + 's'}"
