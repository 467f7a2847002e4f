"""MQTT in a WebSocket at ``/mqtt`` of the HTTP room.

Sources: Blynk documentation, device-mqtt-api (ports and path); OASIS MQTT, section 6.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.http_room import HttpRoom
    from pytest_blynk_ota.cloud.mqtt.session import MqttSession

PATH: Final = "/mqtt"
SUBPROTOCOL: Final = "mqtt"
MAX_UNREAD_BYTES: Final = 1 << 16
"""A device for which more than this waits unread is cut off."""
MAX_FRAME_BYTES: Final = 1 << 16
"""Of one WebSocket message, which may hold several packets. Our choice."""
CLOSING_S: Final = 5.0
"""Device seconds for the other end to agree that a WebSocket is over. Our choice."""
SESSION: Final = "pytest_blynk_ota.cloud.mqtt.session"
"""Imported when it is needed first, beside the other connections: amqtt takes its time."""


class _WebSocket:
    """A WebSocket that one can write to without waiting."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._waiting = bytearray()
        self._news = asyncio.Event()
        self._closing = False
        self.session: MqttSession | None = None

    def write(self, data: bytes) -> None:
        self._waiting += data
        self._news.set()
        if len(self._waiting) > MAX_UNREAD_BYTES and self.session is not None:
            self.session.unread()

    def close(self) -> None:
        self._closing = True
        self._news.set()

    def abort(self) -> None:
        self._waiting.clear()
        self.close()
        if transport := self._socket.get_extra_info("transport", None):
            transport.abort()

    async def send(self) -> None:
        """Send what is written until it is closed."""
        while self._waiting or not self._closing:
            await self._news.wait()
            self._news.clear()
            data, self._waiting = bytes(self._waiting), bytearray()
            if data:
                await self._socket.send_bytes(data)
        await self._socket.close()


def add_websocket(app: web.Application, room: HttpRoom) -> None:
    """MQTT in a WebSocket: a part of the HTTP room."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=MAX_FRAME_BYTES, compress=False,
            timeout=room.site.wall(CLOSING_S),
        )  # fmt: skip
        if not socket.can_prepare(request).ok:
            raise web.HTTPUpgradeRequired(
                text=f"{PATH} is a WebSocket that carries MQTT\n", headers={"Upgrade": "websocket"}
            )
        mqtt = await asyncio.to_thread(importlib.import_module, SESSION)
        await socket.prepare(request)
        guest = room.guest(request)
        wire = _WebSocket(socket)
        scheme = "wss" if request.secure else "ws"
        session: MqttSession = mqtt.MqttSession(
            guest.number, room.site, guest.started, scheme, wire
        )
        wire.session = session
        guest.hand_over(session)
        sending = asyncio.ensure_future(wire.send())
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    session.receive(message.data)
                else:  # [MQTT-6.0.0-1]
                    session.cut_off("a WebSocket message that is not binary")
        finally:
            session.gone(None)
            await asyncio.gather(sending, return_exceptions=True)
        return socket

    app.router.add_get(PATH, answer)
