"""What stood in the flash when it was read back, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware.otadata import ERASED, Entry, State


@dataclass(frozen=True, slots=True)
class FlashSeen:
    """The flash of a board after an operation, as the loader read it.

    Attributes:
        running: label of the slot that otadata says was booted; None: none can be told.
        would_boot: label of the slot that the bootloader would start now; None: none.
        slots: label of each slot to the image in it: its name in the operation's images, or None.
        otadata: both entries in words.
    """

    running: str | None
    would_boot: str | None
    slots: Mapping[str, str | None] = field(default_factory=dict)
    otadata: tuple[str, ...] = ()

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> FlashSeen:
        """From the data of a ``flash/read`` event."""
        return cls(
            running=read["running"],
            would_boot=read["would_boot"],
            slots={label: slot["image"] for label, slot in read["slots"].items()},
            otadata=tuple(in_words(entry) for entry in read["otadata"]),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FlashSeen:
        """Read it back. Raises KeyError or TypeError on anything else."""
        return cls(data["running"], data["would_boot"], dict(data["slots"]), tuple(data["otadata"]))

    def __str__(self) -> str:
        held = ", ".join(f"{label} holds {name or 'none'}" for label, name in self.slots.items())
        entries = "; ".join(self.otadata) or "none"
        return (
            f"flash: {self.running or 'no slot'} was booted, {self.would_boot or 'nothing'} would "
            f"be; {held} of the images offered; otadata: {entries}"
        )


def in_words(entry: str) -> str:
    """One otadata entry, from its hexadecimal bytes, such as ``seq 2, valid``."""
    try:
        parsed = Entry.parse(bytes.fromhex(entry))
    except (ValueError, FirmwareError):
        return f"not readable ({entry})"
    if parsed.seq == ERASED:
        return "erased"
    state = parsed.state
    name = state.name.replace("_", " ").lower() if isinstance(state, State) else f"state {state}"
    return f"seq {parsed.seq}, {name}{'' if parsed.crc_ok else ', wrong CRC'}"
