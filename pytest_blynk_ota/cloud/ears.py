"""How a port is listened at: by this process, or by another one that hands connections over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from pytest_blynk_ota.cloud.doors import Door, why_not
from pytest_blynk_ota.cloud.port_holder import holder_of_port
from pytest_blynk_ota.errors import RigError

BACKLOG: Final = 1024
"""Connections that may wait to be accepted: a whole fleet comes back at once."""

Visitor = Callable[[float | None], asyncio.Protocol]
"""Makes the protocol of a new connection, which was accepted at a monotonic host second; None: just
now."""


class Ear(Protocol):
    """An open port."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""

    def close(self) -> None:
        """Take no connection any more; those that there are stay."""

    async def wait_closed(self) -> None:
        """Wait until nobody can connect."""


Listen = Callable[[Door, str, Visitor], Awaitable[Ear]]
"""Opens a door at a host. Raises RigError with what to do about it."""


class OwnEar:
    """A port that this process listens at."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)

    def close(self) -> None:
        """See :class:`Ear`."""
        self._server.close()

    async def wait_closed(self) -> None:
        """See :class:`Ear`."""
        await self._server.wait_closed()


async def listen_here(door: Door, host: str, visitor: Visitor) -> Ear:
    """Listen in this process.

    Raises:
        RigError: the port cannot be listened on; says why, who has it, and what to do.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: visitor(None), host, door.port, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise RigError(why_port_fails(door.kind, host, door.port, error)) from error
    return OwnEar(server)


def why_port_fails(kind: str, host: str, port: int, error: OSError | UnicodeError) -> str:
    """Why a port cannot be listened on, who has it, and what to do about it."""
    return why_not(kind, host, port, error, holder_of_port(port))
