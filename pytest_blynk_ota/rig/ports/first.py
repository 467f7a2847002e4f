"""What the first bytes of a connection say of who calls. Pure: bytes in, nothing is taken away.

In every protocol of Blynk's the device speaks first. Without TLS its token is in its first message:
in the binary LOGIN, in the password of an MQTT CONNECT, in the URL of an HTTP request. With TLS the
first message names at most the server (RFC 6066, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

MAX_BYTES: Final = 16_384
"""More of a beginning is not looked at: one TLS record."""

LOGIN, MQTT_CONNECT, TLS_HANDSHAKE = 29, 0x10, 0x16
LOGIN_HEADER: Final = 5
CLIENT_HELLO: Final = 1
SERVER_NAME: Final = 0
MQTT_5: Final = 5
WILL, PASSWORD, USER = 0x04, 0x40, 0x80
"""Flags of a CONNECT (MQTT 3.1.1, 3.1.2.3)."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a caller.

    Attributes:
        whole: whether more bytes would tell no more.
        token: that it logs in with; "" if it does not say.
        name: of the server that it wants (TLS); "" if it does not say.
    """

    whole: bool
    token: str = ""
    name: str = ""


NOTHING: Final = Told(whole=True)
MORE: Final = Told(whole=False)


class _Short(Exception):
    """Raised where the bytes end before what is read."""


class _Reader:
    """Reads numbers and strings with a length before them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise _Short
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def counted(self, size: int) -> bytes:
        """A string with its length, of so many bytes, before it."""
        return self.take(self.number(size))

    def varint(self) -> int:
        """MQTT's own kind of number (2.2.3 of 3.1.1)."""
        value = 0
        for place in range(4):
            byte = self.number(1)
            value |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                return value
        raise ValueError("a number of more than four bytes")


def told_by(data: bytes) -> Told:
    """What the bytes that have come say."""
    if not data:
        return MORE
    read = READERS.get(data[0], _http if ord("A") <= data[0] <= ord("Z") else None)
    if read is None:
        return NOTHING
    try:
        return read(data)
    except _Short:
        return MORE if len(data) < MAX_BYTES else NOTHING
    except ValueError:  # it breaks its protocol: whoever gets it will say so
        return NOTHING


def _login(data: bytes) -> Told:
    reader = _Reader(data)
    reader.take(LOGIN_HEADER - 2)
    return Told(whole=True, token=_text(reader.counted(2).split(b"\0")[0]))


def _mqtt(data: bytes) -> Told:
    reader = _Reader(data)
    reader.take(1)
    reader = _Reader(reader.take(reader.varint()))
    try:
        return Told(whole=True, token=_password(reader))
    except _Short:
        return NOTHING  # the packet is whole, and does not hold what its flags promise


def _password(reader: _Reader) -> str:
    reader.counted(2)  # MQTT
    level, flags = reader.number(1), reader.number(1)
    reader.take(2)  # keep alive
    is_5 = level == MQTT_5
    if is_5:
        reader.take(reader.varint())
    reader.counted(2)  # client
    if flags & WILL:
        if is_5:
            reader.take(reader.varint())
        reader.counted(2)  # topic
        reader.counted(2)  # message
    if flags & USER:
        reader.counted(2)
    return _text(reader.counted(2)) if flags & PASSWORD else ""


def _http(data: bytes) -> Told:
    line, end, _ = data.partition(b"\n")
    if not end:
        raise _Short
    words = line.decode("latin-1").split()
    query = parse_qs(urlsplit(words[1]).query) if len(words) > 1 else {}
    return Told(whole=True, token=query.get("token", [""])[0])


def _tls(data: bytes) -> Told:
    reader = _Reader(_handshake(_Reader(data)))
    if reader.number(1) != CLIENT_HELLO:
        return NOTHING
    reader = _Reader(reader.counted(3))
    try:
        reader.take(2 + 32)  # version, random
        for size in (1, 2, 1):  # session, ciphers, compressions
            reader.counted(size)
        return Told(whole=True, name=_server_name(_Reader(reader.counted(2))))
    except _Short:
        return NOTHING  # no extensions, or not as long as they say


def _handshake(records: _Reader) -> bytes:
    """The first handshake message, which may lie in several records."""
    found = b""
    while len(found) < 4 or len(found) < 4 + int.from_bytes(found[1:4]):
        if records.number(1) != TLS_HANDSHAKE:
            raise ValueError("no handshake record")
        records.take(2)
        found += records.counted(2)
    return found


def _server_name(extensions: _Reader) -> str:
    while extensions.left:
        kind, body = extensions.number(2), extensions.counted(2)
        if kind == SERVER_NAME:
            names = _Reader(_Reader(body).counted(2))
            names.take(1)  # host_name: there is no other kind
            return _text(names.counted(2)).lower()
    return ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


READERS: Final[Mapping[int, Callable[[bytes], Told]]] = {
    LOGIN: _login,
    MQTT_CONNECT: _mqtt,
    TLS_HANDSHAKE: _tls,
}
"""By the first byte; a capital letter begins an HTTP request."""
