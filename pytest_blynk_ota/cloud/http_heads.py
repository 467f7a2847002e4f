"""The head of a request as firmware in the field writes it, for a server that is strict; no I/O.

New Edgent's upload of a core dump has ``Host`` and ``User-Agent`` twice, from ArduinoHttpClient and
from itself (Edgent-Arduino, uploadCoreDump() in BlynkHttpOTA.h). aiohttp answers either with 400,
as RFC 9112, 3.2, wants for ``Host``; that the real cloud takes them is derived from the firmware,
which has no other way. So a second one is left out, of ``Host`` only if it names the same host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

MAX_HEAD_BYTES: Final = 32 << 10
"""A longer head goes on as it is: aiohttp refuses it."""
END: Final = b"\r\n\r\n"


class FirstHead:
    """Holds the bytes of a connection back until the head of its first request is whole."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._over = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes; return those that may go on."""
        if self._over:
            return data
        begun = max(len(self._held) - len(END), 0)
        self._held += data
        at = self._held.find(END, begun)
        if at < 0:
            # Without a CR there is no head to wait for.
            bare = b"\n\n" in self._held or len(self._held) > MAX_HEAD_BYTES
            return self.rest() if bare else b""
        held = self.rest()
        return with_one_each(held[: at + len(END)]) + held[at + len(END) :]

    def rest(self) -> bytes:
        """What is held back; from now on nothing is."""
        self._over = True
        held, self._held = bytes(self._held), bytearray()
        return held


def _host(value: bytes) -> bytes:
    """Without the port: one of Edgent's two has it where it is not the usual one."""
    name, colon, port = value.strip().lower().rpartition(b":")
    return name if colon and port.isdigit() else value.strip().lower()


def _any(_: bytes) -> bytes:
    return b""


ONCE: Final[Mapping[bytes, Callable[[bytes], bytes]]] = {b"host": _host, b"user-agent": _any}
"""Headers of which the first counts, with what makes two of them the same."""


def with_one_each(head: bytes) -> bytes:
    """The head without what stands twice; a second, other host stays, for the server to refuse."""
    seen: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in ONCE and seen.get(name) == ONCE[name](value):
            continue
        if name in ONCE:
            seen.setdefault(name, ONCE[name](value))
        lines.append(line)
    return b"\r\n".join(lines)
