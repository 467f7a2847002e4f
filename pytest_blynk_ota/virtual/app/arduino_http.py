"""ArduinoHttpClient 0.6.1, with what it does when data comes late.

It reads character by character. In the status line it waits for each, 30 s at most; in the headers
it does not wait at all but takes "nothing there yet" for a character (255), of which no state has
use::

    status line   HTTP/*.*, digits, the rest; 1xx lines are skipped      -3 late, -4 no such line
    line start    "Content-Length: " | "Transfer-Encoding: chunked" | CR: perhaps the end | other
    length        digits | anything else ends it
    other         up to the line end
    end           LF: the body begins | else wait for it
    chunk's line  hex digits count wherever they stand | LF: its data, or another such line

So a pause before ``Content-Length`` loses the header, one in its digits cuts it, one in another
header's value spoils that value, and one before the empty line makes the body a header: that loop
never ends, as it does not when the server closes within the headers. A body in chunks has no end of
its own; Content-Length beside it counts what is in them.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.http_get import LONGEST_LINE, WIFI_BYTES_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_blynk_ota.virtual.machine import Machine
    from pytest_blynk_ota.virtual.network.tcp import Connection

USER_AGENT = "Arduino/2.2.0"
RESPONSE_TIMEOUT_S = 30.0
"""kHttpResponseTimeout, after each character of the status line."""
READ_TIMEOUT_S = 1.0
"""Stream's, of one readBytes()."""
TIMED_OUT, INVALID_RESPONSE = -3, -4
PREFIX = b"HTTP/*.* "
CONTENT_LENGTH = b"Content-Length: "
CHUNKED = b"Transfer-Encoding: chunked"
CR, LF = 0x0D, 0x0A
NOTHING = 0xFF
"""``(char)-1``."""
AT_ONCE_S = 0.002
"""Wall seconds within which what follows counts as being there already."""
HEX_DIGITS = b"0123456789abcdefABCDEF"


class ArduinoHttp:
    """One request over a connection that is open already."""

    def __init__(self, machine: Machine, connection: Connection) -> None:
        self._clock = machine.clock
        self._connection = connection
        self._buffer = b""
        self._reading: asyncio.Task[bytes] | None = None
        self._chunks: _Chunks | None = None
        self.content_length = -1

    async def request(
        self, method: str, host: str, port: int, path: str, *headers: str, body: bytes = b""
    ) -> None:
        """Send it; a connection that is gone shows later."""
        where = host if port in (80, 443) else f"{host}:{port}"
        lines = (
            f"{method} {path} HTTP/1.1",
            f"Host: {where}",
            f"User-Agent: {USER_AGENT}",
            *headers,
        )
        head = "".join(line + "\r\n" for line in lines) + "\r\n"
        try:
            async with self._clock.within(self._clock.timeout(RESPONSE_TIMEOUT_S)):
                await self._connection.write(head.encode() + body)
        except OSError:  # TimeoutError is one; print() tells nobody
            return

    async def status(self) -> int:
        """``responseStatusCode()``; below 0 its own errors."""
        while True:
            line = bytearray()
            while not line.endswith(b"\n"):
                byte = await self._wait_byte(RESPONSE_TIMEOUT_S)
                if byte is None:
                    return TIMED_OUT
                line.append(byte)
                if len(line) <= len(PREFIX) and not _matches(line):
                    return INVALID_RESPONSE
            code = _code(line)
            if code >= 200 or code == 101:
                return code

    async def headers(self) -> dict[str, str]:
        """All headers, names in lower case; may never return.

        Sets :attr:`content_length`, which knows one spelling only.
        """
        found: dict[str, str] = {}
        line = bytearray()
        watch = _Watch()
        while not watch.over:
            byte = await self._byte_or_nothing()
            watch.take(byte)
            if byte not in b"\r\n":
                line += bytes([byte])[: LONGEST_LINE - len(line)]
                continue
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                found[name.lower()] = value.lstrip()
            line.clear()
        self.content_length = watch.content_length
        self._chunks = _Chunks() if watch.chunked else None
        return found

    async def read(self, limit: int) -> bytes:
        """``readBytes()``: up to ``limit`` bytes within 1 s of the last; ``b""``: none came."""
        data = bytearray()
        while len(data) < limit:
            if not self._buffer and not await self._fill(self._clock.timeout(READ_TIMEOUT_S)):
                break
            data += self._of_the_body(limit - len(data))
        await self._clock.spend(len(data) / WIFI_BYTES_PER_S)
        return bytes(data)

    def _of_the_body(self, limit: int) -> bytes:
        """Up to ``limit`` bytes of what is there; none, if that was the framing of chunks."""
        if self._chunks is None:
            size = limit
        else:
            self._buffer = self._buffer[self._chunks.framing(self._buffer) :]
            size = self._chunks.take(min(limit, len(self._buffer)))
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def stop(self) -> None:
        """Close the connection."""
        self.halt()
        self._connection.close()

    def halt(self) -> None:
        """Stop reading and leave the connection as it stands."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def _wait_byte(self, seconds: float) -> int | None:
        if not self._buffer and not await self._fill(self._clock.timeout(seconds)):
            return None
        return self._take()

    async def _byte_or_nothing(self) -> int:
        """The next character of the headers; after a pause a character that is none comes first."""
        if not self._buffer and not await self._fill(AT_ONCE_S):
            assert self._reading is not None
            await asyncio.wait({self._reading})  # the loop spins; after a close for ever
            return NOTHING
        return self._take()

    def _take(self) -> int:
        byte, self._buffer = self._buffer[0], self._buffer[1:]
        return byte

    async def _fill(self, wall_s: float) -> bool:
        """Wait for data; False: none came. A closed connection reads as "none" from then on."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._connection.read())
        await self._clock.first({self._reading}, wall_s)
        if not self._reading.done():
            return False
        reading, self._reading = self._reading, None
        try:
            self._buffer = reading.result()
        except OSError:
            self._buffer = b""
        if not self._buffer:
            self._reading = asyncio.ensure_future(_nothing_more())
            await self._clock.pause(wall_s)
        return bool(self._buffer)


