"""A serial port behind RFC 2217, made of pyserial's own server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from serial import rfc2217


def eventually(true: Callable[[], object], what: str, seconds: float = 5.0) -> None:
    """Wait until ``true()`` holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(0.005)


class _Uart:
    """What pyserial's PortManager needs of a serial port; remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[bool, bool]] = [(True, True)]
        self.settings: list[int] = []
        self.cts = self.dsr = self.ri = self.cd = False
        self.bytesize, self.parity, self.stopbits = 8, "N", 1
        self.rtscts = self.xonxoff = self.break_condition = False

    dtr = property(lambda self: self.lines[-1][0],
                   lambda self, on: self.lines.append((on, self.lines[-1][1])))  # fmt: skip
    rts = property(lambda self: self.lines[-1][1],
                   lambda self, on: self.lines.append((self.lines[-1][0], on)))  # fmt: skip

    @property
    def baudrate(self) -> int:
        return self.settings[-1] if self.settings else 9600

    @baudrate.setter
    def baudrate(self, baud: int) -> None:
        self.settings.append(baud)

    def reset_input_buffer(self) -> None:
        """Nothing is buffered."""

    reset_output_buffer = reset_input_buffer


class SerialServer:
    """One RFC 2217 port on loopback, one client at a time, with hooks for a test."""

    def __init__(self, port: int = 0) -> None:
        self.uart = _Uart()
        self.received = bytearray()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"rfc2217://127.0.0.1:{self.port}"
        self._client: socket.socket | None = None
        self._manager: rfc2217.PortManager | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = client
            self._manager = rfc2217.PortManager(self.uart, self)
            self._ready.set()
            self._talk(client, self._manager)
            self._ready.clear()

    def _talk(self, client: socket.socket, manager: rfc2217.PortManager) -> None:
        try:
            while data := client.recv(4096):
                self.received += b"".join(manager.filter(data))
        except OSError:
            return

    @property
    def alive(self) -> bool:
        """Whether it still listens."""
        return self._thread.is_alive()

    def write(self, data: bytes) -> None:
        """Bytes to the client as they are; PortManager answers through this."""
        assert self._client is not None
        self._client.sendall(data)

    def say(self, data: bytes) -> None:
        """What the chip sends."""
        assert self._ready.wait(5)
        self.write(data.replace(b"\xff", b"\xff\xff"))

    def drop(self) -> None:
        """The bridge loses its power: the link ends and nobody listens."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._client is not None:
            self._client.shutdown(socket.SHUT_RDWR)
            self._client.close()
        self._thread.join(5)
