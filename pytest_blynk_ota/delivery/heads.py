"""The heads of requests, read by h11 as strictly as RFC 9112 wants. No sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit

import h11

HEAD_BYTES = 16 * 1024
"""A longer head is refused; a device's has some hundred bytes."""

SPOKEN = ("1.0", "1.1")
REDACTED = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers of which only that they are there goes on record."""
NOTED = ("user-agent", "range", "if-range", "if-none-match", "connection", *sorted(REDACTED))
"""Headers that are worth a word."""


class Refused(Exception):
    """Raised when what came is no request.

    Args:
        status: what it is answered with.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        target: path and query as they were sent.
        path: decoded.
        query: the first value of each name.
        headers: names in lower case; what stands more than once is joined by commas.
        version: of HTTP, ``1.0`` or ``1.1``.
        last: whether a body follows that nobody reads, so that no other request can.
    """

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    version: str = "1.1"
    last: bool = False

    def noted(self) -> dict[str, str]:
        """The headers that go on record; of secret ones, that they are there."""
        found = {name: self.headers[name] for name in NOTED if name in self.headers}
        return {name: "(present)" if name in REDACTED else text for name, text in found.items()}


class Heads:
    """Takes the bytes of a connection, gives its requests one by one."""

    def __init__(self) -> None:
        self._anew()

    def _anew(self) -> None:
        # Of h11 only the reading is used: what is answered is ours to say, right or wrong.
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._size = 0

    @property
    def is_idle(self) -> bool:
        """Whether no byte of a further request has come."""
        return self._size == 0

    def feed(self, data: bytes) -> None:
        """Bytes of the device."""
        if data:
            self._size += len(data)
            self._h11.receive_data(data)

    def next(self) -> Request | None:
        """The next request, if it is all there. Raises Refused if it is none."""
        try:
            event = self._h11.next_event()
            if not isinstance(event, h11.Request):
                return None
            request = _request(event)
            has_body = not isinstance(self._h11.next_event(), h11.EndOfMessage)
        except h11.RemoteProtocolError as error:
            raise Refused(error.error_status_hint, str(error)) from None
        rest = self._h11.trailing_data[0]
        self._anew()
        if has_body:
            request = replace(request, last=True)
        else:
            self.feed(rest)
        return request


def _request(event: h11.Request) -> Request:
    version = event.http_version.decode("ascii")
    if version not in SPOKEN:
        raise Refused(505, f"HTTP/{version} is not spoken here, {' and '.join(SPOKEN)} are")
    target = event.target.decode("ascii")
    try:
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise Refused(400, f"the target {target!r} is no URL: {error}") from None
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(
        event.method.decode("ascii"),
        target,
        unquote(parts.path),
        {name: values[0] for name, values in query.items()},
        headers,
        version,
    )
