"""The device's HTTP client: one GET, read as slowly as the firmware consumes it.

Rules of old Edgent on an ESP32 (OTA.h; HTTPClient.cpp of arduino-esp32 3)::

    HTTP/1.1, no redirects, no chunked bodies, header names in any case
    first line    the number behind its first space is the status, whatever stands before it
    other lines   up to the empty one; of two the last counts
    a late line   5 s after its last character what there is of it counts as the line
    no line       nothing for 5 s -11, closed -5; at the end: no status -7, an odd framing -9

After the headers a closed connection reads as "no data yet", so an early FIN, a reset and a stall
all end in the same way: nothing for ``stall_s``.
"""

from __future__ import annotations

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
LONGEST_LINE = 20_000
"""The heap is full then, and a line of the headers grows no further."""
MD5_CHARS = 32
LONG_MAX = 2**31 - 1

PORTS: Mapping[str, int] = {"http": 80, "https": 443}
ANYBODY = Trust(insecure=True)
"""``begin(url)`` without a CA: any certificate will do (HTTPClient.cpp)."""
FRAMINGS = ("", "chunked", "identity")
"""Values of Transfer-Encoding that are no error; what they mean is left to the caller."""

CONNECTION_REFUSED = -1
CONNECTION_LOST = -5
NO_HTTP_SERVER = -7
UNKNOWN_ENCODING = -9
READ_TIMEOUT = -11
"""Results below 100, as HTTPClient.h numbers them."""


class Body:
    """The rest of a connection after the headers, whatever the server calls it.

    Args:
        ahead: what came together with the headers.
    """

    def __init__(
        self, machine: Machine, connection: Connection, stall_s: float, ahead: bytes = b""
    ) -> None:
        self._clock = machine.clock
        self._connection = connection
        self._stall_s = stall_s
        self._ahead = ahead
        self._open = True

    async def read(self, limit: int) -> bytes:
        """Up to ``limit`` bytes; ``b""`` after ``stall_s`` device seconds without one."""
        patience_s = self._clock.timeout(self._stall_s)
        if self._open:
            try:
                async with self._clock.within(patience_s):
                    data = await self._some(limit)
            except TimeoutError:
                return b""
            except OSError:
                data = b""
            if data:
                await self._clock.spend(len(data) / WIFI_BYTES_PER_S)
                return data
            self._open = False
        await self._clock.pause(patience_s)
        return b""

    async def _some(self, limit: int) -> bytes:
        if not self._ahead:
            return await self._connection.read(limit)
        data, self._ahead = self._ahead[:limit], self._ahead[limit:]
        return data

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
        async with machine.clock.within(machine.clock.timeout(CONNECT_TIMEOUT_S)):
            connection = await dial(machine, parts.hostname, port, trust)
    except OSError:  # TimeoutError is one
        return Response(CONNECTION_REFUSED)
    lines = _Lines(machine, connection)
    try:
        await connection.write(_request(parts.hostname, parts.port, parts.path, parts.query))
        status, headers = await _head(lines)
    except TimeoutError:
        status, headers = READ_TIMEOUT, {}
    except (OSError, EOFError):
        status, headers = CONNECTION_LOST, {}
    if status < 0:
        connection.close()
        return Response(status)
    body = Body(machine, connection, stall_s, lines.ahead)
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


class _Lines:
    """``readStringUntil('\\n')``, and the look before it whether there is anything to read."""

    def __init__(self, machine: Machine, connection: Connection) -> None:
        self._clock = machine.clock
        self._patience_s = machine.clock.timeout(HEADER_TIMEOUT_S)
        self._connection = connection
        self.ahead = b""

    async def next(self) -> str:
        """A line; of one that stays unfinished for 5 s what there is, closed or not.

        Raises:
            TimeoutError: nothing for 5 s. EOFError: closed, and nothing left.
        """
        line = bytearray()
        while not line.endswith(b"\n"):
            if not self.ahead and not await self._fill(begun=bool(line)):
                break
            piece = self.ahead.split(b"\n", 1)[0]
            ends = len(self.ahead) > len(piece)
            self.ahead = self.ahead[len(piece) + ends :]
            line += piece[: LONGEST_LINE - len(line)] + b"\n" * ends
        return line.decode("latin-1").strip()

    async def _fill(self, *, begun: bool) -> bool:
        """Wait for a piece; False: the line that has begun is as long as it will get."""
        try:
            async with self._clock.within(self._patience_s):
                self.ahead = await self._received()
        except TimeoutError:
            if not begun:
                raise
        else:
            if not self.ahead and not begun:
                raise EOFError("closed within the headers")
            if not self.ahead:
                await self._clock.pause(self._patience_s)
        return bool(self.ahead)

    async def _received(self) -> bytes:
        try:
            return await self._connection.read()
        except OSError:
            return b""


async def _head(lines: _Lines) -> tuple[int, Mapping[str, str]]:
    """Status, or what is wrong with the head, and headers (lower-case names).

    Raises:
        TimeoutError: no line for 5 s. EOFError: closed.
    """
    text = await lines.next()
    status = _number(text.partition(" ")[2].partition(" ")[0] if " " in text else text)
    headers: dict[str, str] = {}
    while text:
        text = await lines.next()
        name, colon, value = text.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() not in FRAMINGS:
        return UNKNOWN_ENCODING, {}
    return status or NO_HTTP_SERVER, headers


def _length(headers: Mapping[str, str]) -> int:
    """Content-Length, -1 if there is none."""
    text = headers.get("content-length")
    return -1 if text is None else _number(text)


def _number(text: str) -> int:
    """``String::toInt``: leading digits, at most LONG_MAX; no digits are 0."""
    found = re.match(r"\s*[+-]?\d+", text)
    return max(-LONG_MAX - 1, min(int(found[0]), LONG_MAX)) if found else 0
