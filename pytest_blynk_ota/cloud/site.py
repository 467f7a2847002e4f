"""What every connection of one cloud shares: its devices, its record, its clock and its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pytest_blynk_ota.cloud.device import Device, Registry
from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.evidence.timeline import Record

MIN_TIMEOUT_S: Final = 0.25
"""No scaled time-out is shorter than this, in wall seconds."""
HEARD_S: Final = 10.0
"""Device seconds without an event of a session, after which its next message is one: the shortest
heartbeat, so that a device that talks all the time fills no evidence."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the cloud puts up with. Times are device seconds.

    Attributes:
        login_s: from the connection to the login. Our choice: more patient than the library, which
            gives its own login up after 6 s.
        flood_per_s: messages of a device, as a mean over :attr:`flood_window_s`; more end its
            session. About 10 a second (Blynk documentation, limits); the window is our choice.
            ``None``: any number.
        flood_window_s: see there.
        ping_s: silence of a device after which the cloud pings it; ``None``: never. Blynk's
            documents do not say that it does, and blynk-library-python 0.2.0 crashes on one.
        waiting_per_peer: connections from one address that may wait for their login; the oldest is
            closed for a newer one. Our choice: far above a rack, far below what hurts.
    """

    login_s: float = 10.0
    flood_per_s: float | None = 10.0
    flood_window_s: float = 10.0
    ping_s: float | None = None
    waiting_per_peer: int = 256

    def __post_init__(self) -> None:
        for name in ("login_s", "flood_per_s", "flood_window_s", "ping_s", "waiting_per_peer"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"cloud limits: {name}: expected a number above 0, got {value!r}")


@dataclass(frozen=True)
class Site:
    """One cloud, as its connections see it.

    Attributes:
        speed: device seconds in a wall second.
        welcomed: called with its number when a connection has logged in.
        over: called with its number, once, when a connection is gone.
    """

    registry: Registry
    record: Record
    speed: float
    limits: Limits
    welcomed: Callable[[int], None]
    over: Callable[[int], None]

    def wall(self, device_s: float) -> float:
        """Wall seconds of a time-out given in device seconds."""
        return max(device_s / self.speed, MIN_TIMEOUT_S)

    def is_old_news(self, told: float, now: float) -> bool:
        """Whether that a device still speaks is worth an event; host seconds of the last one."""
        return (now - told) * self.speed >= HEARD_S

    def say(
        self, kind: str, device: Device | None, number: int, *, t: float | None = None,
        **data: object,
    ) -> None:  # fmt: skip
        """Put what a connection did on record."""
        board = device.board if device else None
        self.record("cloud", kind, board, t=t, session=number, **data)


class Flood:
    """Counts the messages of one device. Times are any clock's device seconds."""

    def __init__(self, limits: Limits) -> None:
        self._per_s, self._window_s = limits.flood_per_s, limits.flood_window_s
        self._begun = float("-inf")
        self._count = 0

    def one_more(self, now_s: float) -> str | None:
        """Count a message; why it is one too many, or None."""
        if self._per_s is None:
            return None
        if now_s - self._begun >= self._window_s:
            self._begun, self._count = now_s, 0
        self._count += 1
        if self._count <= self._per_s * self._window_s:
            return None
        return (
            f"flood: more than {self._per_s * self._window_s:g} messages within "
            f"{self._window_s:g} s"
        )


class Timer:
    """Calls ``check`` when its deadline comes; the deadline can be moved without touching it.

    Args:
        check: looks at the time, and returns the seconds until it wants to look again, or None if
            it never does.
    """

    def __init__(self, check: Callable[[], float | None]) -> None:
        self._check = check
        self._handle: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Look now, and again when the check says."""
        self.stop()
        wait = self._check()
        if wait is not None:
            self._handle = asyncio.get_running_loop().call_later(wait, self.look)

    def stop(self) -> None:
        """Never look again, unless told to."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
