"""The options of a shipment, and the answers to what Blynk's documents leave open."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from pytest_blynk_ota.air.versions import CONDITIONS
from pytest_blynk_ota.errors import UsageError

DAY_S = 86_400.0

WINDOWS: Mapping[str, tuple[int, int]] = {
    # hours of the device's day (docs new-shipping, Preferred time: read as four times six hours,
    # for the page itself says "Morning 6AM-12AM" and "Evening 6PM-12AM")
    "any": (0, 24),
    "night": (0, 6),
    "morning": (6, 12),
    "afternoon": (12, 18),
    "evening": (18, 24),
}
MISMATCHES = ("before", "after", "never")


@dataclass(frozen=True, slots=True)
class AirRules:
    """One shipment's options. Reasons for the defaults: ``docs/reference/air.md``.

    ``_s`` fields are seconds of Air's clock, which on a rig runs in device seconds.

    Attributes:
        devices: boards that it is for; None: all, those that come later too.
        template: the type that a device must have; None: that of the shipped image.
        condition: what a device must run, a word of ``CONDITIONS``; never New itself.
        download_limit: downloads in one reset period before Air gives up; None: no limit.
        reset_s: the reset period of the attempts.
        window: when a URL may go out: ``any``, ``night``, ``morning``, ``afternoon``, ``evening``.
        zone: the device's time zone, as ``Europe/Kyiv``, ``UTC`` or ``+02:00``.
        begins_at: what Air's clock shows in that zone when the shipment begins, as
            ``2026-11-23T05:59``; None: the host's time.
        auto_update: the device's metafield "Firmware Update Control"; False: the user decides.
        critical: the metafield does not count.
        stages: shares of the devices, rising, that are sent New one after the other.
        stage_success: share of a stage that has to run New before the next one begins.
        type_mismatch: ``before``: a device of another type gets no URL; ``after``: it gets one,
            and is told apart when it comes back from a whole file; ``never``.
        version_mismatch: whether a version that is neither New's nor one of before, told after a
            whole file, is Firmware version mismatch and the end.
        build_counts: whether two builds of one version are two firmwares.
        upload_failure_after_s: silence in a download before it is Upload failure; None: never.
        upload_failure_on_break: whether a transfer that ends early is Upload failure at once.
        upload_failure_closes: whether Upload failure is the end.
        rollback_after_s: how long New must have been in before another build is a Rollback; sooner
            it is one more failed attempt.

    Raises:
        UsageError: an option is not as it must be; names it.
    """

    devices: tuple[str, ...] | None = None
    template: str | None = None
    condition: str = "not new"
    download_limit: int | None = 3
    reset_s: float = DAY_S
    window: str = "any"
    zone: str = "UTC"
    begins_at: str | None = None
    auto_update: bool = True
    critical: bool = False
    stages: tuple[float, ...] = (1.0,)
    stage_success: float = 1.0
    type_mismatch: str = "after"
    version_mismatch: bool = True
    build_counts: bool = True
    upload_failure_after_s: float | None = DAY_S
    upload_failure_on_break: bool = False
    upload_failure_closes: bool = False
    rollback_after_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("devices", "stages"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        for name, (expected, holds) in CHECKS.items():
            value = getattr(self, name)
            if not holds(value):
                raise UsageError(f"AirRules: {name}: expected {expected}, got {value!r}")

    def __repr__(self) -> str:
        told = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        )
        return f"AirRules({', '.join(told)})"

    @property
    def user_decides(self) -> bool:
        """Whether nothing is sent before the user's click."""
        return not self.auto_update and not self.critical

    def to_data(self) -> dict[str, Any]:
        """JSON values only; :meth:`of` reads it back."""
        data = asdict(self)
        data["devices"] = None if self.devices is None else list(self.devices)
        data["stages"] = list(self.stages)
        return data

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> AirRules:
        """Read stored rules; options of a later version are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})

    def in_window(self, now: float) -> bool:
        """Whether a URL may go out at ``now`` (epoch seconds), by the device's day."""
        first, last = WINDOWS[self.window]
        return first <= datetime.fromtimestamp(now, zone_of(self.zone)).hour < last

    def next_window(self, now: float) -> float:
        """When the window opens next after ``now``, in epoch seconds."""
        zone = zone_of(self.zone)
        today = datetime.fromtimestamp(now, zone).replace(minute=0, second=0, microsecond=0)
        begins = today.replace(hour=WINDOWS[self.window][0])
        # The same wall time on the days around: a day of 23 or 25 hours moves it.
        days = ((begins + timedelta(days=day)).timestamp() for day in range(3))
        return next(t for t in days if t > now)

    def starts(self, wall: float) -> float:
        """Epoch seconds of Air's clock at the begin of a shipment that began at ``wall``."""
        if self.begins_at is None:
            return wall
        begin = datetime.fromisoformat(self.begins_at)
        return begin.replace(tzinfo=begin.tzinfo or zone_of(self.zone)).timestamp()


