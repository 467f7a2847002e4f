"""The control routes of a sweep: record an update, decide all its cuts, make one come true.

=====================  ==================================================================
``PUT /NAME/journal``  begin a recording, from the flash as it is now; no cut any more
``POST /NAME/sweep``   end it, decide every cut point, tell the groups
``PUT /NAME/cut``      go back to the flash before the recording, and arm one cut
``GET /NAME/cut``      wait until it has struck
``DELETE /NAME/cut``   no cut any more, and forget the sweep
=====================  ==================================================================
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pytest_blynk_ota.virtual.chip.driver import Cut
from pytest_blynk_ota.virtual.control.asked import board_of, table_of
from pytest_blynk_ota.virtual.sweep.groups import CutPoint, Plan, Sweep
from pytest_blynk_ota.virtual.sweep.paper import Hardware

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.chip.board import Board

SLICE_S = 0.005
"""Wall seconds after which the other boards of the rack get their turn."""
BY_DEFAULT = Plan()
MAX_TORN = 16
MAX_MEMBERS = 100
MAX_WAIT_S = 60.0


@dataclass
class _Bench:
    """What one board's sweep has come to."""

    secure_version: int
    sweep: Sweep | None = None
    point: CutPoint | None = None
    cut: Cut | None = None


BENCHES: web.AppKey[dict[str, _Bench]] = web.AppKey("benches", dict)


def add_routes(app: web.Application, boards: Mapping[str, Board]) -> None:
    """Add them; handlers find their board with ``control.asked.board_of``."""
    app[BENCHES] = {}
    app.add_routes(
        [
            web.put("/{name}/journal", begin),
            web.post("/{name}/sweep", sweep),
            web.put("/{name}/cut", arm),
            web.get("/{name}/cut", await_cut),
            web.delete("/{name}/cut", forget),
        ]
    )


async def begin(request: web.Request) -> web.Response:
    """``PUT /NAME/journal``."""
    board = board_of(request)
    board.driver.cut = None  # it belongs to the sweep that is forgotten here
    recording = board.flash.record()
    request.app[BENCHES][board.name] = _Bench(board.efuses.secure_version)
    return web.json_response({"operations": recording.start})


async def sweep(request: web.Request) -> web.Response:
    """``POST /NAME/sweep``: ``{"torn": 2, "members": 1, "seed": 7}``."""
    board = board_of(request)
    table = await table_of(request, "torn", "members", "seed")
    plan = Plan(
        torn=_number(table, "torn", BY_DEFAULT.torn, 0, MAX_TORN),
        members=_number(table, "members", BY_DEFAULT.members, 1, MAX_MEMBERS),
        seed=_number(table, "seed", BY_DEFAULT.seed, 0, 1 << 64),
    )
    bench, recording = request.app[BENCHES].get(board.name), board.flash.recording
    if bench is None or recording is None:
        raise web.HTTPConflict(text=f"{board.name}: nothing is recorded; PUT its journal first")
    if recording.broken:
        raise web.HTTPConflict(text=f"{board.name}: the recording is broken: {recording.broken}")
    board.flash.stop_recording()
    hardware = Hardware(board.chip, board.flash.size, board.foreign_rollback, bench.secure_version)
    began = time.perf_counter()
    made = Sweep(recording, hardware, board.flash.bad.limit, plan)
    await _in_slices(made)
    bench.sweep = made  # only now: no cut is armed out of a sweep that was broken off
    seconds = round(time.perf_counter() - began, 3)
    return web.json_response({**made.to_json(), "seconds": seconds})


async def _in_slices(work: Sweep) -> None:
    pause = time.perf_counter() + SLICE_S
    for _ in work.steps():
        if time.perf_counter() >= pause:
            await asyncio.sleep(0)
            pause = time.perf_counter() + SLICE_S


async def arm(request: web.Request) -> web.Response:
    """``PUT /NAME/cut``: ``{"operation": 12, "variant": 1}``; the board must be off."""
    board = board_of(request)
    table = await table_of(request, "operation", "variant")
    bench = request.app[BENCHES].get(board.name)
    if bench is None or bench.sweep is None:
        raise web.HTTPConflict(text=f"{board.name}: no sweep to take a cut from; POST one first")
    if board.powered:
        raise web.HTTPConflict(text=f"{board.name} has power; switch it off before a cut is armed")
    last = len(bench.sweep.operations)
    point = CutPoint(
        _number(table, "operation", -1, 0, last),
        _number(table, "variant", 0, 0, bench.sweep.plan.torn),
    )
    if not bench.sweep.can_be_armed(point):
        raise web.HTTPBadRequest(text=f"nothing is done to the flash at {point}")
    await board.dark()
    board.flash.load(bench.sweep.base)
    # Only here does an eFuse go back: the board is to be what it was before the recording.
    board.efuses.secure_version = bench.secure_version
    bench.point = point
    bench.cut = board.driver.cut = Cut(
        board.flash.operations + point.operation,
        bench.sweep.plan.tear(point),
        after=point.operation == last,
    )
    return web.json_response(_state(bench))


async def await_cut(request: web.Request) -> web.Response:
    """``GET /NAME/cut?wait=S``: whether it has struck, after at most S wall seconds."""
    board = board_of(request)
    bench = request.app[BENCHES].get(board.name)
    if bench is None or bench.cut is None:
        raise web.HTTPConflict(text=f"{board.name}: no cut is armed")
    wait = request.query.get("wait", "0")
    try:
        seconds = float(wait)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_S:
        text = f"wait: expected seconds from 0 to {MAX_WAIT_S:g}, not {wait!r}"
        raise web.HTTPBadRequest(text=text)
    try:
        async with asyncio.timeout(seconds):
            await bench.cut.done.wait()
    except TimeoutError:
        pass
    return web.json_response(_state(bench))


async def forget(request: web.Request) -> web.Response:
    """``DELETE /NAME/cut``."""
    board = board_of(request)
    board.driver.cut = None
    board.flash.stop_recording()
    request.app[BENCHES].pop(board.name, None)
    return web.json_response({})


def _state(bench: _Bench) -> dict[str, Any]:
    """``as_decided`` tells whether the flash is what the sweep had decided on."""
    assert bench.cut is not None
    assert bench.sweep is not None
    assert bench.point is not None
    cut, expected = bench.cut, bench.sweep.hashes.get(bench.point)
    if not cut.done.is_set():
        return {"cut": False, "expected": expected}
    return {
        "cut": True,
        "expected": expected,
        "sha256": cut.sha256,
        "as_decided": expected in (None, cut.sha256),
        "ago_s": time.monotonic() - cut.struck_at,
    }


def _number(table: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise web.HTTPBadRequest(
            text=f"{key}: expected a whole number from {least} to {most}, not {value!r}"
        )
    return value
