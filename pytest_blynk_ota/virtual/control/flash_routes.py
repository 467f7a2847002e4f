"""The routes of a board's flash: what is in it, the whole of it, and what was done to it."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.chip.board import Board
from pytest_blynk_ota.virtual.chip.flash import SECTOR_BYTES, Operation
from pytest_blynk_ota.virtual.control.asked import board_of, table_of
from pytest_blynk_ota.virtual.control.flashmap import flash_map

LAST = 100
"""Operations that ``GET /NAME/journal`` shows if nobody asks for another number."""


def add_flash_routes(app: web.Application) -> None:
    """Add them."""
    app.add_routes(
        [
            web.get("/{name}/flash", show_flash),
            web.get("/{name}/dump", save),
            web.put("/{name}/dump", load),
            web.get("/{name}/journal", show_journal),
            web.post("/{name}/damage", damage),
            web.post("/{name}/wear", wear_out),
            web.delete("/{name}/wear", heal),
        ]
    )


async def show_flash(request: web.Request) -> web.Response:
    """``GET /NAME/flash``: partition table, otadata, each slot, and what would boot."""
    return web.json_response(flash_map(board_of(request)))


async def save(request: web.Request) -> web.Response:
    """``GET /NAME/dump``: the flash as octets, as it is at this moment."""
    flash = board_of(request).flash
    return web.Response(body=flash.read(0, flash.size), content_type="application/octet-stream")


async def load(request: web.Request) -> web.Response:
    """``PUT /NAME/dump``: the board loses its power, gets this flash, and its power back."""
    board = board_of(request)
    dump = await request.read()
    if len(dump) != board.flash.size:
        raise web.HTTPBadRequest(
            text=f"the flash of {board.name} has {board.flash.size} bytes, the dump {len(dump)}"
        )
    powered = board.powered
    await board.dark()
    changed = board.flash.load(dump)
    board.power(powered)
    return web.json_response({"changed_sectors": len(changed), "power": powered})


async def damage(request: web.Request) -> web.Response:
    """``POST /NAME/damage``: noise over some bytes; what is running goes on running."""
    board = board_of(request)
    table = await table_of(request, "offset", "bytes")
    offset, size = (_number(table, key) for key in ("offset", "bytes"))
    try:
        board.flash.damage(offset, size)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return web.json_response({"damaged": size})


async def wear_out(request: web.Request) -> web.Response:
    """``POST /NAME/wear``: a sector is bad from now on."""
    board = board_of(request)
    try:
        board.flash.wear_out(_number(await table_of(request, "offset"), "offset"))
    except UsageError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return _bad(board)


async def heal(request: web.Request) -> web.Response:
    """``DELETE /NAME/wear``: only the sectors that the rig file names are bad."""
    board = board_of(request)
    board.flash.heal()
    return _bad(board)


def _bad(board: Board) -> web.Response:
    return web.json_response({"bad": [SECTOR_BYTES * number for number in board.flash.bad.numbers]})


def _number(table: dict[str, Any], key: str) -> int:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise web.HTTPBadRequest(text=f"{key}: expected a number of bytes, not {value!r}")
    return value


async def show_journal(request: web.Request) -> web.Response:
    """``GET /NAME/journal?last=N``: what was done to the flash, oldest first."""
    flash = board_of(request).flash
    last = request.query.get("last", str(LAST))
    if not last.isdecimal():
        raise web.HTTPBadRequest(text=f"last: expected a number of operations, not {last!r}")
    shown = list(flash.journal)[-int(last) :] if int(last) else []
    return web.json_response(
        {"operations": flash.operations, "last": [operation(one) for one in shown]}
    )


def operation(one: Operation) -> dict[str, Any]:
    """One line of the journal."""
    return {
        "kind": one.kind,
        "offset": one.offset,
        "length": one.length,
        "author": one.author,
        "boot": one.boot,
    }
