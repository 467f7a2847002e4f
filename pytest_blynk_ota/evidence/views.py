"""Views of a text: what is left when an encoding is taken off, and where it stood. Pure.

Each decoder takes one layer of one encoding off, wherever in the text it stands. Layers are taken
off one after the other, in every order. Most views mean nothing; nothing is found in them.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain

MAX_LAYERS = 6
"""Encodings on top of each other that are taken off."""
MAX_WORK, MIN_WORK_CHARS = 60, 50_000
"""All views of a text have at most so many times its letters, or so many. What programs write has
a tenth of it; a text may be made to have any number."""

Spans = tuple[Sequence[int], Sequence[int]]
"""Where each letter begins, and where it ends, in the text that a view was made of."""
Made = tuple[str, Callable[[], Spans]]
Decoder = Callable[[str], Iterator[Made]]


class View:
    """What a text, or a part of it, stands for.

    Args:
        text: the letters.
        of: the view that it was made of; None for the text itself.
        is_code: it was made of numbers, hex or base64, so that next to no words are in it.
        spans: says where each letter stood.
    """

    def __init__(
        self,
        text: str,
        of: View | None = None,
        is_code: bool = False,
        spans: Callable[[], Spans] = lambda: ((), ()),
    ) -> None:
        self.text = text
        self.is_code = is_code
        self._of = of
        self._make = spans

    @cached_property
    def _spans(self) -> Spans:
        return self._make()  # not before something was found: it costs more than the letters

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Where these letters stand in the text itself."""
        if self._of is None:
            return begin, end
        begins, ends = self._spans
        return self._of.span(begins[begin], ends[end - 1])


def views(text: str, layers: int = MAX_LAYERS) -> Iterator[View]:
    """The text, and each view of it that differs, with so many encodings taken off."""
    layer = [View(text)]
    seen = {text}
    left = max(MIN_WORK_CHARS, MAX_WORK * len(text))
    yield layer[0]
    for _ in range(layers):
        below: list[View] = []
        for view in layer:
            if view.is_code and _ENCODED.search(view.text) is None:
                continue
            for decode, is_code in DECODERS:
                for plain, spans in decode(view.text):
                    left -= len(plain)
                    if left > 0 and plain not in seen:
                        seen.add(plain)
                        below.append(View(plain, view, is_code or view.is_code, spans))
                        yield below[-1]
        layer = below


_ENCODED = re.compile(r"[\t-\r -~]{6}|%[0-9a-fA-Fu]|&[#a-zA-Z]|[\\\0\x1b]|['\"],")
"""What any decoder needs, and garbage seldom holds."""


def _escapes(
    hint: str, pattern: re.Pattern[str], letter: Callable[[re.Match[str]], str]
) -> Decoder:
    """A decoder of what stands among plain letters.

    Args:
        hint: letters of which one is in each escape.
        pattern: an escape.
        letter: what it stands for.
    """
    any_of = re.compile(f"[{re.escape(hint)}]")

    def decode(text: str) -> Iterator[Made]:
        if any_of.search(text) is None:
            return
        plain, count = pattern.subn(letter, text)
        if count:
            yield plain, partial(spans, text)

    def spans(text: str) -> Spans:
        begins: list[int] = []
        ends: list[int] = []
        at = 0
        for found in pattern.finditer(text):
            begin, end = found.span()
            size = len(letter(found))
            begins += chain(range(at, begin), [begin] * size)
            ends += chain(range(at + 1, begin + 1), [end] * size)
            at = end
        begins += range(at, len(text))
        ends += range(at + 1, len(text) + 1)
        return begins, ends

    return decode


def _of_code(digits: str, base: int = 16) -> str:
    number = int(digits, base)
    return chr(number) if number < 0x110000 else "\ufffd"


_PERCENT = re.compile(r"%(?:([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))")
_ENTITY = re.compile(r"&(?:#([0-9]{1,7});?|#[xX]([0-9a-fA-F]{1,6});?|[a-zA-Z][a-zA-Z0-9]{1,31};)")
_BACKSLASH = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|[xu]\{([0-9a-fA-F]{1,6})\}"
    r"|([0-7]{1,3})|([\s\S]))"
)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}


def _percent(found: re.Match[str]) -> str:
    return _of_code(found[1] or found[2])


def _entity(found: re.Match[str]) -> str:
    decimal, digits = found.groups()
    if decimal or digits:
        return _of_code(decimal, 10) if decimal else _of_code(digits)
    return html.unescape(found[0])


