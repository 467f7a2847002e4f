"""A core dump that a panic has left in its partition (core_dump_flash.c of ESP-IDF)."""

from __future__ import annotations

import struct

from pytest_blynk_ota.board.readback import Flash
from pytest_blynk_ota.firmware.partitions import PartitionTable

COREDUMP = (0x01, 0x03)
"""Type and subtype of its partition."""
HEAD_BYTES = 28
MAGIC_AT = (20, 24)
"""Where the ELF begins: behind five words, or six from ESP-IDF 5.1 on (core_dump_types.h)."""


def dump_in_flash(flash: Flash, table: PartitionTable) -> bytes:
    """The dump, header and checksum included; empty where there is no partition, or no dump in
    it: an erased one, or one of another kind than ELF."""
    place = next((row for row in table.rows if (row.type, row.subtype) == COREDUMP), None)
    if place is None:
        return b""
    head = flash.read(place.offset, HEAD_BYTES)
    (length,) = struct.unpack_from("<I", head)
    is_elf = any(head[at : at + 4] == b"\x7fELF" for at in MAGIC_AT)
    if not is_elf or not HEAD_BYTES < length <= place.size:
        return b""
    return flash.read(place.offset, length)
