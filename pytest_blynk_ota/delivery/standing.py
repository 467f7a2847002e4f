"""Faults that stand in a rig file, beside those of each test: none of them has to fire, and what
has nothing to act on in one operation may have in the next."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.files import others_of
from pytest_blynk_ota.delivery.kinds import BODY_MOST_BYTES
from pytest_blynk_ota.delivery.plan import check
from pytest_blynk_ota.errors import FaultError

SIZES = (16 * 1024, BODY_MOST_BYTES)
"""A firmware that is smaller than any, and one that fills the largest slot."""


def mistake(fault: Fault, *, https: bool) -> str | None:
    """Why it could never fire, whatever file is on offer; None: it can.

    Args:
        https: whether URLs are https ones.
    """
    if fault.kind == "tls" and not https:
        return f"{fault} could never fire: URLs are http ones; expected https = true beside it"
    why = None
    for size in SIZES:
        why = _never(fault, random.Random(size).randbytes(size), "the largest firmware", https)
        if why is None:
            return None
    return why


def fitting(faults: Sequence[Fault], data: bytes, *, https: bool) -> Iterator[Fault]:
    """Those that can fire in an operation with this file; as ``maybe``. Raises FaultError where a
    file that one names cannot be read any more."""
    for fault in faults:
        others_of([fault])
        if _never(fault, data, "the file", https) is None:
            yield fault.maybe()


def _never(fault: Fault, data: bytes, name: str, https: bool) -> str | None:
    one = [fault.maybe()]
    try:
        check(one, data, name, https=https, others=others_of(one))
    except FaultError as error:
        return str(error)
    return None
