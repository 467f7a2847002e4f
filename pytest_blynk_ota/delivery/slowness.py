"""How much longer a healthy download takes under faults that only slow it down. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.kinds import seconds_of
from pytest_blynk_ota.delivery.plan.offsets import resolve

HEAD_BYTES = 400
"""A head with digests, Date and ETag comes to about so many."""

LONGEST_S = 1800.0
"""Device seconds: what takes longer than half an hour is no healthy download that one waits for."""

FAR_OUT_SIGMAS = 2.0
"""A lognormal wait is longer than its median times e to so many sigmas once in 44."""


def slowness_s(faults: Sequence[Fault], size: int) -> float:
    """Device seconds that faults add to one download of ``size`` bytes at the most.

    Those under which it takes more than :data:`LONGEST_S` add nothing: it is not waited for.
    """
    more = [SLOWS[one.kind](one.values, size) for one in faults if one.kind in SLOWS]
    return sum(seconds for seconds in more if seconds <= LONGEST_S)


def _rest(values: Mapping[str, Any], size: int) -> int:
    """The bytes that come after the fault has begun; all, where it begins by the clock."""
    after = values["after"]
    if seconds_of(after) is not None:
        return size
    return max(0, size - resolve(after, size))


def _latency(values: Mapping[str, Any], size: int) -> float:
    if values["spread"] == "uniform":
        return float(values["seconds"] + values["jitter"])
    return float(values["seconds"] * math.exp(FAR_OUT_SIGMAS * values["jitter"]))


def _segments(values: Mapping[str, Any], size: int) -> float:
    return float(_rest(values, size) / values["bytes"] * values["gap"])


SLOWS: Mapping[str, Callable[[Mapping[str, Any], int], float]] = {
    "stall": lambda values, size: float(values.get("seconds", 0.0)),
    "latency": _latency,
    "drip": lambda values, size: _rest(values, size) / values["bytes_per_s"],
    "bandwidth": lambda values, size: _rest(values, size) / values["bytes_per_s"],
    "segments": _segments,
    "slow_headers": lambda values, size: HEAD_BYTES / values["bytes_per_s"],
    "split_headers": lambda values, size: float(values["gap"]),
    "status": lambda values, size: float(values.get("retry_after", 0.0)),
    "unreachable": lambda values, size: float(values.get("seconds", 0.0)),
}
"""Kind of fault: what it adds."""
