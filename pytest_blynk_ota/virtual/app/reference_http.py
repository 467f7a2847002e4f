"""The reference firmware's HTTP client: what a careful GET looks like.

Each rule is a step of its own, so that a planted bug can leave one out: which statuses are an
answer, which redirections are followed, how long a body is, when to lose patience.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

from pytest_blynk_ota.virtual.app import reference_settings
from pytest_blynk_ota.virtual.app.dial import dial, roots_of
from pytest_blynk_ota.virtual.network.tls import Trust

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.network.tcp import Connection

PORTS = {"http": 80, "https": 443}
CONNECT_TIMEOUT_S = 10.0
HEADERS_TIMEOUT_S = 30.0
"""For all headers together: dripped ones have an end, too."""
HEADERS_BYTES = 16384
CHUNK_HEAD_BYTES = 64
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
WIFI_BYTES_PER_S = 80_000
"""As for the other firmwares: http_get.py."""
REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
NOBODY_THERE = (ConnectionRefusedError, socket.gaierror)
FOR_NOW = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which another try makes sense."""
LONGEST_RETRY_AFTER_S = 60.0
HOP_S = 0.2
"""Z18: what each hop of an endless redirection costs."""
URL_BYTES, LINE_BYTES = 512, 1024
"""Z22: ``char url[512]``, ``char line[1024]``, and nobody who counts."""


class Problem(Exception):
    """Raised when a download cannot go on.

    Attributes:
        again: whether another try may help.
        after_s: how long to wait before it, as the server asked for.
    """

    def __init__(self, words: str, *, again: bool = True, after_s: float = 0.0) -> None:
        self.again = again
        self.after_s = after_s
        super().__init__(words)


class Stall(Problem):
    """Raised when no byte comes."""


class Cut(Problem):
    """Raised when the connection ends before the body does."""


@dataclass(frozen=True)
class Head:
    """Status and headers; names in lower case, each with all its values."""

    status: int
    headers: Mapping[str, Sequence[str]]

    def one(self, name: str) -> str | None:
        """A header's only value.

        Raises:
            Problem: it is there twice and not the same.
        """
        values = set(self.headers.get(name, ()))
        if len(values) > 1:
            raise Problem(f"{name} given twice", again=False)
        return values.pop() if values else None


class Answer:
    """A head, and the connection that its body comes over."""

    def __init__(self, context: Context, head: Head, connection: Connection) -> None:
        self._clock = context.machine.clock
        self._connection = connection
        self.head = head
        self.goes_unread = context.has("Z4") and says_nothing_of_its_length(head)
        self.length = 0 if self.goes_unread else body_length(head, any_status=context.has("Z3"))
        self._left = self.length
        self._in_chunk = 0
        self._ended = False

    async def read(self, limit: int, patience_s: float) -> bytes:
        """Up to ``limit`` bytes of the body; ``b""`` at its end.

        Raises:
            Problem: no byte for ``patience_s`` device seconds, or cut before the end.
        """
        try:
            async with self._clock.within(self._clock.timeout(patience_s)):
                data = await self._piece(limit)
        except TimeoutError:
            raise Stall(f"no byte for {patience_s:g} s") from None
        except (OSError, EOFError) as error:
            raise Cut(f"cut: {error}") from None
        await self._clock.spend(len(data) / WIFI_BYTES_PER_S)
        return data

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    async def _piece(self, limit: int) -> bytes:
        if self._ended:
            return b""
        if self._left is None:
            return await self._of_a_chunk(limit)
        if self._left == 0:
            self._ended = True
            return b""
        data = await self._some(min(limit, self._left))
        self._left -= len(data)
        return data

    async def _of_a_chunk(self, limit: int) -> bytes:
        if self._in_chunk == 0:
            self._in_chunk = await self._chunk_head()
            if self._in_chunk == 0:
                self._ended = True
                return b""
        data = await self._some(min(limit, self._in_chunk))
        self._in_chunk -= len(data)
        if self._in_chunk == 0 and await self._connection.read_exactly(2) != b"\r\n":
            raise Problem("a chunk has no end", again=False)
        return data

    async def _chunk_head(self) -> int:
        try:
            line = await self._connection.read_line(CHUNK_HEAD_BYTES)
        except ValueError:
            raise Problem("no end of a chunk size", again=False) from None
        if not line.endswith(b"\n"):
            raise EOFError("closed where a chunk is due")
        size = line.partition(b";")[0].strip()
        if not CHUNK_SIZE.fullmatch(size):
            raise Problem("no chunk size where one is due", again=False)
        return int(size, 16)

    async def _some(self, limit: int) -> bytes:
        data = await self._connection.read(limit)
        if not data:
            raise EOFError("closed before the end")
        return data