def _backslash(found: re.Match[str]) -> str:
    high, low, *digits, octal, other = found.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if octal:
        return _of_code(octal, 8)
    if other is None:
        return _of_code(next(filter(None, digits)))
    return _CONTROLS.get(other, other)


_QUOTES = re.compile(r"'\"'\"'|'\\''|''|\"\"|(['\"])(?:\s+|\s*\+\s*)\1")
"""A quote within quotes, as shells, tables and SQL write it; and texts put one behind the other."""


def _quote(found: re.Match[str]) -> str:
    return "" if found[1] else found[0][0]


_UNSEEN_LETTERS = "\0\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_UNSEEN = re.compile(
    f"\x1b\\[[0-9;?]*[A-Za-z]|(?<!\0)\0{{1,3}}(?!\0)|[{_UNSEEN_LETTERS.strip(chr(0))}]"
)
"""What no reader sees: colours, the rest of a letter in UTF-16 or UTF-32, letters without width."""


@dataclass(frozen=True, slots=True)
class _Packing:
    """How bytes are written in letters of a few bits each."""

    bits: int
    group: int
    """Letters that are whole bytes."""
    pad: str
    """Behind the last letters, so that they are a group."""
    unpack: Callable[[str], bytes]

    def decode(self, letters: str, stand: Callable[[], Spans]) -> Iterator[Made]:
        """Bytes that begin at the first letter, at the second, and so on: before what was encoded
        there may stand other letters."""
        padded = letters + self.pad
        for first in range(self.group):
            end = first + (len(padded) - first) // self.group * self.group
            plain = self.unpack(padded[first:end]).decode("latin-1")
            yield plain, partial(self._spans, stand, first, len(plain))

    def _spans(self, stand: Callable[[], Spans], first: int, size: int) -> Spans:
        """A letter that holds bits of two bytes belongs to both."""
        begins, ends = stand()
        last = len(begins) - 1
        return (
            [begins[min(last, first + at * 8 // self.bits)] for at in range(size)],
            [ends[min(last, first + -(-(at + 1) * 8 // self.bits) - 1)] for at in range(size)],
        )


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}")
"""Four bytes or more. So is any word of six letters."""
_BOTH_ALPHABETS = str.maketrans("-_", "+/")
_BASE32 = re.compile("[A-Z2-7]{10,}")
_HEX = re.compile(
    r"[0-9A-Fa-f]{2}(?:[^0-9A-Za-z]{0,3}(?:0?[xX]|[uU]\+?)?[0-9A-Fa-f]{2}){3,}[0-9A-Fa-f]?"
)
_HEX_LETTER = re.compile("(?:0[xX])?([0-9A-Fa-f])")
_BITS = re.compile(r"[01]{8}(?:[^0-9A-Za-z]{0,3}(?:0b)?[01]{8}){3,}[01]*")
_BIT = re.compile("(?:0b)?([01])")
_WORDS = [
    re.compile(f"(?<![0-9A-Fa-f])([0-9A-Fa-f]{{{letters}}})(?![0-9A-Fa-f:])")
    for letters in (4, 8, 16)
]
_NUMBERS = re.compile(r"(?:0[ob])?[0-9]{1,8}(?:[^0-9A-Za-z]{1,4}(?:0[ob])?[0-9]{1,8}){3,}")
_NUMBER = re.compile("(0o[0-7]+|0b[01]+|[0-9]+)")
_DUMP = re.compile(
    r"((?:\b(?:[0-9A-Fa-f]{2}){1,8} {1,3}){4,})\|?([^|\n]{1,16})(?:\||$)", re.MULTILINE
)
"""A line of a hex dump, with its bytes beside it as letters, and dots for what is none."""
_SPELLED = [
    (
        re.compile(r"[0-9A-Za-z](?:[\s,;:.|/-]{1,4}[0-9A-Za-z]\b){3,}"),
        re.compile(r"\b([0-9A-Za-z])\b"),
    ),
    (
        re.compile(r"(?:(['\"])(?:\\.|[^'\"\\]{1,4}|.)\1,?[\s+]{0,40}){4,}"),
        re.compile(r"['\"]\\?([^'\"\\]{1,4}|.)['\"],?[\s+]{0,40}"),
    ),
]

_IN_BASE64 = _Packing(
    6, 4, "AAA", lambda letters: binascii.a2b_base64(letters.translate(_BOTH_ALPHABETS))
)
_IN_BASE32 = _Packing(5, 8, "A" * 7, base64.b32decode)
_IN_HEX = _Packing(4, 2, "", bytes.fromhex)
_IN_BITS = _Packing(
    1, 8, "", lambda letters: int(letters or "0", 2).to_bytes(len(letters) // 8, "big")
)


def _joined(runs: re.Pattern[str], packing: _Packing) -> Decoder:
    """A decoder of all runs as one: what was wrapped at any length is whole again."""

    def stand(text: str) -> Spans:
        begins = list(chain.from_iterable(range(*run.span()) for run in runs.finditer(text)))
        return begins, [place + 1 for place in begins]

    def decode(text: str) -> Iterator[Made]:
        found = runs.findall(text)
        return packing.decode("".join(found), partial(stand, text)) if found else iter(())

    return decode


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of some runs of a text.

    Attributes:
        text: what holds them.
        runs: where the runs are.
        part: one of them, in its only group.
    """

    text: str
    runs: Sequence[tuple[int, int]]
    part: re.Pattern[str]

    def all(self) -> list[str]:
        return [one for run in self.runs for one in self.part.findall(self.text, *run)]

    def spans(self, letters: Callable[[str], int] = lambda part: 1) -> Spans:
        """Where the letters stand of which a part has so many."""
        begins: list[int] = []
        ends: list[int] = []
        for run in self.runs:
            for found in self.part.finditer(self.text, *run):
                begins += [found.start(1)] * letters(found[1])
                ends += [found.end(1)] * letters(found[1])
        return begins, ends


def _hex(text: str) -> Iterator[Made]:
    """As it stands; and as words of a memory dump, whose last byte is the first."""
    runs = [run.span() for run in _HEX.finditer(text)]
    if not runs:
        return
    letters = _Parts(text, runs, _HEX_LETTER)
    yield from _IN_HEX.decode("".join(letters.all()), letters.spans)
    for pattern in _WORDS:
        words = _Parts(text, runs, pattern)
        data = b"".join([bytes.fromhex(word)[::-1] for word in words.all()])
        yield data.decode("latin-1"), partial(words.spans, lambda word: len(word) // 2)


def _bits(text: str) -> Iterator[Made]:
    runs = [run.span() for run in _BITS.finditer(text)]
    if runs:
        bits = _Parts(text, runs, _BIT)
        yield from _IN_BITS.decode("".join(bits.all()), bits.spans)


def _numbers(text: str) -> Iterator[Made]:
    runs = [run.span() for run in _NUMBERS.finditer(text)]
    if runs:
        numbers = _Parts(text, runs, _NUMBER)
        yield "".join([_of_number(number) for number in numbers.all()]), numbers.spans


def _of_number(number: str) -> str:
    base = {"0o": 8, "0b": 2}.get(number[:2], 10)
    return _of_code(number[2:] if base != 10 else number, base)


def _columns(text: str) -> Iterator[Made]:
    """The letters beside the lines of a hex dump, one behind the other."""
    found = [one.span(2) for one in _DUMP.finditer(text) if _shown(one[1]).endswith(one[2])]
    if found:
        places = list(chain.from_iterable(range(*span) for span in found))
        plain = "".join([text[begin:end] for begin, end in found])
        yield plain, lambda: (places, [place + 1 for place in places])


def _shown(digits: str) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in bytes.fromhex(digits))


def _spelled(text: str) -> Iterator[Made]:
    """Letter by letter, with spaces between them or as a list."""
    for pattern, letter in _SPELLED:
        runs = [run.span() for run in pattern.finditer(text)]
        if runs:
            letters = _Parts(text, runs, letter)
            yield "".join(letters.all()), partial(letters.spans, len)


DECODERS: Sequence[tuple[Decoder, bool]] = (
    (_escapes("%", _PERCENT, _percent), False),
    (_escapes("\\", _BACKSLASH, _backslash), False),
    (_escapes("&", _ENTITY, _entity), False),
    (_escapes("'\"", _QUOTES, _quote), False),
    (_escapes(f"\x1b{_UNSEEN_LETTERS}", _UNSEEN, lambda found: ""), False),
    (_joined(_BASE64, _IN_BASE64), True),
    (_joined(_BASE32, _IN_BASE32), True),
    (_hex, True),
    (_bits, True),
    (_numbers, True),
    (_spelled, True),
    (_columns, True),
)
"""Each with whether it makes letters of what are no words."""
