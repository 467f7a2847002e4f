"""The rig's name server: UDP on the rig's own address."""

from __future__ import annotations

import asyncio
from typing import Any

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.network.names import Names


class NameServer(asyncio.DatagramProtocol):
    """Answers for one rig on the running event loop.

    Args:
        record: called for each question; source ``network``.
        names: what is answered.
        host: address to listen at.
        port: 0 for a free one.
        speed: device seconds in a wall second.
    """

    def __init__(
        self, record: Record, names: Names, *, host: str, port: int = 0, speed: float = 1.0
    ) -> None:
        self.names = names
        self.address: tuple[str, int] = (host, port)
        self._record = record
        self._speed = speed
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            RigError: the address cannot be listened at.
        """
        loop = asyncio.get_running_loop()
        host, port = self.address
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: self, local_addr=self.address
            )
        except OSError as error:
            raise RigError(
                f"the name server cannot listen at {host}:{port}: {error.strerror or error}; "
                f"[network] dns_port of the rig file names another port"
            ) from error
        self._transport = transport
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        said = self.names.answer(data)
        if said.told:
            self._record("network", "question", None, peer=f"{addr[0]}:{addr[1]}", **said.told)
        if said.answer is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(said.delay / self._speed, self._send, said.answer, addr)

    def _send(self, answer: bytes, addr: Any) -> None:
        if self._transport is not None:
            self._transport.sendto(answer, addr)

    async def stop(self) -> None:
        """Close the port."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