class Client:
    """GETs for one download."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._machine = context.machine
        self._redirects = context.behaviour.redirects
        self._trust = Trust(roots_of(context), dates=True)
        if context.has("Z19"):
            self._trust = Trust(insecure=True)  # setInsecure(), as in the example

    async def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Ask, and follow redirections to the one that answers. The caller closes it.

        Raises:
            Problem: there is no answer, or none with a body for us.
        """
        headers = {**headers, **await self._token()}
        hops = 0
        while hops <= self._redirects:
            answer = await self._ask(url, headers)
            if answer.head.status not in REDIRECTIONS:
                return answer
            answer.close()
            url = target(url, answer.head.one("location"))
            hops = await self._count(hops)
        raise Problem(f"redirected more than {self._redirects} times", again=False)

    async def _count(self, hops: int) -> int:
        if self._context.has("Z18"):
            await self._machine.clock.sleep(HOP_S)
            return hops  # the counter that was never counted up
        return hops + 1

    async def _token(self) -> Mapping[str, str]:
        """Z20: the device's token, in a header that goes wherever a redirection leads."""
        if not self._context.has("Z20"):
            return {}
        settings = await reference_settings.load(self._context)
        return {"Authorization": f"Bearer {settings.token}"} if settings else {}

    async def _ask(self, url: str, headers: Mapping[str, str]) -> Answer:
        self._copy(len(url), URL_BYTES)
        parts = _split(url)
        clock = self._machine.clock
        connection = await self._connect(parts)
        try:
            async with clock.within(clock.timeout(HEADERS_TIMEOUT_S)):
                await connection.write(_request(parts, headers))
                head = await _final_head(connection, lambda size: self._copy(size, LINE_BYTES))
            return Answer(self._context, head, connection)
        except TimeoutError:
            connection.close()
            raise Problem(f"no headers within {HEADERS_TIMEOUT_S:g} s") from None
        except (OSError, EOFError) as error:
            connection.close()
            raise Problem(f"cut in the headers: {error}") from None
        except ValueError as error:
            connection.close()
            raise Problem(f"no HTTP: {error}", again=False) from None
        except BaseException:
            connection.close()
            raise

    def _copy(self, size: int, room: int) -> None:
        """Z22: strcpy() into a buffer on the heap; what lies behind it is found out at free()."""
        if size >= room and self._context.has("Z22"):
            self._context.crash.now("heap_corrupt")

    async def _connect(self, parts: SplitResult) -> Connection:
        trust = self._trust if parts.scheme == "https" else None
        port = parts.port or PORTS[parts.scheme]
        try:
            async with self._machine.clock.within(self._machine.clock.timeout(CONNECT_TIMEOUT_S)):
                return await dial(self._machine, parts.hostname or "", port, trust)
        except OSError as error:  # TimeoutError is one
            if isinstance(error, NOBODY_THERE) and self._context.has("Z21"):
                self._context.crash.now("panic")  # client->read() where client is NULL
            raise Problem(f"no connection to {parts.hostname}:{port}: {error}") from None


def target(url: str, location: str | None) -> str:
    """Where a redirection leads to: absolute or relative, and never from TLS to plain HTTP.

    Nothing of ours goes along: a token that stood in the first URL is not put into the second.
    """
    if not location:
        raise Problem("redirected to nowhere", again=False)
    there = urljoin(url, location)
    if url.startswith("https:") and not there.startswith("https:"):
        raise Problem("redirected from TLS to plain HTTP", again=False)
    return there


def says_nothing_of_its_length(head: Head) -> bool:
    """Whether there is neither a Content-Length nor a chunk."""
    told = {"content-length", "transfer-encoding"} & head.headers.keys()
    return head.status == 200 and not told


def body_length(head: Head, *, any_status: bool = False) -> int | None:
    """Bytes of the body; None: it comes in chunks.

    Args:
        any_status: Z3: whether the body of an error is as good as any.

    Raises:
        Problem: the headers do not say, or say it twice.
    """
    encoding, text = head.one("transfer-encoding"), head.one("content-length")
    refusal = head.status in FOR_NOW or head.status >= 400
    if head.status in REDIRECTIONS or (refusal and not any_status):
        return 0
    if encoding is not None:
        if encoding.lower() != "chunked" or text is not None:
            raise Problem("Transfer-Encoding that does not fit", again=False)
        return None
    if text is None or not text.isdecimal():
        raise Problem(f"Content-Length is {text!r}", again=False)
    return int(text)


def retry_after(head: Head) -> float:
    """Seconds that the server asks to wait; dates are not read."""
    text = (head.headers.get("retry-after") or ("",))[0]
    return min(float(text), LONGEST_RETRY_AFTER_S) if text.isdecimal() else 0.0


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in PORTS and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known or any(letter.isspace() for letter in url):
        raise Problem(f"no URL: {url[:80]!r}", again=False)
    return parts


def _request(parts: SplitResult, headers: Mapping[str, str]) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "User-Agent: reference/1.0",
        "Accept-Encoding: identity",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _final_head(connection: Connection, copy: Callable[[int], None]) -> Head:
    """The head that is none of a 1xx.

    Args:
        copy: called with the bytes of each line before it is kept.

    Raises:
        ValueError: no HTTP, or more than we hold. EOFError: it ended too soon.
    """
    while True:
        head = await _head(connection, copy)
        if head.status >= 200:
            return head


async def _head(connection: Connection, copy: Callable[[int], None]) -> Head:
    size, lines = 0, []
    while True:
        line = await connection.read_line(HEADERS_BYTES)
        size += len(line)
        if not line.endswith(b"\n"):
            raise EOFError("closed within the headers")
        if size > HEADERS_BYTES:
            raise ValueError(f"more than {HEADERS_BYTES} bytes of headers")
        copy(len(line))
        text = line.decode("latin-1").strip()
        if not text:
            break
        lines.append(text)
    words = lines[0].split() if lines else []
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise ValueError(f"no status line: {lines[:1]}")
    headers: dict[str, list[str]] = {}
    for text in lines[1:]:
        name, colon, value = text.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), []).append(value.strip())
    return Head(int(words[1]), headers)
