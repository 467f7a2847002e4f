"""Where in a body a fault acts. Pure."""

from __future__ import annotations

from fractions import Fraction

from pytest_blynk_ota.delivery.kinds import Offset
from pytest_blynk_ota.delivery.plan.idle import Idle


def resolve(place: Offset, size: int) -> int:
    """The body byte that an offset means, be it within the body or not. Per cent round down."""
    if isinstance(place, str):
        return int(Fraction(place.rstrip("%")) * size / 100)
    return size + place if place < 0 else place


def locate(place: Offset, size: int, name: str, *, end: bool = False) -> int:
    """The same, within a body of ``size`` bytes.

    Args:
        end: whether the place after the last byte counts.

    Raises:
        Idle: it lies outside.
    """
    where, last = resolve(place, size), size if end else size - 1
    if not 0 <= where <= last:
        fits = f"an offset that comes to 0..{last}" if last >= 0 else "a file with bytes"
        raise Idle(f"byte {where} is outside of {name} ({size} bytes); expected {fits}")
    return where


def stretch(place: Offset, count: int | None, size: int, name: str) -> tuple[int, int]:
    """``count`` bytes from a place on, or all that follow.

    Raises:
        Idle: there are not so many.
    """
    first = locate(place, size, name)
    stop = size if count is None else first + count
    if stop > size:
        raise Idle(
            f"{count} bytes from byte {first} on do not fit {name} ({size} bytes); "
            f"expected {size - first} or fewer"
        )
    return first, stop
