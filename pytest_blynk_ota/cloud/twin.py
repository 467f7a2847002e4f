"""Another client with the token of a device: it logs in, and the device's session is over.

It comes over TCP like anybody, by a door of its own: the cloud's doors may all want TLS or MQTT.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from pytest_blynk_ota.cloud.protocol import Cmd, Decoder, Frame, encode, frame, response

READ_BYTES: Final = 4096
AGAIN_S: Final = 5.0
"""Device seconds from the end of its session to its next login (BlynkProtocol.h)."""


class Twin:
    """The other client.

    Args:
        address: host and port that it dials.
        token: the device's.
    """

    def __init__(self, address: tuple[str, int], token: str) -> None:
        self._address = address
        self._token = token

    async def visit(self, version: str | None = None, *, inside: asyncio.Event) -> None:
        """Log in, say what it runs, and answer until somebody takes the session over.

        Args:
            version: of its firmware; None: it says nothing of itself.
            inside: set once the login was answered.
        """
        with suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(*self._address)
            try:
                writer.write(encode(frame(Cmd.LOGIN, 1, self._token)))
                async with aclosing(_messages(reader)) as messages:
                    async for message in messages:
                        if message.cmd == Cmd.RESPONSE and message.id == 1:
                            inside.set()
                            writer.write(_info(version))
                        elif message.cmd != Cmd.RESPONSE:
                            writer.write(encode(response(message.id)))
            finally:
                writer.close()


def _info(version: str | None) -> bytes:
    return b"" if version is None else encode(frame(Cmd.INTERNAL, 2, "mcu", version))


async def _messages(reader: asyncio.StreamReader) -> AsyncGenerator[Frame]:
    decoder = Decoder()
    while data := await reader.read(READ_BYTES):
        for message in decoder.feed(data):
            yield message
