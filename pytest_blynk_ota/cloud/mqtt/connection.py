"""MQTT on a connection of its own."""

from __future__ import annotations

import asyncio

from pytest_blynk_ota.cloud.mqtt.session import MAX_UNREAD_BYTES, MqttSession
from pytest_blynk_ota.cloud.site import Site


class MqttProtocol(asyncio.Protocol):
    """MQTT on a connection of its own.

    Attributes:
        session: what it carries, once the connection is made.
    """

    def __init__(
        self, number: int, site: Site, started: float, scheme: str, elsewhere: bool = False
    ) -> None:
        self._beginning = (number, site, started, scheme)
        self._elsewhere = elsewhere
        self.session: MqttSession | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the login."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        self.session = MqttSession(*self._beginning, transport, self._elsewhere)

    def data_received(self, data: bytes) -> None:
        """For the session."""
        if self.session is not None:
            self.session.receive(data)

    def pause_writing(self) -> None:
        """The device does not read."""
        if self.session is not None:
            self.session.unread()

    def connection_lost(self, exc: Exception | None) -> None:
        """For the session, and the server."""
        number, site, *_ = self._beginning
        if self.session is not None:
            self.session.gone(exc)
        site.over(number)

    def close(self, why: str) -> None:
        """End it for a reason that is no fault of the device."""
        if self.session is not None:
            self.session.close(why)

    def abort(self) -> None:
        """Drop the connection."""
        if self.session is not None:
            self.session.abort()
