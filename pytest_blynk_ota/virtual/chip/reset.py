"""What is between DTR and RTS and a chip's reset: two transistors, or its own USB port.

Lines are ``True`` when asserted, as pyserial names them. Both asserted, or neither, is idle, so
that opening a port never resets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

POWER_ON = 0x1
"""Reset cause of power-on, and of EN too: the ROM cannot tell them apart."""
USB_RESET = 0x15
"""``USB_UART_CHIP_RESET``: by the lines of the chip's own USB port (soc/reset_reasons.h)."""


class Reset(Enum):
    """What a line change does to the chip."""

    HOLD = "held in reset"
    BOOT = "starts from flash"
    DOWNLOAD = "starts in download mode"


class ResetLines(Protocol):
    """What the two lines lead to."""

    cause: int
    """Cause code of the resets made here."""

    @property
    def holds(self) -> bool:
        """Whether the chip is held in reset."""

    @property
    def at_power_on(self) -> Reset:
        """What a chip does whose power comes, or whose EN is let go, with the lines as they are."""

    def move(self, dtr: bool, rts: bool) -> Reset | None:
        """Set both lines at once; returns what the chip does now, ``None`` for nothing."""


class ResetCircuit:
    """The circuit beside a serial bridge: DTR and RTS become EN and IO0.

    EN is low while RTS is asserted and DTR is not; IO0 is low while DTR is asserted and RTS is not.

    A network adds tens of milliseconds between two line changes, and the classic sequence passes
    through (DTR, RTS) = (1, 1) on its way, where a naive EN would already let the chip boot. Real
    circuits bridge that moment with a capacitor; this one has no time in it:

    - (0, 1) arms: the chip is held in reset.
    - armed, and RTS falls: the chip starts; into download mode with DTR asserted, else into flash.
    """

    cause = POWER_ON

    def __init__(self) -> None:
        self.dtr = False
        self.rts = False
        self._armed = False

    @property
    def holds(self) -> bool:
        """See :class:`ResetLines`."""
        return self._armed

    @property
    def at_power_on(self) -> Reset:
        """See :class:`ResetLines`."""
        if self._armed:
            return Reset.HOLD
        return Reset.DOWNLOAD if self.dtr and not self.rts else Reset.BOOT

    def move(self, dtr: bool, rts: bool) -> Reset | None:
        """See :class:`ResetLines`."""
        fell = self.rts and not rts
        self.dtr, self.rts = dtr, rts
        if rts and not dtr:
            newly, self._armed = not self._armed, True
            return Reset.HOLD if newly else None
        if self._armed and fell:
            self._armed = False
            return Reset.DOWNLOAD if dtr else Reset.BOOT
        return None


class UsbJtag:
    """The USB-Serial-JTAG port of ESP32-C3 and ESP32-S3: the lines are bits of a register there.

    (DTR, RTS) = (1, 0) sets the flag for download mode, (0, 0) clears it, (0, 1) holds the chip in
    reset, which it leaves as the flag says (technical reference manuals, "USB Serial/JTAG
    Controller"; esptool ``USBJTAGSerialReset``).
    """

    cause = USB_RESET

    def __init__(self) -> None:
        self._held = False
        self._download = False

    @property
    def holds(self) -> bool:
        """See :class:`ResetLines`."""
        return self._held

    @property
    def at_power_on(self) -> Reset:
        """The port loses its flag with the power; no line pulls a strapping pin."""
        self._download = False
        return Reset.HOLD if self._held else Reset.BOOT

    def move(self, dtr: bool, rts: bool) -> Reset | None:
        """See :class:`ResetLines`."""
        was_held, self._held = self._held, rts and not dtr
        effect = None
        if self._held and not was_held:
            effect = Reset.HOLD
        elif was_held and not self._held:
            effect = Reset.DOWNLOAD if self._download else Reset.BOOT
        if dtr is not rts:
            self._download = self._download or dtr
        elif not dtr:
            self._download = False
        return effect


RESET_LINES: Mapping[str, Callable[[], ResetLines]] = {"bridge": ResetCircuit, "jtag": UsbJtag}


class SyncWatch:
    """Finds the loader's first request among bytes that are meant for an application.

    Over a wire without lines nobody can reset a chip. So the board presses its two buttons itself
    when it is asked to SYNC, as a person would who reads esptool's "reset the chip manually".
    """

    SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32

    def __init__(self) -> None:
        self._tail = b""

    def sees(self, data: bytes) -> bool:
        """Whether a SYNC ends with these bytes."""
        self._tail += data
        found = self.SYNC in self._tail
        self._tail = b"" if found else self._tail[1 - len(self.SYNC) :]
        return found
