"""The routes of the rack's network: its access point and router, and each board's reception."""

from __future__ import annotations

from aiohttp import web

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.virtual.control.asked import board_of, table_of, word_of
from pytest_blynk_ota.virtual.network.air import KEYS, Air

AIR: web.AppKey[Air] = web.AppKey("air", Air)


def add_network_routes(app: web.Application, air: Air) -> None:
    """Add them."""
    app[AIR] = air
    app.add_routes(
        [
            web.get("/network", show_network),
            web.put("/network", change_network),
            web.delete("/network", mend_network),
            web.get("/{name}/wifi", show_wifi),
            web.put("/{name}/wifi", switch_wifi),
        ]
    )


async def show_network(request: web.Request) -> web.Response:
    """``GET /network``: everything that can be set."""
    return web.json_response(request.app[AIR].state())


async def change_network(request: web.Request) -> web.Response:
    """``PUT /network``: set some keys, leave the others."""
    table = await table_of(request, *KEYS)
    try:
        request.app[AIR].set(table)
    except UsageError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return await show_network(request)


async def mend_network(request: web.Request) -> web.Response:
    """``DELETE /network``: all is well again."""
    request.app[AIR].reset()
    return await show_network(request)


async def show_wifi(request: web.Request) -> web.Response:
    """``GET /NAME/wifi``: 1 or 0."""
    return web.Response(text="1" if board_of(request).network.in_range else "0")


async def switch_wifi(request: web.Request) -> web.Response:
    """``PUT /NAME/wifi``: 0 takes the board out of range of the access point, 1 brings it back."""
    board_of(request).network.in_range = await word_of(request, "0", "1") == "1"
    return await show_wifi(request)
