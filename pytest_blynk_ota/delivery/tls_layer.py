"""TLS between two buffers: bytes in, bytes out, and which record carries what. No sockets.

OpenSSL writes into memory, so that the server decides when each byte of a record leaves, and knows
where each record ends.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

RECORD_BYTES = 16 * 1024
"""What one record carries at most (RFC 8446, 5.1)."""

PROTOCOL_VERSION_ALERT = bytes.fromhex("15 0303 0002 02 46")
"""A fatal alert ``protocol_version`` (RFC 8446, 6), as of a server that does not have the one asked
for."""

PLAIN_AT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"})
"""What OpenSSL calls bytes that are no TLS."""


class Tls:
    """The server's end of one TLS connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self.is_open = False

    @property
    def version(self) -> str | None:
        """As ``TLSv1.3``; None before the handshake."""
        return self._object.version()

    @property
    def cipher(self) -> str | None:
        """Name of the cipher suite; None before the handshake."""
        found = self._object.cipher()
        return found[0] if found else None

    def feed(self, data: bytes) -> None:
        """Bytes from the peer."""
        self._in.write(data)

    def shake(self) -> bool:
        """Go on with the handshake; whether it is done. Raises ssl.SSLError if it failed."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_open = True
        return True

    def open_records(self) -> tuple[bytes, bool]:
        """What the peer's records hold so far, and whether it has said goodbye.

        Raises:
            ssl.SSLError: they are spoiled, or an alert came.
        """
        opened = bytearray()
        try:
            while part := self._object.read(RECORD_BYTES):
                opened += part
        except ssl.SSLWantReadError:
            return bytes(opened), False
        except ssl.SSLZeroReturnError:
            pass
        return bytes(opened), True

    def seal(self, data: memoryview) -> tuple[bytes, Sequence[tuple[int, int]]]:
        """Records for these bytes, and the size of each: on the wire, and of what it carries.

        What TLS has to say of itself (tickets, alerts) comes before them, as a record of nothing.
        """
        sizes = [(self._out.pending, 0)] if self._out.pending else []
        for begin in range(0, len(data), RECORD_BYTES):
            before = self._out.pending
            piece = data[begin : begin + RECORD_BYTES]
            self._object.write(piece)
            sizes.append((self._out.pending - before, len(piece)))
        return self._out.read(), sizes

    def said(self) -> bytes:
        """What TLS has to say of itself: the handshake, tickets, alerts."""
        return self._out.read()

    def goodbye(self) -> bytes:
        """The alert close_notify, behind what else there is to say."""
        if self.is_open:
            with contextlib.suppress(ssl.SSLError):  # it waits for the peer's own, or that broke
                self._object.unwrap()
        return self._out.read()


def reason(error: BaseException) -> str:
    """Why a handshake failed, in words."""
    if isinstance(error, ssl.SSLError) and error.reason:
        if error.reason in PLAIN_AT_TLS:
            return f"what came is no TLS ({error.reason})"
        return error.reason.replace("_", " ").lower()
    return str(error) or "the device went away"
