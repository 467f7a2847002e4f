"""A board's UART as a bare TCP connection: ``socket://127.0.0.1:PORT``. No rate, no lines."""

from __future__ import annotations

from pytest_blynk_ota.virtual.wire.tcp import TcpClient, TcpWire


class SocketWire(TcpWire):
    """Bytes alone."""

    scheme = "socket"
    has_lines = False

    def _client(self) -> TcpClient:
        return PlainClient(self._uart)


class PlainClient(TcpClient):
    """One connection whose bytes are the board's."""

    def data_received(self, data: bytes) -> None:
        self._uart.receive(data)
