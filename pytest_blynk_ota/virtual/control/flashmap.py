"""What is in a board's flash, decoded: partition table, otadata, images, what would boot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pytest_blynk_ota.errors import FirmwareError
from pytest_blynk_ota.firmware import otadata
from pytest_blynk_ota.firmware.bootrules import Decision, Reader, decide
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
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES


def flash_map(board: Board) -> dict[str, Any]:
    """Everything, as JSON. What cannot be decoded has its ``problem`` instead."""
    own = _image_at(board, CHIPS[board.chip.name].bootloader_offset, TABLE_OFFSET)
    made: dict[str, Any] = {
        "board": board.name,
        "chip": board.chip.name,
        "flash_bytes": board.flash.size,
        "bootloader": _bootloader(board, own),
        "table": [],
        "otadata": [],
        "slots": [],
        "boots": None,
        "writes": [],
        "problem": None,
    }
    try:
        decision = _decide(board, own)
    except FirmwareError as refused:
        return made | {"problem": str(refused)}
    table, boots = decision.table, decision.loaded
    return made | {
        "table": [_row(board, row) for row in table.rows],
        "otadata": _otadata(board, table),
        "slots": [_slot(board, row) for row in table.rows if row.type == APP],
        "boots": None if boots is None else boots.label,
        "writes": [_write(one.offset, one.data) for one in decision.writes],
    }


def _reader(board: Board) -> Reader:
    """Reads as a bootloader does: what lies behind the end of the chip is missing."""
    flash = board.flash

    def read(offset: int, length: int) -> bytes:
        start = min(offset, flash.size)
        return flash.read(start, min(length, flash.size - start))

    return read


def _image_at(board: Board, start: int, end: int) -> Image | None:
    try:
        return parse(_reader(board)(start, end - start))
    except FirmwareError:
        return None


def _rollback(board: Board, own: Image | None) -> bool:
    """How the bootloader was built, as it says itself or the rig file says for it."""
    behaviour = own.behaviour if own else None
    if behaviour is not None and behaviour.kind == "bootloader":
        return behaviour.rollback
    return bool(board.foreign_rollback)


def _bootloader(board: Board, own: Image | None) -> dict[str, Any]:
    return {
        "offset": CHIPS[board.chip.name].bootloader_offset,
        "there": own is not None,
        "rollback": _rollback(board, own),
    }


def _decide(board: Board, own: Image | None) -> Decision:
    read = _reader(board)
    size = flash_bytes(own.data) if own else None
    table = PartitionTable.parse(read(TABLE_OFFSET, TABLE_BYTES), flash_size=size)
    return decide(
        read,
        _rollback(board, own),
        CHIPS[board.chip.name],
        revision=board.chip.revision,
        table=table,
        flash_size=size,
    )


def _row(board: Board, row: Partition) -> dict[str, Any]:
    first, last = row.offset // SECTOR_BYTES, -(-(row.offset + row.size) // SECTOR_BYTES)
    return {
        "label": row.label,
        "type": row.type,
        "subtype": row.subtype,
        "offset": row.offset,
        "size": row.size,
        "most_erased": max(board.flash.wear()[first:last], default=0),
    }


def _otadata(board: Board, table: PartitionTable) -> list[dict[str, Any]]:
    place, count = table.otadata, len(table.ota_slots)
    if place is None or place.size < 2 * otadata.SECTOR_BYTES:
        return []
    starts = (place.offset, place.offset + otadata.SECTOR_BYTES)
    data = [board.flash.read(start, otadata.ENTRY_BYTES) for start in starts]
    active = otadata.active((Entry.parse(data[0]), Entry.parse(data[1])))
    return [
        {**_write(start, entry), "slot": _names(entry, count), "active": number == active}
        for number, (start, entry) in enumerate(zip(starts, data, strict=True))
    ]


def _write(offset: int, data: bytes) -> dict[str, Any]:
    entry = Entry.parse(data)
    state = entry.state.name if isinstance(entry.state, State) else f"{entry.state:#x}"
    return {
        "offset": offset,
        "seq": None if entry.seq == otadata.ERASED else entry.seq,
        "state": state,
        "crc_ok": entry.crc_ok,
    }


def _names(data: bytes, count: int) -> int | None:
    """Number of the slot that an entry names."""
    entry = Entry.parse(data)
    return None if entry.seq == otadata.ERASED or not count else entry.slot(count)


def _slot(board: Board, row: Partition) -> dict[str, Any]:
    image = _image_at(board, row.offset, row.offset + row.size)
    problem = check_image(_reader(board), row, board.chip.name, board.chip.revision)
    told: Mapping[str, Any] = {}
    if image is not None:
        told = {
            "project": image.app_desc.project if image.app_desc else None,
            "version": image.version,
            "length": image.length,
            "sha256": hashlib.sha256(image.data[: image.length]).hexdigest(),
        }
    return {
        "label": row.label,
        "offset": row.offset,
        "size": row.size,
        "project": None,
        "version": None,
        "length": None,
        "sha256": None,
        **told,
        "problem": None if problem is None else str(problem),
    }