async def _nothing_more() -> bytes:
    await asyncio.Event().wait()
    return b""


class _Chunks:
    """``available()`` of a body in chunks: where its data is between the lines."""

    def __init__(self) -> None:
        self._length = 0
        self._in_data = False

    def framing(self, data: bytes) -> int:
        """How many of these bytes are none of the data."""
        for place, byte in enumerate(data):
            if self._in_data:
                return place
            if byte == LF:
                self._in_data = self._length != 0
            elif byte in HEX_DIGITS:
                self._length = _as_int(self._length * 16 + int(chr(byte), 16))
        return len(data)

    def take(self, size: int) -> int:
        """How many of so many bytes belong to this chunk; a length below 0 never ends."""
        if not self._in_data:
            return 0
        if self._length > 0:
            size = min(size, self._length)
        self._length -= size
        self._in_data = self._length != 0
        return size


class _Watch:
    """What ``readHeader()`` notices of the headers as they pass."""

    def __init__(self) -> None:
        self.content_length = -1
        self.chunked = False
        self.over = False
        self._begin_line()

    def take(self, byte: int) -> None:
        """The next character."""
        self._state(byte)
        if byte == LF and not self.over:
            self._begin_line()

    def _begin_line(self) -> None:
        self._state: Callable[[int], None] = self._line_start
        self._of_length = self._of_chunked = 0

    def _line_start(self, byte: int) -> None:
        if byte == CONTENT_LENGTH[self._of_length]:
            self._of_length += 1
            if self._of_length == len(CONTENT_LENGTH):
                self._state, self.content_length = self._length, 0
        elif byte == CHUNKED[self._of_chunked]:
            self._of_chunked += 1
            if self._of_chunked == len(CHUNKED):
                self._state, self.chunked = self._other, True
        elif byte == CR and not self._of_length and not self._of_chunked:
            self._state = self._end
        else:
            self._state = self._other

    def _length(self, byte: int) -> None:
        if 0x30 <= byte <= 0x39:  # a step over the edge of a long is left out, if it shows
            more = _as_int(self.content_length * 10 + byte - 0x30)
            self.content_length = max(more, self.content_length)
        else:
            self._state = self._other

    def _other(self, _byte: int) -> None:
        """Up to the line end, which :meth:`take` looks for."""

    def _end(self, byte: int) -> None:
        self.over = byte == LF


def _as_int(number: int) -> int:
    """What is left of it in 32 bits."""
    return (number + 2**31) % 2**32 - 2**31


def _matches(line: bytearray) -> bool:
    return all(wanted in (byte, 0x2A) for byte, wanted in zip(line, PREFIX, strict=False))


def _code(line: bytearray) -> int:
    found = re.match(rb"\d*", line[len(PREFIX) :])
    return int(found[0] or 0) if found else 0
