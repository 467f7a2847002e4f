"""How the cloud treats one device: well, unless a fault says otherwise. No sockets, no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_blynk_ota.cloud.doors import Door


@dataclass(slots=True)
class Manners:
    """What a fault of the cloud does to one device. Times are monotonic host seconds.

    Attributes:
        silent_until: nothing that the device says is heard or answered until then.
        refused_until: no login is let in until then.
        refuse_status: what such a login is answered with; None: nothing.
        slow_s: host seconds by which each message of the cloud comes late.
        elsewhere: by kind of port, the address to which each login is sent.
    """

    silent_until: float = -math.inf
    refused_until: float = -math.inf
    refuse_status: int | None = None
    slow_s: float = 0.0
    elsewhere: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def leads(self, door: Door) -> tuple[str, int] | None:
        """Where a device that logs in by this door is sent; None: it is let in."""
        return None if door.elsewhere else self.elsewhere.get(door.kind)

    def is_silent(self, now: float) -> bool:
        """Whether the cloud says nothing to the device."""
        return now < self.silent_until

    def refuses(self, now: float) -> bool:
        """Whether the cloud lets the device not in."""
        return now < self.refused_until
