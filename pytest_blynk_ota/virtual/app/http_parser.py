"""What http_parser makes of an answer: the parser of ESP-IDF's esp_http_client. Pure.

Strict, as ESP-IDF builds it (components/http_parser, version 2)::

    status line   HTTP/<number>.<number> <number up to 999>[ text], CR LF or LF
    header        a token, the colon at once, visible text; one Content-Length, of digits, and none
                  beside chunks; 80 KB in all
    body          none (1xx, 204, 304, length 0) | so many bytes | chunks, trailers | until the end
    after it      another message where the connection may be kept; else nothing but line ends

What is wrong is not told: from then on it takes everything and gives nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MOST_HEADER_BYTES = 80 * 1024
"""HTTP_MAX_HEADER_SIZE, of one head or of the line of one chunk."""
MOST_LENGTH = 2**64 - 1
STATUS = re.compile(rb"HTTP/(\d{1,3})\.(\d{1,3}) +(\d{1,3})(?: [^\r\n]*)?\r?\n")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\n-\x1f\x7f]*)\r?\n")
FOLDED = re.compile(rb"[ \t]+[^\x00-\x08\n-\x1f\x7f]*\r?\n")
CHUNK = re.compile(rb"([0-9A-Fa-f]+)(?:[; ][^\r]*)?\r\n")
LENGTH = re.compile(r"\d[\d ]*")
EMPTY = (b"\r\n", b"\n")
LINE_ENDS = b"\r\n"
NO_BODY = (204, 304)


class Parser:
    """One connection's answers, in pieces of any size.

    Attributes:
        heads: how many heads are complete, those of 1xx included.
        status, headers: of the last of them; names in lower case.
        length: what it announces; None: nothing.
        taken: body bytes since then.
        complete: whether its body has ended.
        chunked: as esp_http_client's ``is_chunked``, which it sets itself; a new message resets it.
    """

    def __init__(self) -> None:
        self.heads = self.status = self.taken = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.complete = self.chunked = False
        self._line = b""
        self._head_bytes = 0
        self._left = self._code = 0
        self._newer = self._keeps = True
        self._lengths: list[str] = []
        self._state: Callable[[bytes], tuple[bytes, bytes]] = self._between

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body that are in ``data``."""
        body = b""
        while data:
            found, data = self._state(data)
            body += found
            self.taken += len(found)
        return body

    def end(self) -> None:
        """The connection has ended: so may the body."""
        if self._state == self._until_the_end:
            self.complete = True

    # ---- states: each takes data, gives what of it is body, and what is left

    def _between(self, data: bytes) -> tuple[bytes, bytes]:
        """Before a message; line ends begin one, too, as far as the flags go."""
        if data[:1] in (b"H", b"\r", b"\n"):
            self.complete = self.chunked = False
        if data[:1] == b"H":
            self._begin_head()
            self._state = self._status_line
            return b"", data
        return self._no_more(data)

    def _no_more(self, data: bytes) -> tuple[bytes, bytes]:
        return (b"", data[1:]) if data[0] in LINE_ENDS else self._wrong(data)

    def _wrong(self, _data: bytes) -> tuple[bytes, bytes]:
        self._state = self._wrong
        return b"", b""

    def _begin_head(self) -> None:
        self._head_bytes = 0
        self._lengths = []
        self.headers = {}
        self.length = None

    def _take_line(self, data: bytes) -> tuple[bytes | None, bytes]:
        """A whole line, None if it is not there yet; and what is left."""
        piece, newline, rest = data.partition(b"\n")
        self._line += piece + newline
        self._head_bytes += len(piece) + len(newline)
        if self._head_bytes > MOST_HEADER_BYTES:
            self._state = self._wrong
        if not newline or self._state == self._wrong:
            return None, b""
        line, self._line = self._line, b""
        return line, rest

    def _status_line(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._take_line(data)
        if line is None:
            return b"", rest
        found = STATUS.fullmatch(line)
        if found is None:
            return self._wrong(data)
        major, minor, self._code = (int(number) for number in found.groups())
        self._newer = major > 0 and minor > 0
        self._state = self._header
        return b"", rest

    def _header(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._take_line(data)
        if line is None:
            return b"", rest
        if line in EMPTY:
            return self._head_over(rest)
        if not self._keep_header(line):
            return self._wrong(data)
        return b"", rest

    def _keep_header(self, line: bytes) -> bool:
        if FOLDED.fullmatch(line):
            return bool(self.headers)
        found = HEADER.fullmatch(line)
        if found is None:
            return False
        name, value = found[1].decode().lower(), found[2].decode("latin-1").rstrip()
        self.headers[name] = value
        if name == "content-length" and value:
            self._lengths.append(value)
            return len(self._lengths) == 1 and LENGTH.fullmatch(value) is not None
        return True

    def _head_over(self, rest: bytes) -> tuple[bytes, bytes]:
        in_chunks = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if self._lengths:
            self.length = int(self._lengths[0].replace(" ", ""))
            if in_chunks or self.length > MOST_LENGTH:
                return self._wrong(rest)
        self.heads += 1
        self.status, self.taken = self._code, 0
        bodiless = self.status // 100 == 1 or self.status in NO_BODY
        endless = self.length is None and not in_chunks and not bodiless
        self._keeps = self._asks_to_keep() and not endless
        if in_chunks:
            self._begin_chunk()
        elif self.length:
            self._left, self._state = self.length, self._so_many
        elif endless:
            self._state = self._until_the_end
        else:
            self._message_over()
        return b"", rest

    def _asks_to_keep(self) -> bool:
        words = self.headers.get("connection", "").lower().replace(" ", "").split(",")
        return "close" not in words if self._newer else "keep-alive" in words

    def _message_over(self) -> None:
        self.complete = True
        self._state = self._between if self._keeps else self._after_the_last

    def _after_the_last(self, data: bytes) -> tuple[bytes, bytes]:
        return self._no_more(data)

    def _until_the_end(self, data: bytes) -> tuple[bytes, bytes]:
        return data, b""

    def _so_many(self, data: bytes) -> tuple[bytes, bytes]:
        body, rest = data[: self._left], data[self._left :]
        self._left -= len(body)
        if self._left == 0:
            self._message_over()
        return body, rest

    # ---- chunks

    def _begin_chunk(self) -> None:
        self._head_bytes = 0
        self._state = self._chunk_line

    def _chunk_line(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._take_line(data)
        if line is None:
            return b"", rest
        found = CHUNK.fullmatch(line)
        if found is None or int(found[1], 16) > MOST_LENGTH:
            return self._wrong(data)
        self._left = int(found[1], 16)
        self._head_bytes = 0
        self._state = self._chunk_data if self._left else self._trailer
        return b"", rest

    def _chunk_data(self, data: bytes) -> tuple[bytes, bytes]:
        body, rest = data[: self._left], data[self._left :]
        self._left -= len(body)
        if self._left == 0:
            self._state = self._chunk_end
        return body, rest

    def _chunk_end(self, data: bytes) -> tuple[bytes, bytes]:
        missing = len(LINE_ENDS) - len(self._line)
        self._line += data[:missing]
        if not LINE_ENDS.startswith(self._line):
            return self._wrong(data)
        if self._line == LINE_ENDS:
            self._line = b""
            self._begin_chunk()
        return b"", data[missing:]

    def _trailer(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._take_line(data)
        if line is None:
            return b"", rest
        if line in EMPTY:
            self._message_over()
        elif HEADER.fullmatch(line) is None:
            return self._wrong(data)
        return b"", rest
