"""A rack of virtual boards: which ones, started and stopped together."""

from __future__ import annotations

import asyncio
from typing import Any

from pytest_blynk_ota.virtual.chip.board import Board, Execute
from pytest_blynk_ota.virtual.control.server import Control
from pytest_blynk_ota.virtual.network.air import Air
from pytest_blynk_ota.virtual.settings import RackSettings


class Rack:
    """Boards and their control port on one event loop.

    Args:
        execute: the software of every board.

    Raises:
        UsageError: a flash file does not fit.
    """

    def __init__(self, settings: RackSettings, execute: Execute) -> None:
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.air = Air()
        self.boards = {
            one.name: Board(one, execute, speed=settings.speed, failed=self._fail, air=self.air)
            for one in settings.boards
        }
        self.control = Control(self, self._fail)

    def _fail(self, error: BaseException) -> None:
        """A part of the rack broke: it must not go on as if that were firmware."""
        if not self.broken.done():
            self.broken.set_exception(error)

    async def start(self) -> None:
        """Open every port and switch every board on."""
        self.control.open()
        for board in self.boards.values():
            await board.start()

    async def stop(self) -> None:
        """Switch everything off and close every port."""
        await self.control.stop()
        for board in self.boards.values():
            await board.stop()

    def announcement(self) -> dict[str, Any]:
        """Where everything is; the first line of ``--json``."""
        boards = [
            {
                "name": board.name,
                "chip": board.chip.name,
                "mac": board.chip.mac_text,
                "url": board.uart.url,
                "address": board.source.address,
            }
            for board in self.boards.values()
        ]
        return {"event": "ready", "boards": boards, "outlet": self.control.url}
