"""otadata: one entry at the start of each of two sectors says which slot to boot.

Source: ESP-IDF esp_flash_partitions.h, bootloader_common.c.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum

from pytest_blynk_ota.errors import FirmwareError

ENTRY = struct.Struct("<I20sII")
ENTRY_BYTES = ENTRY.size
SECTOR_BYTES = 0x1000
ERASED = 0xFFFFFFFF
"""A word of erased flash: no sequence number."""
NO_LABEL = b"\xff" * 20


class State(IntEnum):
    """``esp_ota_img_states_t``."""

    NEW = 0
    PENDING_VERIFY = 1
    VALID = 2
    INVALID = 3
    ABORTED = 4
    UNDEFINED = ERASED


STATES = {state.value: state for state in State}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        state: a :class:`State`, or the number of one that does not exist.
        wrong_crc: the CRC as it stands where it does not fit; it covers ``seq`` alone.
    """

    seq: int
    state: int = State.VALID
    label: bytes = NO_LABEL
    wrong_crc: int | None = None

    @classmethod
    def parse(cls, data: bytes) -> Entry:
        """Read the first 32 bytes of a sector.

        Raises:
            FirmwareError: there are fewer.
        """
        if len(data) < ENTRY_BYTES:
            raise FirmwareError(f"an otadata entry has {ENTRY_BYTES} bytes, not {len(data)}")
        seq, label, state, stored = ENTRY.unpack_from(data)
        return cls(seq, STATES.get(state, state), label, None if stored == crc(seq) else stored)

    def build(self) -> bytes:
        """The 32 bytes of the entry; a wrong CRC stays as it was."""
        stored = crc(self.seq) if self.wrong_crc is None else self.wrong_crc
        return ENTRY.pack(self.seq, self.label, self.state, stored)

    @property
    def crc_ok(self) -> bool:
        """Whether the CRC fits."""
        return self.wrong_crc is None

    @property
    def is_invalid(self) -> bool:
        """``bootloader_common_ota_select_invalid``: the CRC is not looked at."""
        return self.seq == ERASED or self.state in (State.INVALID, State.ABORTED)

    @property
    def is_valid(self) -> bool:
        """``bootloader_common_ota_select_valid``; a state that does not exist counts as valid."""
        return not self.is_invalid and self.crc_ok

    @property
    def is_initial(self) -> bool:
        """Nothing was ever written here, or what was is torn."""
        return self.seq == ERASED or not self.crc_ok

    def slot(self, count: int) -> int:
        """Which of ``count`` slots it selects; unsigned, so 0 selects what 2**32 would."""
        return ((self.seq - 1) & 0xFFFFFFFF) % count


def crc(seq: int) -> int:
    """The check word of a sequence number (``bootloader_common_ota_select_crc``)."""
    return binascii.crc32(seq.to_bytes(4, "little"), 0xFFFFFFFF)


def parse(data: bytes) -> tuple[Entry, Entry]:
    """Both entries of an otadata partition.

    Raises:
        FirmwareError: it is no longer than one sector.
    """
    return Entry.parse(data), Entry.parse(data[SECTOR_BYTES:])


def active(entries: tuple[Entry, Entry]) -> int | None:
    """Which entry counts: the valid one with the larger ``seq``, of equals the first."""
    valid = [number for number in (0, 1) if entries[number].is_valid]
    return max(valid, key=lambda number: (entries[number].seq, -number), default=None)


def entries_for(slot_index: int, state: int = State.VALID) -> tuple[bytes, bytes]:
    """Both sectors of 4 KB such that the bootloader starts slot ``slot_index``."""
    entry = Entry(slot_index + 1, state).build()
    return entry.ljust(SECTOR_BYTES, b"\xff"), b"\xff" * SECTOR_BYTES
