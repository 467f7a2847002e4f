"""Pieces of a secret: what the end of a line, an ellipsis or an encoding left of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

PIECE_CHARS = 6
"""So many letters of a secret in a row are not left standing where it was cut or encoded."""
QUAD_CHARS, STEP = 4, 3
"""Four letters at each third place: six letters of a secret in a row hold such four."""
NEAR_LINES = 3
"""The rest of what was torn stands so near."""

Hit = tuple[int, int, str]
"""Where something of a secret begins and ends, and the mark for it."""

_PLAIN = re.compile("[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
"""A word or a number, which may stand in any text."""
_ELLIPSIS = re.compile(r"\.{3}|…")
_BEHIND = " \t\r\"',+\\|=)]"
"""What may stand between a piece and the end of its line."""
_MARGIN = re.compile(r"[ \t]*(?:(?:E|>|\|)[ \t]+)?(?P<diff>[-+] )?[ \t(\[]*[rbuf]{0,2}[\"']?")
"""What pytest and pprint write before a piece."""


class Pieces:
    """The pieces that a text may hold of known secrets.

    Args:
        known: secrets, with the mark for each.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known
        self._heads: dict[str, list[str]] = {}
        self._tails: dict[str, list[str]] = {}
        self._grams: dict[str, str] = {}
        for secret, mark in known.items():
            for size in range(QUAD_CHARS, len(secret)):
                self._heads.setdefault(secret[:size], []).append(secret)
                self._tails.setdefault(secret[-size:], []).append(secret)
            for at in range(len(secret) - PIECE_CHARS + 1):
                self._grams.setdefault(secret[at : at + PIECE_CHARS], mark)
        quads = (one[at : at + QUAD_CHARS] for one in known for at in range(len(one) - 3))
        self._quads = frozenset(quads)
        self._longest = max(map(len, known), default=0)

    def anywhere(self, text: str) -> Iterator[Hit]:
        """Each six letters of a secret in a row. For texts that hold no ordinary words."""
        quads, grams = self._quads, self._grams
        for at in [
            at
            for at in range(0, len(text) - QUAD_CHARS + 1, STEP)
            if text[at : at + QUAD_CHARS] in quads
        ]:
            for begin in range(max(0, at + QUAD_CHARS - PIECE_CHARS), at + 1):
                mark = grams.get(text[begin : begin + PIECE_CHARS])
                if mark is not None:
                    yield begin, begin + PIECE_CHARS, mark

    def at_cuts(self, text: str, *, torn: bool) -> Iterator[Hit]:
        """What is left of secrets where the text was cut: at an ellipsis, and at the ends of its
        lines.

        Args:
            torn: where the text begins and where it ends is a cut, too.
        """
        for found in _ELLIPSIS.finditer(text) if "..." in text or "…" in text else ():
            yield from self._beside(text, *found.span())
        if not torn and "\n" not in text:
            return
        at = 0
        for line in text.split("\n"):
            end = at + len(line)
            margin = _MARGIN.match(text, at, end)
            assert margin is not None  # it may be empty
            if at > 0:
                yield from self._after_margin(text, margin)
            if margin["diff"]:
                yield from self._in_diff(text, margin.end("diff"), end)
            elif torn:
                yield from self._halves(self._beginning(text, 0), begin=0)
            if end < len(text):
                yield from self._before_end(text, end, margin)
                yield from self._over_lines(text, at, end)
            elif torn:
                yield from self._halves(self._ending(text, end), end=end)
            at = end + 1

    def _beside(self, text: str, begin: int, end: int) -> Iterator[Hit]:
        """Around an ellipsis: six letters on one side, or four of the same secret on both."""
        heads, tails = self._ending(text, begin), self._beginning(text, end)
        both = {secret for _, secret in heads} & {secret for _, secret in tails}
        for size, secret in heads:
            if secret in both or _counts(secret[:size], secret):
                yield begin - size, begin, self._known[secret]
        for size, secret in tails:
            if secret in both or _counts(secret[-size:], secret):
                yield end, end + size, self._known[secret]

    def _halves(
        self, pieces: Sequence[tuple[int, str]], *, begin: int | None = None, end: int = 0
    ) -> Iterator[Hit]:
        """Half of a secret or more, from ``begin`` on or up to ``end``."""
        for size, secret in pieces:
            if size >= _half(secret):
                first = end - size if begin is None else begin
                yield first, first + size, self._known[secret]

    def _before_end(self, text: str, end: int, margin: re.Match[str]) -> Iterator[Hit]:
        """Half of a secret or more, and no word; in a diff, which leaves out what is alike, six
        letters."""
        for at in {end, _end_of_words(text, margin.start(), end)}:
            for size, secret in self._ending(text, at):
                if _is_torn(secret[:size], secret, margin):
                    yield at - size, at, self._known[secret]

    def _after_margin(self, text: str, margin: re.Match[str]) -> Iterator[Hit]:
        for at in {margin.start(), margin.end(), max(margin.start(), margin.end("diff"))}:
            for size, secret in self._beginning(text, at):
                if _is_torn(secret[-size:], secret, margin):
                    yield at, at + size, self._known[secret]

    def _in_diff(self, text: str, at: int, end: int) -> Iterator[Hit]:
        """Of a line of a diff both ends may be left out."""
        piece = text[at:end].strip()
        mark = self._grams.get(piece[:PIECE_CHARS])
        if mark and any(piece in one and _counts(piece, one) for one in self._known):
            yield at, end, mark

    def _over_lines(self, text: str, line: int, end: int) -> Iterator[Hit]:
        """A whole secret that is wrapped: its begin at the end of a line, the rest soon after."""
        for at in {end, _end_of_words(text, line, end)}:
            for size, secret in [*self._ending(text, at), *self._few(text, at, end + 1)]:
                rest = self._rest(text, secret[size:], end + 1)
                for begin, stop in [(at - size, at), *rest] if rest else ():
                    yield begin, stop, self._known[secret]

    def _few(self, text: str, at: int, line: int) -> Iterator[tuple[int, str]]:
        """The secrets of which fewer letters end here, and the next ones begin the next line."""
        begin = _margin_end(text, line, _end_of_line(text, line))
        if text[begin : begin + QUAD_CHARS] in self._quads:
            for secret in self._known:
                for size in range(1, QUAD_CHARS):
                    rest = secret[size : size + QUAD_CHARS]
                    if text.startswith(rest, begin) and text.endswith(secret[:size], 0, at):
                        yield size, secret

    def _rest(self, text: str, rest: str, at: int) -> list[tuple[int, int]]:
        """Where the rest of a secret stands from a line on: whole, or wrapped again."""
        wanted = rest.lstrip(" ") or rest  # a space is lost where a text is wrapped
        for _ in range(NEAR_LINES):
            end = _end_of_line(text, at)
            found = text.find(wanted, at, end)
            if found >= 0 and (len(wanted) >= QUAD_CHARS or found <= _margin_end(text, at, end)):
                return [(found, found + len(wanted))]
            for stop in {end, _end_of_words(text, at, end)}:
                for size in range(min(len(wanted) - 1, stop - at), QUAD_CHARS - 1, -1):
                    if text.startswith(wanted[:size], stop - size):
                        rows = self._rest(text, wanted[size:], end + 1)
                        if rows:
                            return [(stop - size, stop), *rows]
            at = end + 1
        return []

    def _ending(self, text: str, at: int) -> list[tuple[int, str]]:
        """The secrets whose first letters end here, with how many they are."""
        if text[max(0, at - QUAD_CHARS) : at] not in self._quads:
            return []
        sizes = range(min(self._longest, at), QUAD_CHARS - 1, -1)
        return [(size, one) for size in sizes for one in self._heads.get(text[at - size : at], ())]

    def _beginning(self, text: str, at: int) -> list[tuple[int, str]]:
        """The secrets whose last letters begin here, with how many they are."""
        if text[at : at + QUAD_CHARS] not in self._quads:
            return []
        sizes = range(min(self._longest, len(text) - at), QUAD_CHARS - 1, -1)
        return [(size, one) for size in sizes for one in self._tails.get(text[at : at + size], ())]


def _half(secret: str) -> int:
    return max(QUAD_CHARS, -(-len(secret) // 2))


def _is_torn(piece: str, secret: str, margin: re.Match[str]) -> bool:
    """Whether what stands at the end of a line within a text is of a secret."""
    if margin["diff"]:
        return _counts(piece, secret)
    return len(piece) >= _half(secret) and _PLAIN.fullmatch(piece) is None


def _counts(piece: str, secret: str) -> bool:
    """Whether so little is a secret's, and no word that any text may hold."""
    return len(piece) >= PIECE_CHARS and (
        _PLAIN.fullmatch(piece) is None or len(piece) >= _half(secret)
    )


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _end_of_words(text: str, line: int, end: int) -> int:
    """The end of a line without what is written behind a piece of it."""
    return line + len(text[line:end].rstrip(_BEHIND))


def _margin_end(text: str, at: int, end: int) -> int:
    margin = _MARGIN.match(text, at, end)
    return margin.end() if margin else at