def zone_of(name: str) -> tzinfo:
    """A time zone from its IANA name or its offset. Raises ValueError for what is none."""
    if name in ("UTC", "Z"):
        return UTC  # also on a host without tzdata
    if name[:1] in ("+", "-"):
        offset = datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo
        assert offset is not None
        return offset
    return ZoneInfo(name)


def _is_zone(value: Any) -> bool:
    try:
        return isinstance(value, str) and zone_of(value) is not None
    except (ValueError, OSError, LookupError):
        return False


def _is_begin(value: Any) -> bool:
    try:
        return value is None or datetime.fromisoformat(value) is not None
    except (ValueError, TypeError):
        return False


def _is_names(value: Any) -> bool:
    return value is None or (
        isinstance(value, tuple) and bool(value) and all(isinstance(v, str) and v for v in value)
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_stages(value: Any) -> bool:
    if not isinstance(value, tuple) or not value or not all(_number(v) for v in value):
        return False
    rising = all(a < b for a, b in pairwise(value))
    return rising and value[0] > 0 and value[-1] == 1


def _word(words: Sequence[str]) -> tuple[str, Any]:
    return f"one of {', '.join(words)}", lambda value: value in words


FLAG = ("True or False", lambda value: isinstance(value, bool))
ABOVE_0 = ("seconds above 0", lambda value: _number(value) and value > 0)

CHECKS: Mapping[str, tuple[str, Any]] = {
    "devices": ("names of boards, or None for all", _is_names),
    "template": ("a template's id or None", lambda v: v is None or (isinstance(v, str) and v)),
    "condition": _word(tuple(CONDITIONS)),
    "download_limit": (
        "a whole number of at least 1, or None for no limit",
        lambda v: v is None or (isinstance(v, int) and not isinstance(v, bool) and v >= 1),
    ),
    "reset_s": ABOVE_0,
    "window": _word(tuple(WINDOWS)),
    "zone": ('an IANA name that this host knows, "UTC" or an offset as "+02:00"', _is_zone),
    "begins_at": ('a time as "2026-11-23T05:59", or None', _is_begin),
    "auto_update": FLAG,
    "critical": FLAG,
    "stages": ("rising shares above 0 of which the last is 1, as (0.1, 1.0)", _is_stages),
    "stage_success": ("a share from 0 to 1", lambda v: _number(v) and 0 <= v <= 1),
    "type_mismatch": _word(MISMATCHES),
    "version_mismatch": FLAG,
    "build_counts": FLAG,
    "upload_failure_after_s": (
        "seconds above 0, or None for never",
        lambda v: v is None or (_number(v) and v > 0),
    ),
    "upload_failure_on_break": FLAG,
    "upload_failure_closes": FLAG,
    "rollback_after_s": ("seconds of at least 0", lambda v: _number(v) and v >= 0),
}
"""By option: what is expected, in words, and the check."""

BARE = AirRules(
    download_limit=None,
    type_mismatch="never",
    version_mismatch=False,
    upload_failure_after_s=None,
)
"""What holds for evidence that names no rules: it was recorded before there were any."""
