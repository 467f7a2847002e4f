"""What is in a board's flash, decoded: partition table, otadata, images, what would boot.

What would boot is asked of the board's own ROM and bootloader, run on paper.
"""

from __future__ import annotations

import hashlib
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import loaderinfo, otadata
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.firmware.image import Image, parse
from pytest_blynk_ota.firmware.imagecheck import check_image
from pytest_blynk_ota.firmware.otadata import Entry, State
from pytest_blynk_ota.firmware.partitions import (
    APP,
    TABLE_BYTES,
    TABLE_OFFSET,
    Partition,
    PartitionTable,
)
from pytest_blynk_ota.virtual.boot.bootlog import flash_bytes
from pytest_blynk_ota.virtual.chip.board import Board
from pytest_blynk_ota.virtual.chip.operations import sectors
from pytest_blynk_ota.virtual.sweep.paper import Hardware, boot, words_of


def flash_map(board: Board) -> dict[str, Any]:
    """Everything, as JSON. What cannot be decoded has its ``problem`` instead."""
    own = _image_at(board, CHIPS[board.chip.name].bootloader_offset, TABLE_OFFSET)
    made: dict[str, Any] = {
        "board": board.name,
        "chip": board.chip.name,
        "flash_bytes": board.flash.size,
        "bootloader": _bootloader(board, own),
        "problem": None,
        "table": [],
        "otadata": [],
        "slots": [],
        **_next_boot(board),
    }
    try:
        table = _table(board, own)
    except FirmwareError as refused:
        return made | {"problem": str(refused)}
    return made | {
        "table": [_row(board, row) for row in table.rows],
        "otadata": _otadata(board, table),
        "slots": [_slot(board, own, row) for row in table.rows if row.type == APP],
    }


def _read(board: Board, offset: int, length: int) -> bytes:
    """Reads as a bootloader does: what lies behind the end of the chip is missing."""
    start = min(offset, board.flash.size)
    return board.flash.read(start, min(length, board.flash.size - start))


def _image_at(board: Board, start: int, end: int) -> Image | None:
    try:
        return parse(_read(board, start, end - start))
    except FirmwareError:
        return None


def _bootloader(board: Board, own: Image | None) -> dict[str, Any]:
    """How it was built, as it says itself; whether it rolls back, the rig file may say for it."""
    behaviour = own.behaviour if own else None
    rollback = bool(board.foreign_rollback)
    if behaviour is not None and behaviour.kind == "bootloader":
        rollback = behaviour.rollback
    return {
        "offset": CHIPS[board.chip.name].bootloader_offset,
        "there": own is not None,
        "rollback": rollback,
        "idf": loaderinfo.read(own).idf if own else None,
    }


def _next_boot(board: Board) -> dict[str, Any]:
    """``boots`` is the label of a partition, or null; ``why`` then is the last word of the log."""
    hardware = Hardware(
        board.chip, board.flash.size, board.foreign_rollback, board.efuses.secure_version
    )
    done = boot(lambda offset, length: _read(board, offset, length), hardware)
    return {"boots": done.slot, "why": done.why, "otadata_after": list(done.otadata)}


def _table(board: Board, own: Image | None) -> PartitionTable:
    return PartitionTable.parse(
        _read(board, TABLE_OFFSET, TABLE_BYTES),
        flash_size=flash_bytes(own.data) if own else None,
        idf=loaderinfo.read(own).idf if own else None,
    )


def _row(board: Board, row: Partition) -> dict[str, Any]:
    span, wear = sectors(row.offset, row.size), board.flash.wear()
    return {
        "label": row.label,
        "type": row.type,
        "subtype": row.subtype,
        "offset": row.offset,
        "size": row.size,
        "most_erased": max(wear[span.start : span.stop], default=0),
    }


def _otadata(board: Board, table: PartitionTable) -> list[dict[str, Any]]:
    """Both entries; ``words`` are those of ``otadata_after``."""
    place, labels = table.otadata, [slot.label for slot in table.ota_slots]
    if place is None or place.size < 2 * otadata.SECTOR_BYTES:
        return []
    starts = (place.offset, place.offset + otadata.SECTOR_BYTES)
    first, second = (Entry.parse(_read(board, at, otadata.ENTRY_BYTES)) for at in starts)
    active = otadata.active((first, second))
    return [
        {
            "offset": start,
            "seq": None if entry.seq == otadata.ERASED else entry.seq,
            "slot": None if entry.seq == otadata.ERASED or not labels else entry.slot(len(labels)),
            "state": entry.state.name if isinstance(entry.state, State) else f"{entry.state:#x}",
            "crc_ok": entry.crc_ok,
            "active": number == active,
            "words": words_of(entry, labels),
        }
        for number, (start, entry) in enumerate(zip(starts, (first, second), strict=True))
    ]


def _slot(board: Board, own: Image | None, row: Partition) -> dict[str, Any]:
    image = _image_at(board, row.offset, row.offset + row.size)
    problem = check_image(
        lambda offset, length: _read(board, offset, length),
        row,
        board.chip.name,
        board.chip.revision,
        loaderinfo.read(own).idf if own else None,
    )
    whole = image.data[: image.length] if image else b""
    return {
        "label": row.label,
        "offset": row.offset,
        "size": row.size,
        "project": image.app_desc.project if image and image.app_desc else None,
        "version": image.version if image else None,
        "length": image.length if image else None,
        "sha256": hashlib.sha256(whole).hexdigest() if image else None,
        "problem": None if problem is None else str(problem),
    }
