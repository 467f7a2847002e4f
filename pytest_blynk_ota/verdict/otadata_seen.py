"""What two otadata entries say about an operation. Pure.

Layout and states: ESP-IDF esp_flash_partitions.h.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_blynk_ota.verdict.operation import Operation

ENTRY = struct.Struct("<I20sII")
ERASED = 0xFFFFFFFF
NEW, PENDING, UNDEFINED = 0, 1, 0xFFFFFFFF
TAKEN_BACK = (3, 4)
"""INVALID and ABORTED: the bootloader passes them over."""


def entries(otadata: Sequence[str] | None) -> list[tuple[int, int]]:
    """Sequence number and state of each entry with a right CRC."""
    found = []
    for text in otadata or ():
        try:
            seq, _, state, crc = ENTRY.unpack(bytes.fromhex(text))
        except (ValueError, struct.error):
            continue
        if seq != ERASED and crc == zlib.crc32(struct.pack("<I", seq), ERASED):
            found.append((seq, state))
    return found


def top(otadata: Sequence[str] | None) -> tuple[int, int] | None:
    """The entry with the highest sequence number, whatever its state."""
    return max(entries(otadata), default=None)


def selected_by_otadata(
    operation: Operation, read: Mapping[str, Any], old: str | None
) -> bool | None:
    """Whether otadata holds a seq above those at the start; None: that cannot be told.

    An entry that was taken back is written over with the same seq by the next update, which
    counts from the entry that is in use (esp_ota_ops.c, esp_rewrite_ota_data). One that was not
    confirmed may have been taken back since it was read.

    Args:
        old: the image that ran when the operation began.
    """
    now = top(read["otadata"])
    if operation.otadata is not None:
        before = top(operation.otadata)
        if now is None or before is None:
            return now is not None
        if now[0] == before[0] and before[1] in (*TAKEN_BACK, NEW, PENDING):
            return True if before[1] in TAKEN_BACK and now[1] != before[1] else None
        return now[0] > before[0]
    labels = sorted(operation.slots, key=lambda label: operation.slots[label]["offset"])
    if now is None or not labels:
        return None
    named = labels[(now[0] - 1) % len(labels)]
    same = operation.slots[named]["image"] == old
    return False if same and old is not None else None
