"""Bytes of a serial line made into lines of text, whatever garbage is among them. Pure."""

from __future__ import annotations

import codecs
import re

MAX_LINE_CHARS = 4096
"""A line longer than this is noise (a wrong baud rate sends no line ends) and is cut here."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean(text: str) -> str:
    """Remove ANSI escapes and control characters other than tab, and trailing space."""
    return (_ESCAPES.sub("", text) if _CONTROL.search(text) else text).rstrip()


class LineSplitter:
    """Makes lines of bytes that come in any pieces, with CR LF, LF or CR, garbage included.

    A lone CR ends a line too: progress such as ``\\r Flashing... 40%`` has no other end. Blank
    lines are dropped. Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""

    @property
    def rest(self) -> str:
        """The line that has not ended yet, cleaned."""
        return clean(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Take bytes; returns the lines that they end."""
        text = self._rest + self._decode(data)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        *ended, self._rest = text.split("\n")
        while len(self._rest) > MAX_LINE_CHARS:
            ended.append(self._rest[:MAX_LINE_CHARS])
            self._rest = self._rest[MAX_LINE_CHARS:]
        return [line for whole in ended for part in _cut(whole) if (line := clean(part))]

    def flush(self) -> list[str]:
        """End the line that is under way, as when the board lost power in the middle of it."""
        self._rest += self._decode(b"", final=True)
        return self.feed(b"\n")


def _cut(line: str) -> list[str]:
    """A line in pieces that are not too long; where it is cut does not depend on how it came."""
    if len(line) <= MAX_LINE_CHARS:
        return [line]
    return [line[at : at + MAX_LINE_CHARS] for at in range(0, len(line), MAX_LINE_CHARS)]
