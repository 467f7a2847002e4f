"""What a request asks for: which board, with which body. Wrong ones are refused in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pytest_blynk_ota.virtual.chip.board import Board
from pytest_blynk_ota.virtual.settings import hint

BOARDS: web.AppKey[Mapping[str, Board]] = web.AppKey("boards", Mapping)


def board_of(request: web.Request) -> Board:
    """The board that the path names. Raises HTTPNotFound."""
    boards, name = request.app[BOARDS], request.match_info["name"]
    if name not in boards:
        raise web.HTTPNotFound(text=f"no board {name!r}{hint(name, list(boards))}")
    return boards[name]


async def word_of(request: web.Request, *expected: str) -> str:
    """A body that is one of a few words. Raises HTTPBadRequest."""
    limit = max(map(len, expected)) + len("\r\n")
    word = (await request.content.read(limit + 1)).decode("latin-1").strip()
    if word not in expected:
        asked = " or ".join(expected)
        raise web.HTTPBadRequest(text=f"expected the body {asked}, not {word[:40]!r}")
    return word


async def table_of(request: web.Request, *keys: str) -> dict[str, Any]:
    """A body that is a JSON object with no other keys than these. Raises HTTPBadRequest."""
    text = (await request.read()).decode(errors="replace")
    try:
        table = json.loads(text or "{}")
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"expected JSON, not {text[:40]!r}: {error}") from error
    if not isinstance(table, dict):
        raise web.HTTPBadRequest(text=f"expected a JSON object, not {text[:40]!r}")
    for key in table:
        if key not in keys:
            raise web.HTTPBadRequest(text=f"unknown key {key!r}{hint(key, keys)}")
    return table
