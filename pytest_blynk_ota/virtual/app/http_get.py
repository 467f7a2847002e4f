"""The device's HTTP client: one GET, read as slowly as the firmware consumes it.

Rules of old Edgent on an ESP32 (OTA.h; HTTPClient.cpp): HTTP/1.1, no redirects and no
chunked bodies, header names in any case. After the headers a closed connection reads as "no data
yet", so an early FIN, a reset and a stall all end in the same way: nothing for ``stall_s``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_blynk_ota.virtual.app.dial import dial
from pytest_blynk_ota.virtual.network.tls import Trust

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.machine import Machine
    from pytest_blynk_ota.virtual.network.tcp import Connection

CONNECT_TIMEOUT_S = 5.0
HEADER_TIMEOUT_S = 5.0
"""HTTPCLIENT_DEFAULT_TCP_TIMEOUT: connecting, and each wait for a header byte."""
WIFI_BYTES_PER_S = 80_000
"""How fast a body comes in: boards take 10 to 20 s for 1 MB over 2.4 GHz, writing included."""
HEADER_LIMIT_BYTES = 32768
"""More than this before the body and the device is out of memory."""
MD5_CHARS = 32
LONG_MAX = 2**31 - 1

PORTS: Mapping[str, int] = {"http": 80, "https": 443}
ANYBODY = Trust(insecure=True)
"""``begin(url)`` without a CA: any certificate will do (HTTPClient.cpp)."""

CONNECTION_REFUSED = -1
CONNECTION_LOST = -5
NO_HTTP_SERVER = -7
READ_TIMEOUT = -11
"""Results below 100, as HTTPClient.h numbers them."""


class Body:
    """The rest of a connection after the headers, whatever the server calls it."""

    def __init__(self, machine: Machine, connection: Connection, stall_s: float) -> None:
        self._clock = machine.clock
        self._connection = connection
        self._stall_s = stall_s
        self._open = True

    async def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes; ``b""`` after ``stall_s`` device seconds without one."""
        patience_s = self._clock.timeout(self._stall_s)
        if self._open:
            try:
                async with asyncio.timeout(patience_s):
                    data = await self._connection.read(limit)
            except TimeoutError:
                return b""
            except OSError:
                data = b""
            if data:
                await self._clock.spend(len(data) / WIFI_BYTES_PER_S)
                return data
            self._open = False
        await asyncio.sleep(patience_s)
        return b""

    def close(self) -> None:
        """End the connection with FIN."""
        self._connection.close()


@dataclass(frozen=True)
class Response:
    """The head of an answer; ``status`` below 100 is an error of the client itself."""

    status: int
    length: int = -1
    md5: str | None = None
    body: Body | None = None


async def get(machine: Machine, url: str, stall_s: float) -> Response:
    """Ask for ``url``. The caller closes ``body``, which is there from the headers on."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        return Response(CONNECTION_REFUSED)
    if not parts.hostname:
        return Response(CONNECTION_REFUSED)
    trust = ANYBODY if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(machine.clock.timeout(CONNECT_TIMEOUT_S)):
            connection = await dial(machine, parts.hostname, port, trust)
    except OSError:  # TimeoutError is one
        return Response(CONNECTION_REFUSED)
    try:
        await connection.write(_request(parts.hostname, parts.port, parts.path, parts.query))
        status, headers = await _head(machine, connection)
    except TimeoutError:
        connection.close()
        return Response(READ_TIMEOUT)
    except (OSError, EOFError):
        connection.close()
        return Response(CONNECTION_LOST)
    except ValueError:
        connection.close()
        return Response(NO_HTTP_SERVER)
    body = Body(machine, connection, stall_s)
    return Response(status, _length(headers), headers.get("x-md5"), body)


def _request(host: str, port: int | None, path: str, query: str) -> bytes:
    target = (path or "/") + (f"?{query}" if query else "")
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {host}" + (f":{port}" if port else ""),
        "User-Agent: ESP32HTTPClient",
        "Connection: keep-alive",
        "Accept-Encoding: identity;q=1,chunked;q=0.1,*;q=0",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _head(machine: Machine, connection: Connection) -> tuple[int, Mapping[str, str]]:
    """Status and headers (lower-case names).

    Raises:
        TimeoutError: no line for 5 s. EOFError: closed. ValueError: not HTTP/1, or no end.
    """
    status = 0
    headers: dict[str, str] = {}
    size = 0
    while True:
        line = await _line(machine, connection)
        size += len(line)
        text = line.decode("latin-1").strip()
        if size > HEADER_LIMIT_BYTES:
            raise ValueError(f"headers of more than {HEADER_LIMIT_BYTES} bytes")
        if not status:
            status = _status(text)
        elif not text:
            return status, headers
        elif ":" in text:
            name, value = text.split(":", 1)
            headers[name.strip().lower()] = value.strip()


async def _line(machine: Machine, connection: Connection) -> bytes:
    async with asyncio.timeout(machine.clock.timeout(HEADER_TIMEOUT_S)):
        line = await connection.read_line(HEADER_LIMIT_BYTES)
    if not line.endswith(b"\n"):
        raise EOFError("closed within the headers")
    return line


def _status(line: str) -> int:
    words = line.split()
    if len(words) < 2 or not words[0].startswith("HTTP/1") or not words[1].isdecimal():
        raise ValueError(f"no HTTP/1 status line: {line!r}")
    return int(words[1])


def _length(headers: Mapping[str, str]) -> int:
    """Content-Length as ``String::toInt`` reads it: leading digits, at most LONG_MAX; else -1."""
    text = headers.get("content-length")
    if text is None:
        return -1
    found = re.match(r"-?\d+", text)
    return min(int(found[0]), LONG_MAX) if found else 0
