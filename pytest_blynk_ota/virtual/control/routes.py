"""The rack's HTTP routes. Power keeps the shape of labgrid's ``rest`` model: ``PUT /NAME``, 0 or 1.

The answer to a switch comes when it has been done. A board's other routes lie below its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from pytest_blynk_ota.virtual.control.asked import BOARDS, board_of, table_of, word_of
from pytest_blynk_ota.virtual.control.flash_routes import add_flash_routes
from pytest_blynk_ota.virtual.control.network_routes import add_network_routes
from pytest_blynk_ota.virtual.sweep.routes import add_routes

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.chip.board import Board
    from pytest_blynk_ota.virtual.rack import Rack

MAX_BODY_BYTES = 64 << 20
"""A dump of the largest flash that there is."""
MAX_DIP_MS = 60_000


def runner(rack: Rack, shutdown_s: float) -> web.AppRunner:
    """All routes of a rack, ready for a socket.

    Args:
        shutdown_s: wall seconds that a request has to end when the rack does.
    """
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[BOARDS] = rack.boards
    app.add_routes(
        [
            web.get("/", show_rack),
            web.get("/{name}", show_power),
            web.put("/{name}", switch_power),
            web.post("/{name}/reset", press_reset),
            web.post("/{name}/dip", dip),
        ]
    )
    add_flash_routes(app)
    add_network_routes(app, rack.air)
    add_routes(app, rack.boards)
    return web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=shutdown_s
    )


async def show_rack(request: web.Request) -> web.Response:
    """``GET /``: the boards and what each is doing."""
    return web.json_response([summary(board) for board in request.app[BOARDS].values()])


def summary(board: Board) -> dict[str, Any]:
    """One board in a list."""
    return {
        "name": board.name,
        "chip": board.chip.name,
        "mac": board.chip.mac_text,
        "url": board.uart.url,
        "power": board.powered,
        "wifi": board.network.in_range,
        "state": board.state.value,
    }


async def show_power(request: web.Request) -> web.Response:
    """``GET /NAME``: 1 or 0."""
    return web.Response(text="1" if board_of(request).powered else "0")


async def switch_power(request: web.Request) -> web.Response:
    """``PUT /NAME``: 1 or 0."""
    board_of(request).power(await word_of(request, "0", "1") == "1")
    return await show_power(request)


async def press_reset(request: web.Request) -> web.Response:
    """``POST /NAME/reset``: press EN; ``{"download": true}`` with IO0 held low."""
    board = powered(request)
    download = (await table_of(request, "download")).get("download", False)
    if not isinstance(download, bool):
        raise web.HTTPBadRequest(text=f"download: expected true or false, not {download!r}")
    board.press_reset(download=download)
    return web.json_response({"state": board.state.value})


async def dip(request: web.Request) -> web.Response:
    """``POST /NAME/dip``: ``{"ms": 50}`` without power; the answer comes when it is back."""
    board = powered(request)
    ms = (await table_of(request, "ms")).get("ms")
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 < ms <= MAX_DIP_MS:
        raise web.HTTPBadRequest(
            text=f"ms: expected device milliseconds above 0, at most {MAX_DIP_MS}, not {ms!r}"
        )
    effect = await board.dip(ms)
    return web.json_response({"effect": effect, "wall_s": ms / 1000 / board.clock.speed})


def powered(request: web.Request) -> Board:
    """The board that the path names. Raises HTTPConflict if it has no power."""
    board = board_of(request)
    if not board.powered:
        raise web.HTTPConflict(text=f"{board.name} has no power; switch it on first")
    return board
