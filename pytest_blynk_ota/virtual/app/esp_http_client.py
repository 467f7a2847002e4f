"""ESP-IDF's esp_http_client as esp_https_ota uses it: one GET at a time, read as it is consumed.

Rules of esp_http_client.c: 5 s for a connection and for each wait; a connection is kept for the
next request to the same place, even if the server has closed it; a body has a length, comes in
chunks or ends with the connection. What http_parser finds wrong is not noticed: the client reads on
until the connection ends. A 1xx that comes by itself is taken for the answer.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_blynk_ota.virtual.app.dial import dial
from pytest_blynk_ota.virtual.app.http_get import WIFI_BYTES_PER_S
from pytest_blynk_ota.virtual.app.http_parser import Parser
from pytest_blynk_ota.virtual.boot.bootlog import error, warning
from pytest_blynk_ota.virtual.network.tls import CONN_EOF, VERIFY_FAILED, TlsFailed

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
KEEP_ALIVE_IDLE_S, KEEP_ALIVE_INTERVAL_S, KEEP_ALIVE_COUNT = 5.0, 5.0, 3
"""``keep_alive_enable``: how TCP asks for a sign of life (DEFAULT_KEEP_ALIVE_*)."""
KEEP_ALIVE_S = KEEP_ALIVE_IDLE_S + KEEP_ALIVE_COUNT * KEEP_ALIVE_INTERVAL_S
USER_AGENT = "ESP32 HTTP Client/1.0"
PORTS = {"http": 80, "https": 443}
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
        self._parser = Parser()
        self._ahead = b""
        self._silent_s = 0.0
        self._unanswered = 0
        self.url = url

    @property
    def status(self) -> int:
        """Of the answer; 0: there is none yet."""
        return self._parser.status

    @property
    def location(self) -> str:
        """Where a redirection leads; empty: it does not say."""
        return self._parser.headers.get("location", "")

    @property
    def length(self) -> int | None:
        """What Content-Length says."""
        return self._parser.length

    @property
    def complete(self) -> bool:
        """``esp_http_client_is_complete_data_received()``."""
        if self._parser.chunked:
            return self._parser.complete
        return self._parser.taken == self._parser.length

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
        self._parser = Parser()
        _, host, port = place
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if len(target) + len("GET  HTTP/1.1\r\n") >= BUFFER_BYTES:
            self._complain("HTTP_CLIENT", "Out of buffer")
            raise EspError(FAIL)
        where = host if port in PORTS.values() else f"{host}:{port}"
        head = f"GET {target} HTTP/1.1\r\nUser-Agent: {USER_AGENT}\r\nHost: {where}\r\n\r\n"
        try:
            async with self._clock.within(self._clock.timeout(TIMEOUT_S)):
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
        while not self._parser.heads:
            try:
                piece = await self._receive(BUFFER_BYTES)
            except ReadTimedOut as late:
                self._log.idf(
                    [warning("HTTP_CLIENT", "Connection timed out before data was ready!")]
                )
                raise EspError(-AGAIN) from late
            if not piece:
                raise EspError(FAIL)
            self._ahead += self._parser.feed(piece)
        if not self._parser.length:
            self._parser.chunked = True

    def redirect(self) -> None:
        """``esp_http_client_set_redirection()``: the next request goes where Location says.

        Raises:
            EspError: there is no Location, or one that http_parser does not take.
        """
        if not self.location:
            raise EspError(INVALID_ARG)
        place = re.match(r"[a-zA-Z]+://[^/?#]+", self.url)
        if self.location.startswith("/") and place is not None:
            self.url = place[0] + self.location
        elif re.match(r"[a-zA-Z]+://[^/?#]", self.location):
            self.url = self.location
        else:
            self._complain("HTTP_CLIENT", f"Error parse url {self.location}")
            raise EspError(INVALID_ARG)
        with suppress(EspError):  # open() says what is wrong with it
            if _place(self.url) == self._place:
                return
        self._ahead = b""
        self.close()

    async def read(self, limit: int) -> bytes:
        """``esp_http_client_read()``: ``limit`` bytes, fewer at the end or when it gets late.

        Raises:
            ReadTimedOut: nothing for 5 s.
            EspError: the connection ended before the body did.
        """
        data, self._ahead = self._ahead[:limit], self._ahead[limit:]
        while len(data) < limit and not self._all_taken:
            try:
                piece = await self._receive(min(limit - len(data), BUFFER_BYTES))
            except (ReadTimedOut, EspError):
                if data or self.complete:
                    break
                raise
            if not piece:
                self._take_end(data)
                break
            data += self._parser.feed(piece)
        await self._clock.spend(len(data) / WIFI_BYTES_PER_S)
        return data

    @property
    def _all_taken(self) -> bool:
        """Whether nothing more is read from the connection."""
        parser = self._parser
        return parser.complete if parser.chunked else parser.taken >= (parser.length or 0)

    def _take_end(self, data: bytes) -> None:
        """The connection has ended; behind ``data``, that is told by the next call."""
        if self._parser.chunked:
            self._parser.end()
        if not data and not self.complete:
            raise EspError(FAIL)

    async def _receive(self, limit: int) -> bytes:
        """What comes next; ``b""``: closed. Raises ReadTimedOut, EspError."""
        if self._connection is None:
            raise EspError(FAIL)
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._connection.read(limit))
        await self._clock.first({self._reading}, self._clock.timeout(TIMEOUT_S))
        if not self._reading.done():
            self._silent_s += TIMEOUT_S
            self._unanswered = self._unanswered + 1 if self._nobody_answers else 0
            if self._silent_s >= KEEP_ALIVE_S and self._unanswered > 1:
                raise EspError(FAIL)
            raise ReadTimedOut
        reading, self._reading, self._silent_s, self._unanswered = self._reading, None, 0.0, 0
        try:
            return reading.result()
        except OSError as broken:
            if isinstance(broken, TlsFailed) and broken.code == CONN_EOF:
                return b""  # mbedtls_ssl_read() makes no difference to a goodbye
            raise EspError(FAIL) from broken

    @property
    def _nobody_answers(self) -> bool:
        """Whether TCP's own questions have had no answer. The host's TCP asks in whole seconds of
        its own, so a fast board may see that a read or two late; and that a question went out just
        now, which is no silence yet."""
        assert self._connection is not None
        return not self._machine.network.joined or self._connection.is_unanswered

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
            async with self._clock.within(self._clock.timeout(TIMEOUT_S)):
                connection = await dial(self._machine, host, port, trust)
        except OSError as failure:  # TimeoutError is one
            for tag, text in _why(failure, host):
                self._complain(tag, text)
            self._complain("HTTP_CLIENT", "Connection failed, sock < 0")
            raise EspError(CONNECT) from failure
        speed = self._clock.speed
        connection.probe_peer(
            KEEP_ALIVE_IDLE_S / speed, KEEP_ALIVE_INTERVAL_S / speed, KEEP_ALIVE_COUNT
        )
        return connection

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
