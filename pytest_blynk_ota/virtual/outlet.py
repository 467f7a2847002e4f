"""The power outlets of the virtual boards, behind HTTP in the shape of labgrid's ``rest`` model.

``PUT /NAME`` with the body ``1`` or ``0`` switches, ``GET /NAME`` tells. The answer to a switch
comes when it has been done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote, urlsplit

MAX_BODY = 64
REQUEST_TIMEOUT_S = 5.0


class Switched(Protocol):
    """Something that has power, or not."""

    @property
    def powered(self) -> bool:
        """Whether it has."""

    def power(self, on: bool) -> None:
        """Switch it."""


Answer = tuple[HTTPStatus, str]


class Outlets:
    """One HTTP server for all boards of a rack."""

    def __init__(self, boards: Mapping[str, Switched]) -> None:
        self._boards = boards
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it is; a board's outlet is this, a slash and the board's name."""
        assert self._server is not None, "the outlets are not open yet"
        return "http://{}:{}".format(*self._server.sockets[0].getsockname())

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                status, body = await self._answer(reader)
                writer.write(response(status, body))
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass  # the client has gone, or never came to the point
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        try:
            method, path, body = await read_request(reader)
        except ValueError as error:
            return HTTPStatus.BAD_REQUEST, str(error)
        board = self._boards.get(path)
        if board is None:
            return HTTPStatus.NOT_FOUND, f"no board {path!r}; there are {', '.join(self._boards)}"
        if method == "PUT":
            if body not in ("0", "1"):
                return HTTPStatus.BAD_REQUEST, f"expected the body 0 or 1, not {body!r}"
            board.power(body == "1")
        elif method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, f"{method} does nothing here; use GET or PUT"
        return HTTPStatus.OK, "1" if board.powered else "0"


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, str]:
    """Read one HTTP request: method, path without its slash, body.

    Raises:
        ValueError: it is none, or too long.
        EOFError: the client closed before its end.
    """
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise ValueError("the request's head is too long") from error
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1"):
        raise ValueError("this is no HTTP request")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise ValueError("expected a body of one character")
    body = (await reader.readexactly(int(length))).decode("latin-1").strip()
    return words[0], unquote(urlsplit(words[1]).path).strip("/"), body


def response(status: HTTPStatus, body: str) -> bytes:
    """One HTTP answer, after which the connection ends."""
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}"
    ).encode()
