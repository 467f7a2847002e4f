"""A rack's access point: who switches it, and how it comes back whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pytest_blynk_ota.errors import LeaseHeld, NetworkFailed, RigError
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.command_line import run_line
from pytest_blynk_ota.rig.lease import Lease, left_behind

SWITCH_TIMEOUT_S = 30.0
"""Wall seconds that a command has: over ssh, hostapd takes some to come up."""


class AccessPoint(Protocol):
    """Something that switches an access point. Each switch is an event."""

    def switch(self, on: bool) -> None:
        """Raises RigError when it did not work."""

    def leftover(self) -> str:
        """Switch it on if a run was killed that had switched it off; says who that was, or ""."""


class CommandAccessPoint:
    """One behind two command lines of the rig file.

    Args:
        on, off: the command lines.
        record: where its switching goes.
        others: says whose other boards are in use now: they would lose their network, too.
    """

    def __init__(
        self,
        on: Sequence[str],
        off: Sequence[str],
        record: Record,
        others: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._on, self._off = tuple(on), tuple(off)
        self._record = record
        self._others = others
        self._lease: Lease | None = None

    def switch(self, on: bool) -> None:
        """Raises RigError: a command failed, or another run needs the access point."""
        if not on:
            self._claim()
            self._record("test", "action", None, what="ap.off")  # before: the judge must not count
        run_line(
            self._on if on else self._off, "access point", NetworkFailed, timeout_s=SWITCH_TIMEOUT_S
        )
        if on:
            self._record("test", "action", None, what="ap.on")
            self._give_back()

    def leftover(self) -> str:
        """Switch it on if a run was killed that had switched it off; says who that was, or "".

        Raises:
            NetworkFailed: the command failed.
        """
        if self._lease is not None or not left_behind(self._name):
            return ""
        try:
            lease = Lease("access point", self._name)
        except LeaseHeld:  # a run that lives has switched it off
            return ""
        try:
            run_line(self._on, "access point", NetworkFailed, timeout_s=SWITCH_TIMEOUT_S)
        finally:
            lease.close()
        return lease.left_by

    @property
    def _name(self) -> str:
        return "\0".join(["access point", *self._on])

    def _claim(self) -> None:
        if busy := self._others():
            raise RigError(
                f"the access point cannot go: {'; '.join(busy)}, and would lose its network, too"
            )
        if self._lease is None:
            self._lease = Lease("access point", self._name)

    def _give_back(self) -> None:
        if self._lease is not None:
            self._lease.close()
            self._lease = None


class VirtualAccessPoint:
    """That of a virtual rack, which records its switching itself and goes with its run."""

    def __init__(self, switch: Callable[[bool], None]) -> None:
        self._switch = switch

    def switch(self, on: bool) -> None:
        """Raises RigError: the rack does not answer."""
        self._switch(on)

    def leftover(self) -> str:
        """There is none."""
        return ""
