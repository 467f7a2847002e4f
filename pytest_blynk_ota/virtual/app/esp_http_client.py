"""ESP-IDF's esp_http_client as esp_https_ota uses it: one GET at a time, read as it is consumed.

Rules of esp_http_client.c: 5 s for a connection and for each wait; a connection is kept for the
next request to the same place, even if the server said that it would close it; a body has a length,
comes in chunks or ends with the connection. Header names may be spelled in any case.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from pytest_blynk_ota.virtual.app.dial import dial
from pytest_blynk_ota.virtual.app.http_get import WIFI_BYTES_PER_S
from pytest_blynk_ota.virtual.boot.bootlog import error, warning
from pytest_blynk_ota.virtual.network.tls import VERIFY_FAILED, TlsFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_blynk_ota.virtual.boot.log import Log
    from pytest_blynk_ota.virtual.machine import Machine
    from pytest_blynk_ota.virtual.network.tcp import Connection
    from pytest_blynk_ota.virtual.network.tls import Trust

TIMEOUT_S = 5.0
"""DEFAULT_TIMEOUT_MS."""
BUFFER_BYTES = 512
"""DEFAULT_HTTP_BUF_SIZE, of the request line as well."""
KEEP_ALIVE_S = 20.0
"""``keep_alive_enable``: 5 s idle, then three probes 5 s apart."""
USER_AGENT = "ESP32 HTTP Client/1.0"
PORTS = {"http": 80, "https": 443}
HEADER_BYTES = 80 * 1024
"""HTTP_MAX_HEADER_SIZE of http_parser."""
FAIL, INVALID_ARG = -1, 0x102
CONNECT, WRITE_DATA, INVALID_TRANSPORT, AGAIN = 0x7002, 0x7003, 0x7005, 0x7007
NAMES: Mapping[int, str] = {
    FAIL: "ESP_FAIL",
    INVALID_ARG: "ESP_ERR_INVALID_ARG",
    CONNECT: "ESP_ERR_HTTP_CONNECT",
    WRITE_DATA: "ESP_ERR_HTTP_WRITE_DATA",
    INVALID_TRANSPORT: "ESP_ERR_HTTP_INVALID_TRANSPORT",
    -AGAIN: "UNKNOWN ERROR",
}
"""esp_err_to_name()."""


class EspError(Exception):
    """Raised when a call returns an ``esp_err_t``.

    Attributes:
        code: the number.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(NAMES.get(code, f"esp_err_t 0x{code:x}"))


class ReadTimedOut(Exception):
    """Raised when nothing came for 5 s; the request goes on."""


