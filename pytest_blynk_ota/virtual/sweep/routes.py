"""The control routes of journals and sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

    from pytest_blynk_ota.virtual.chip.board import Board


def add_routes(app: web.Application, boards: Mapping[str, Board]) -> None:
    """Add them; handlers find their board with ``control.asked.board_of``."""
