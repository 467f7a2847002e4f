"""A board's resolver: asks a name server over UDP, again and again, and keeps what it was told."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable

from pytest_blynk_ota.virtual.chip.clock import DeviceClock
from pytest_blynk_ota.virtual.network.air import SILENCE, Address
from pytest_blynk_ota.virtual.network.dns import (
    MAX_MESSAGE_BYTES,
    WAITS_S,
    Found,
    NoAddress,
    question,
    read_answer,
)


class Resolver:
    """One board's.

    Args:
        clock: of the board.
        hears: whether the board is on the air.
    """

    def __init__(self, clock: DeviceClock, hears: Callable[[], bool]) -> None:
        self._clock = clock
        self._hears = hears
        self._kept: dict[str, tuple[str, float]] = {}

    def forget(self) -> None:
        """The chip was reset."""
        self._kept.clear()

    async def address(self, server: Address, host: str) -> str:
        """The IPv4 address of a name, as ``server`` says, or as it said not long ago.

        Raises:
            NoAddress: there is none, or no answer came.
        """
        kept = self._kept.get(host)
        if kept is not None and self._clock.now() < kept[1]:
            return kept[0]
        found = await self._ask(server, host)
        self._kept[host] = (found.address, self._clock.now() + found.ttl)
        return found.address

    async def _ask(self, server: Address, host: str) -> Found:
        try:
            asked = question(secrets.randbits(16), host)
        except ValueError as error:
            raise NoAddress(str(error)) from error
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for wait_s in WAITS_S:
                if self._hears():
                    await asyncio.get_running_loop().sock_sendto(sock, asked, server)
                try:
                    async with self._clock.within(wait_s / self._clock.speed):
                        return await self._answer(sock, asked, server)
                except TimeoutError:
                    continue
        raise NoAddress(SILENCE)

    async def _answer(self, sock: socket.socket, asked: bytes, server: Address) -> Found:
        """The first answer to the question that the board hears."""
        loop = asyncio.get_running_loop()
        while True:
            message, peer = await loop.sock_recvfrom(sock, MAX_MESSAGE_BYTES)
            found = read_answer(message, asked) if peer[:2] == server else None
            if found is not None and self._hears():
                return found