class EspHttpClient:
    """One client handle. :meth:`close` at the end."""

    def __init__(self, machine: Machine, log: Log, url: str, trust: Trust) -> None:
        self._machine = machine
        self._clock = machine.clock
        self._log = log
        self._trust = trust
        self._connection: Connection | None = None
        self._place: tuple[str, str, int] | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self._raw = b""
        self._silent_s = 0.0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self._left: int | None = None
        self.complete = False
        self._in_chunks = False
        self.url = url

    async def open(self) -> None:
        """``esp_http_client_open()``: connect if need be, and send the request.

        Raises:
            EspError: it did not work.
        """
        place = _place(self.url)
        if place != self._place:
            self.close()
        if self._connection is None:
            self._connection = await self._connect(*place)
            self._place = place
        _, host, port = place
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if len(target) + len("GET  HTTP/1.1\r\n") >= BUFFER_BYTES:
            self._complain("HTTP_CLIENT", "Out of buffer")
            raise EspError(FAIL)
        where = host if port in PORTS.values() else f"{host}:{port}"
        head = f"GET {target} HTTP/1.1\r\nUser-Agent: {USER_AGENT}\r\nHost: {where}\r\n\r\n"
        try:
            async with asyncio.timeout(self._clock.timeout(TIMEOUT_S)):
                await self._connection.write(head.encode())
        except OSError as broken:  # TimeoutError is one
            self._complain("HTTP_CLIENT", "Error write request")
            self.close()
            raise EspError(WRITE_DATA) from broken

    async def fetch_headers(self) -> None:
        """``esp_http_client_fetch_headers()``.

        Raises:
            EspError: nothing for 5 s, closed, or no HTTP.
        """
        head = b""
        while (end := _end_of_headers(head)) < 0:
            try:
                piece = await self._receive()
            except ReadTimedOut as late:
                self._log.idf(
                    [warning("HTTP_CLIENT", "Connection timed out before data was ready!")]
                )
                raise EspError(-AGAIN) from late
            head += piece
            if not piece or len(head) > HEADER_BYTES or not b"HTTP/".startswith(head[:5]):
                raise EspError(FAIL)
        self._raw = head[end:]
        self._parse(head[:end].decode("latin-1"))

    def _parse(self, head: str) -> None:
        lines = [line.rstrip("\r") for line in head.split("\n")]
        found = re.match(r"HTTP/\d\.\d (\d{3})( |$)", lines[0])
        if found is None:
            raise EspError(FAIL)
        self.status, self.headers = int(found[1]), {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers[name.strip().lower()] = value.strip()
        length = self.headers.get("content-length", "")
        self._in_chunks = "chunked" in self.headers.get("transfer-encoding", "").lower()
        if length and not length.isdecimal():
            raise EspError(FAIL)
        self.length = int(length) if length and not self._in_chunks else None
        self._left = 0 if self._in_chunks else self.length
        self.complete = self.length == 0 or self.status in (204, 304)

    def redirect(self) -> None:
        """``esp_http_client_set_redirection()``: the next request goes where Location says.

        Raises:
            EspError: there is no Location.
        """
        location = self.headers.get("location", "")
        if not location:
            raise EspError(INVALID_ARG)
        self.url = urljoin(self.url, location)

    async def read(self, limit: int) -> bytes:
        """``esp_http_client_read()``: ``limit`` bytes, fewer at the end or when it gets late.

        Raises:
            ReadTimedOut: nothing for 5 s.
            EspError: the connection ended before the body did.
        """
        data = bytearray()
        while len(data) < limit and not self.complete:
            try:
                data += await self._body(limit - len(data))
            except (ReadTimedOut, EspError):
                if data:
                    break
                raise
        await self._clock.spend(len(data) / WIFI_BYTES_PER_S)
        return bytes(data)

    async def _body(self, limit: int) -> bytes:
        if self._in_chunks and self._left == 0:
            await self._next_chunk()
            if self.complete:
                return b""
        if not self._raw:
            self._raw = await self._receive()
        if not self._raw:
            if self._left is None:  # the end of the connection is the end of the body
                self.complete = True
                return b""
            raise EspError(FAIL)
        most = limit if self._left is None else min(limit, self._left)
        data, self._raw = self._raw[:most], self._raw[most:]
        if self._left is not None:
            self._left -= len(data)
            self.complete = self._left == 0 and not self._in_chunks
        return data

    async def _next_chunk(self) -> None:
        line = await self._line()
        if not line:  # behind the data of the one before
            line = await self._line()
        size = re.match(rb"[0-9A-Fa-f]+", line)
        if size is None:
            raise EspError(FAIL)
        self._left = int(size[0], 16)
        if self._left == 0:
            while await self._line():
                pass  # trailers
            self.complete = True

    async def _line(self) -> bytes:
        while (end := self._raw.find(b"\n")) < 0:
            piece = await self._receive()
            if not piece:
                raise EspError(FAIL)
            self._raw += piece
        line, self._raw = self._raw[:end], self._raw[end + 1 :]
        return line.rstrip(b"\r")

    async def _receive(self) -> bytes:
        """What comes next; ``b""``: closed. Raises ReadTimedOut, EspError."""
        assert self._connection is not None
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._connection.read())
        await asyncio.wait({self._reading}, timeout=self._clock.timeout(TIMEOUT_S))
        if not self._reading.done():
            self._silent_s += TIMEOUT_S
            if self._silent_s >= KEEP_ALIVE_S and not self._machine.network.joined:
                raise EspError(FAIL)  # nobody answers TCP's own probes
            raise ReadTimedOut
        reading, self._reading, self._silent_s = self._reading, None, 0.0
        try:
            return reading.result()
        except OSError as broken:
            raise EspError(FAIL) from broken

    def close(self) -> None:
        """Close the connection."""
        self.halt()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def halt(self) -> None:
        """Stop reading and leave the connection as it stands."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _connect(self, scheme: str, host: str, port: int) -> Connection:
        trust = self._trust if scheme == "https" else None
        try:
            async with asyncio.timeout(self._clock.timeout(TIMEOUT_S)):
                return await dial(self._machine, host, port, trust)
        except OSError as failure:  # TimeoutError is one
            for tag, text in _why(failure, host):
                self._complain(tag, text)
            self._complain("HTTP_CLIENT", "Connection failed, sock < 0")
            raise EspError(CONNECT) from failure

    def _complain(self, tag: str, text: str) -> None:
        self._log.idf([error(tag, text)])


def _place(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Raises EspError for what http_parser does not take."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as wrong:
        raise EspError(FAIL) from wrong
    if not parts.hostname:
        raise EspError(FAIL)
    if parts.scheme not in PORTS:
        raise EspError(INVALID_TRANSPORT)
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme]


def _end_of_headers(head: bytes) -> int:
    found = re.search(rb"\n\r?\n", head)
    return found.end() if found else -1


def _why(failure: OSError, host: str) -> list[tuple[str, str]]:
    """What esp_tls logs of a connection that did not come about."""
    lines = []
    if isinstance(failure, TlsFailed):
        lines = [("esp-tls-mbedtls", f"mbedtls_ssl_handshake returned -0x{-failure.code:04X}")]
        if failure.code == VERIFY_FAILED:
            lines += [
                ("esp-tls-mbedtls", "Failed to verify peer certificate!"),
                ("esp-tls-mbedtls", f"verification info:   ! {failure.why}"),
            ]
    elif isinstance(failure, socket.gaierror):
        text = f"couldn't get hostname for :{host}: getaddrinfo() returns 202, addrinfo=0x0"
        lines = [("esp-tls", text)]
    elif isinstance(failure, TimeoutError):
        lines = [("esp-tls", "[sock=54] select() timeout")]
    else:
        lines = [("esp-tls", "[sock=54] delayed connect error: Connection reset by peer")]
    return [*lines, ("transport_base", "Failed to open a new connection: 32772")]
