"""The rack's HTTP port: open at once, answered as soon as the web framework is there.

The framework takes about as long to import as the rest of the rack takes to start. So the port
listens before the rack is announced, the import happens on a thread while the boards boot, and
whoever connects meanwhile waits in the port's backlog.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.rack import Rack

BACKLOG = 128
ROUTES = "pytest_blynk_ota.virtual.control.routes"
SHUTDOWN_S = 0.5
"""Wall seconds that a request under way has left when the rack ends."""


class Control:
    """One HTTP server for all boards of a rack.

    Args:
        failed: told when it cannot be served.
    """

    def __init__(self, rack: Rack, failed: Callable[[BaseException], None]) -> None:
        self._rack = rack
        self._failed = failed
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it is; a board's outlet is this, a slash and the board's name."""
        assert self._socket is not None, "the control port is not open yet"
        return "http://{}:{}".format(*self._socket.getsockname())

    def open(self) -> None:
        """Listen on a free port of the loopback interface, and begin to get ready."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._serving = asyncio.create_task(self._serve(self._socket), name="control")

    async def stop(self) -> None:
        """Close the port."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])
        if self._socket is not None:
            self._socket.close()

    async def _serve(self, listener: socket.socket) -> None:
        try:
            await asyncio.to_thread(importlib.import_module, ROUTES)
            from pytest_blynk_ota.virtual.control.routes import runner

            serving = runner(self._rack, SHUTDOWN_S)
            await serving.setup()
            try:
                from aiohttp import web

                await web.SockSite(serving, listener).start()
                await asyncio.Event().wait()
            finally:
                await serving.cleanup()
        except Exception as error:
            self._failed(error)
