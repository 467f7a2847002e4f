"""SLIP framing (RFC 1055) as the serial loader uses it: C0 delimits, DB escapes."""

from __future__ import annotations

END = b"\xc0"
ESCAPE = b"\xdb"
ESCAPED_END = b"\xdb\xdc"
ESCAPED_ESCAPE = b"\xdb\xdd"
MAX_FRAME_BYTES = 0x8100
"""The largest write block that esptool sends is 0x4000 bytes; escaped at worst twice that."""


def encode(payload: bytes) -> bytes:
    """One frame."""
    return END + payload.replace(ESCAPE, ESCAPED_ESCAPE).replace(END, ESCAPED_END) + END


def unescape(raw: bytes) -> bytes | None:
    """The payload of what stood between two delimiters; ``None`` for a wrong escape."""
    pieces = raw.split(ESCAPE)
    payload = bytearray(pieces[0])
    for piece in pieces[1:]:
        if piece[:1] == ESCAPED_END[1:]:
            payload += END
        elif piece[:1] == ESCAPED_ESCAPE[1:]:
            payload += ESCAPE
        else:
            return None
        payload += piece[1:]
    return bytes(payload)


class Decoder:
    """Finds frames in a stream. Every C0 both ends and begins one, so noise costs no later frame.

    Frames that are too long or wrongly escaped vanish.
    """

    def __init__(self, max_frame: int = MAX_FRAME_BYTES) -> None:
        self._max = max_frame
        self._open = bytearray()
        self._overflow = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the frames that ``data`` completes; empty ones are left out."""
        *ended, rest = data.split(END)
        frames = []
        for piece in ended:
            self._extend(piece)
            payload = None if self._overflow else unescape(bytes(self._open))
            if payload:
                frames.append(payload)
            self._open.clear()
            self._overflow = False
        self._extend(rest)
        return frames

    def _extend(self, piece: bytes) -> None:
        if self._overflow or len(self._open) + len(piece) > self._max:
            self._overflow = True
            self._open.clear()
        else:
            self._open += piece
