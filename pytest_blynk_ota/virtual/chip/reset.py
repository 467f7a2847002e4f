"""The two transistors between a serial bridge and a chip: DTR and RTS become EN and IO0.

EN is low while RTS is asserted and DTR is not; IO0 is low while DTR is asserted and RTS is not.
Both asserted is idle, so that opening a port does nothing.

A network adds tens of milliseconds between two line changes, and the classic sequence passes
through (DTR, RTS) = (1, 1) on its way, where a naive EN would already let the chip boot. Real
circuits bridge that moment with a capacitor; this one has no time in it:

- (0, 1) arms: the chip is held in reset.
- armed, and RTS falls: the chip starts; into download mode with DTR asserted, else into flash.
"""

from __future__ import annotations

from enum import Enum


class Reset(Enum):
    """What a line change does to the chip."""

    HOLD = "held in reset"
    BOOT = "starts from flash"
    DOWNLOAD = "starts in download mode"


class ResetCircuit:
    """The circuit's state; lines are ``True`` when asserted, as pyserial names them."""

    def __init__(self) -> None:
        self.dtr = False
        self.rts = False
        self._armed = False

    @property
    def holds(self) -> bool:
        """Whether the chip is held in reset."""
        return self._armed

    @property
    def at_power_on(self) -> Reset:
        """What a chip does whose power comes while the lines are as they are."""
        if self._armed:
            return Reset.HOLD
        return Reset.DOWNLOAD if self.dtr and not self.rts else Reset.BOOT

    def move(self, dtr: bool, rts: bool) -> Reset | None:
        """Set both lines at once; returns what the chip does now, ``None`` for nothing."""
        fell = self.rts and not rts
        self.dtr, self.rts = dtr, rts
        if rts and not dtr:
            newly, self._armed = not self._armed, True
            return Reset.HOLD if newly else None
        if self._armed and fell:
            self._armed = False
            return Reset.DOWNLOAD if dtr else Reset.BOOT
        return None
