"""Pieces of a secret: what the end of a line, an ellipsis or an encoding left of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

PIECE_CHARS = 6
"""So many letters of a secret in a row are not left standing where it was cut or encoded."""
QUAD_CHARS = 4
"""By so many letters it is looked whether there may be more."""
LONG_CHARS = 24
"""Half of so long a secret is no word, wherever it stands."""
NEAR_LINES = 3
"""The rest of what was torn stands so near."""

Hit = tuple[int, int, str]
"""Where something of a secret begins and ends, and the mark for it."""

_PLAIN = re.compile("[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_BESIDE_WORDS = " \t-_.,:;/'\"=+&?!()[]"
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
        self._quads = _by_quads(known)
        self._long = _by_quads([one for one in known if len(one) >= LONG_CHARS])

    def in_code(self, text: str) -> Iterator[Hit]:
        """Each six letters of a secret in a row. For texts that hold few ordinary words."""
        for begin, end, secret in _shared(text, self._quads, PIECE_CHARS):
            if _counts(text[begin:end], secret) and not is_counting(text[begin:end]):
                yield begin, end, self._known[secret]

    def halves(self, text: str) -> Iterator[Hit]:
        """Half of a long secret or more, wherever it stands."""
        for begin, end, secret in _shared(text, self._long, LONG_CHARS // 2):
            if end - begin >= _half(secret):
                yield begin, end, self._known[secret]

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
        for secret, _ in self._quads.get(piece[:QUAD_CHARS], ()):
            if piece in secret and _counts(piece, secret):
                yield at, end, self._known[secret]

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
        return [
            (size, secret)
            for secret, place in self._quads.get(text[max(0, at - QUAD_CHARS) : at], ())
            if (size := place + QUAD_CHARS) < len(secret)
            and text.startswith(secret[:size], at - size)
            and at >= size
        ]

    def _beginning(self, text: str, at: int) -> list[tuple[int, str]]:
        """The secrets whose last letters begin here, with how many they are."""
        return [
            (len(secret) - place, secret)
            for secret, place in self._quads.get(text[at : at + QUAD_CHARS], ())
            if place > 0 and text.startswith(secret[place:], at)
        ]


def _by_quads(secrets: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """Each four letters in a row, with the secrets that they stand in and where."""
    found: dict[str, list[tuple[str, int]]] = {}
    for secret in secrets:
        for at in range(len(secret) - QUAD_CHARS + 1):
            found.setdefault(secret[at : at + QUAD_CHARS], []).append((secret, at))
    return found


def _shared(
    text: str, quads: Mapping[str, Sequence[tuple[str, int]]], least: int
) -> Iterator[tuple[int, int, str]]:
    """The parts of a text that are parts of a secret, too, of so many letters at least."""
    step = least - QUAD_CHARS + 1  # so many letters hold the four of one of these places
    places = range(0, len(text) - QUAD_CHARS + 1, step)
    done = 0
    for at in [at for at in places if text[at : at + QUAD_CHARS] in quads]:
        for secret, place in quads[text[at : at + QUAD_CHARS]] if at >= done else ():
            begin, end = _alike(text, at, secret, place)
            if end - begin >= least:
                done = max(done, end)
                yield begin, end, secret


def _alike(text: str, at: int, secret: str, place: int) -> tuple[int, int]:
    """The part of a text around a place that is as the secret is around its own."""
    begin, first = at, place
    while begin > 0 and first > 0 and text[begin - 1] == secret[first - 1]:
        begin, first = begin - 1, first - 1
    while at < len(text) and place < len(secret) and text[at] == secret[place]:
        at, place = at + 1, place + 1
    return begin, at


def is_plain(text: str) -> bool:
    """Whether it is a word or a number, as it may stand in any text."""
    return _PLAIN.fullmatch(text.strip(_BESIDE_WORDS)) is not None


def is_counting(text: str) -> bool:
    """Whether its letters are as far from each other as those of 1234, aceg or 0000."""
    return len({ord(b) - ord(a) for a, b in pairwise(text)}) <= 1


def goes_on_counting(text: str, begin: int, end: int) -> bool:
    """Whether letters like those of 1234 are only a part of what counts there."""
    return is_counting(text[begin:end]) and (
        (begin > 0 and is_counting(text[begin - 1 : end]))
        or (end < len(text) and is_counting(text[begin : end + 1]))
    )


def _half(secret: str) -> int:
    return max(QUAD_CHARS, -(-len(secret) // 2))


def _is_torn(piece: str, secret: str, margin: re.Match[str]) -> bool:
    """Whether what stands at the end of a line within a text is of a secret."""
    if margin["diff"]:
        return _counts(piece, secret)
    return len(piece) >= _half(secret) and not is_plain(piece)


def _counts(piece: str, secret: str) -> bool:
    """Whether so little is a secret's, and no word that any text may hold."""
    return len(piece) >= PIECE_CHARS and (not is_plain(piece) or len(piece) >= _half(secret))


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _end_of_words(text: str, line: int, end: int) -> int:
    """The end of a line without what is written behind a piece of it."""
    return line + len(text[line:end].rstrip(_BEHIND))


def _margin_end(text: str, at: int, end: int) -> int:
    margin = _MARGIN.match(text, at, end)
    return margin.end() if margin else at
