"""Redaction: secrets never reach the disk, because they are replaced as events are written.

Two nets: values that the rig knows, in each form in which they may travel, and patterns of what
looks like a secret. What this holds and what not: ``docs/explanation/redaction.md``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, groupby, islice
from os.path import commonprefix
from typing import Any

from pytest_blynk_ota.evidence.pieces import Hit, Pieces, goes_on_counting, is_plain
from pytest_blynk_ota.evidence.views import MAX_LAYERS, View, views

MIN_SECRET_CHARS = 4
"""A shorter known value would black out ordinary words."""

MAX_REMEMBERED, MAX_REMEMBERED_CHARS = 4096, 200
"""Short strings come again and again (keys, words, the lines of a boot): so many are redacted only
once."""

MEMORY_LAYERS = 2
"""A memory is large, and little in it is text."""

SEAL = "\U0010ffff"
"""Stands for a mark while a text is searched; no letter."""
_SEAL = re.compile(SEAL)


def _value(*letters: str) -> str:
    """A value of such letters, or in brackets: a mark, or what begins like one."""
    excluded = "".join(letters)
    return rf"(?:\[[^\[\]\r\n\"<>]*\]|[^{excluded}])++"


_IN_QUERY = r"(?:\[[^\[\]\r\n\"<>]*\]|(?!%26)[^&\s\"<>\\])++"

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(f"(?i)({before})(?!\\s)({value})"))
    for name, before, value in (
        # A Blynk OTA URL carries its download token as a query value (blynk documentation: 1 day).
        # The same inside another URL, where = is %3D.
        ("url token", r"(?:\b|%3F|%26)token(?:=|%3D)", _IN_QUERY.replace("&", "&'")),
        (
            "authorization header",
            r"\bauthorization[\\\"']*\s*[:=]\s*[\\\"']*",
            r"(?:(?:basic|bearer|digest|token)\s+)?" + _value(r"\s\"',;\\"),
        ),
        ("bearer token", r"\bbearer\s+", r"[\w+/=.~-]{16,}"),
        ("cookie", r"\b(?:set-)?cookie[\\\"']*:\s*[\\\"']*", r"[^\r\n\"'\\]+"),
        # Both Edgent generations echo these console commands (blynk-library, Edgent-Arduino).
        ("console token", r"\bconnect ", r"[A-Za-z0-9_-]{32}\b"),
        ("passphrase", r"(?:\b|%3F|%26)pass(?:phrase)?(?:=|%3D)", _IN_QUERY),
        ("password", r"(?:\b|%3F|%26)(?:password|pwd|psk)(?:=|%3D)", _IN_QUERY),
        ("password", r"://[^/\s:@]*:", r"(?:\[[^\[\]\r\n@/]*\]|[^/\s@])++(?=@)"),
        ("password", r"\bpass(?:word|phrase)\\*[\"']\s*:\s*\\*[\"']", r"[^\"'\\]+"),
    )
)

KEYS: Mapping[str, str] = {
    "authorization": "authorization header",
    "proxy-authorization": "authorization header",
    "cookie": "cookie",
    "set-cookie": "cookie",
    "x-api-key": "authorization header",
    "passphrase": "passphrase",
    "password": "password",
}
"""Fields and headers whose whole value is a secret, in lower case, with the name of its mark."""

FIXED_MARKS = frozenset(f"[{name}]" for name in (*KEYS.values(), *(name for name, _ in PATTERNS)))


def spellings(value: str) -> set[str]:
    """The letters that one value may be written in: composed or not, its UTF-8 read as another
    code, once or twice, with what a code lacks replaced; in capitals or none; with plus signs for
    spaces, and as a part of a file's name."""
    found = {value}
    if not value.isascii():
        found |= {unicodedata.normalize(form, value) for form in ("NFC", "NFD", "NFKC", "NFKD")}
        wide = [one.encode(code, "surrogatepass") for one in found for code in WIDE]
        for _ in range(2):
            found |= {_bytes(one).decode(code, "replace") for one in found for code in CODES}
        found |= {one.decode("latin-1") for one in wide}
        found |= {value.encode(code, "replace").decode("utf-8", "replace") for code in CODES}
    found |= {one.replace(" ", other) for one in found for other in ("+", "\xa0")}
    found.add(re.sub(r"\W", "_", value))
    if not is_plain(value):
        found |= {value.upper(), value.lower()}
    return {one for one in found if one == value or _is_telling(one)}


CODES, WIDE = ("latin-1", "cp1252", "ascii"), ("utf-16-le", "utf-16-be")
_LOST = re.compile("[?_\ufffd]")


def _is_telling(spelling: str) -> bool:
    """Of a wrong code too little may be left to be told from other garbage."""
    return len(_LOST.sub("", spelling)) >= max(MIN_SECRET_CHARS, len(spelling) // 2)


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a pair of UTF-16
        return text.encode("utf-8", "surrogatepass")


def alternation(values: Iterable[str]) -> str:
    """A regular expression for any of these texts, the longest first. What begins alike is looked
    at once, so that its cost hardly grows with their number."""
    branches = []
    for _, group in groupby(sorted(values), key=lambda value: value[0]):
        alike = list(group)
        prefix = commonprefix(alike)  # noqa: RUF071 (of letters, not of folders)
        rests = [value[len(prefix) :] for value in alike]
        longer = alternation({rest for rest in rests if rest})
        optional = "?" if "" in rests else ""
        branches.append(re.escape(prefix) + (f"(?:{longer}){optional}" if longer else ""))
    return "|".join(branches)


class Redactor:
    """Replaces known secret values, and what looks like one, by a named mark."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._made: _Net | None = None

    def learn(self, value: str, name: str) -> None:
        """From now on ``value`` is written as ``[name]``; very short values are refused.

        Raises:
            ValueError: the value has fewer than four characters.
        """
        if len(value) < MIN_SECRET_CHARS:
            raise ValueError(
                f"the secret {name!r} has {len(value)} characters, at least "
                f"{MIN_SECRET_CHARS} are needed to redact it safely"
            )
        if self._names.get(value) != name:
            self._names = {**self._names, value: name}
            self._made = None

    @property
    def _net(self) -> _Net:
        """Made when it is first needed after the last secret was learnt."""
        net, names = self._made, self._names
        if net is None or net.names is not names:
            net = self._made = _Net(names)
        return net

    def text(self, text: str) -> str:
        """The text with each secret replaced; longer known values first."""
        return self._once(text, torn=False)

    def _once(self, text: str, *, torn: bool) -> str:
        net = self._net
        if len(text) > MAX_REMEMBERED_CHARS:
            return _without(text, net, torn=torn)
        remembered = net.remembered[torn]
        done = remembered.get(text)
        if done is None:
            done = _without(text, net, torn=torn)
            if len(remembered) < MAX_REMEMBERED:
                remembered[text] = done
        return done

    def line(self, text: str) -> str:
        """The same for a line of a log that may have been cut in the middle of a secret: at its end
        the first half of one or more of it, at its begin the last half or more, are replaced."""
        return self._once(text, torn=True)

    def masked(self, data: bytes) -> bytes:
        """The same for bytes that must keep their length, such as a board's memory: each letter of
        a known secret becomes an x. What only looks like a secret stays."""
        return self._net.masked(data)

    def clean(self, value: Any) -> Any:
        """The same for anything made of JSON values, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._field(key, item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            if len(value) == 2 and isinstance(value[0], str):  # a header as a pair
                return [self.text(value[0]), self._field(value[0], value[1])]
            if value and all(type(item) is int for item in value):
                return self._numbers(value)
            return [self.clean(item) for item in value]
        if type(value) is int and str(value) in self._net.names:
            return self.text(str(value))
        return value

    def _numbers(self, numbers: Sequence[int]) -> list[Any]:
        """A list of numbers, which may be the letters of a secret."""
        shown = str(list(numbers))
        clean = self.text(shown)
        return list(numbers) if clean == shown else [clean]

    def _field(self, key: Any, item: Any) -> Any:
        """A value beside its name, which may say that all of it is a secret."""
        clean = self.clean(item)
        if isinstance(clean, str) and clean and isinstance(key, str):
            name = KEYS.get(key.lower())
            if name is not None and clean not in self._net.marks:
                return f"[{name}]"
        return clean


class _Net:
    """The known secrets, made ready to be searched for in one go. Never changes."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.remembered: tuple[dict[str, str], dict[str, str]] = ({}, {})
        """Texts that were redacted: whole ones, and those that may be torn."""
        known = {one: f"[{name}]" for value, name in names.items() for one in spellings(value)}
        known |= {value: f"[{name}]" for value, name in names.items()}
        self.marks = FIXED_MARKS | set(known.values())
        self._known = known
        self._pattern = _any_of(known)
        self._pieces = Pieces(known)
        kept = {one: mark for one, mark in known.items() if "[" in one or SEAL in one}
        self._sealed = kept | {mark: mark for mark in self.marks} | {SEAL: SEAL}
        self._seals = re.compile(alternation(self._sealed))

    def without(self, text: str, *, torn: bool = False) -> str:
        """The text with each secret replaced.

        Args:
            torn: it may begin or end in the midst of a secret.
        """
        if self._pattern is None:
            return text
        marks: list[str] = []
        if "[" in text or SEAL in text:  # what is a mark already stays one
            text = self._seals.sub(lambda found: _sealed(marks, self._sealed[found[0]]), text)
        while hits := self._hits(text, torn=torn):
            text, marks = _replaced(text, marks, hits)
        left = iter(marks)
        return _SEAL.sub(lambda _: next(left), text) if marks else text

    def masked(self, data: bytes) -> bytes:
        """The bytes with an x for each that holds something of a secret."""
        text = data.decode("latin-1")
        found = bytearray(data)
        for begin, end, _ in self._hits(text, layers=MEMORY_LAYERS, is_memory=True):
            found[begin:end] = b"x" * (end - begin)
        return bytes(found)

    def _hits(
        self, text: str, *, torn: bool = False, layers: int = MAX_LAYERS, is_memory: bool = False
    ) -> list[Hit]:
        """What stands in the text of any secret, in any view of it."""
        hits: list[Hit] = []
        for view in views(text, layers):
            found = self._whole(view)
            if view.is_code:
                found = chain(found, self._pieces.in_code(view.text))
            elif not is_memory:
                found = chain(
                    found,
                    self._pieces.halves(view.text),
                    self._pieces.at_cuts(view.text, torn=torn),
                )
            hits += [(*view.span(begin, end), mark) for begin, end, mark in found]
        return hits

    def _whole(self, view: View) -> Iterator[Hit]:
        for found in _each(self._pattern, view.text):
            if not (view.is_code and goes_on_counting(view.text, *found.span())):
                yield *found.span(), self._known[found[0]]


def _sealed(marks: list[str], mark: str) -> str:
    marks.append(mark)
    return SEAL


def _replaced(text: str, marks: Sequence[str], hits: Sequence[Hit]) -> tuple[str, list[str]]:
    """The text with a seal for each group of hits that overlap, and the marks of all seals. Of the
    names of a group that of the longest hit is taken."""
    parts: list[str] = []
    after: list[str] = []
    kept = iter(marks)
    at = 0
    for begin, end, mark in _joined(hits):
        parts += [text[at:begin], SEAL]
        after += [*islice(kept, text.count(SEAL, at, begin)), mark]
        next(islice(kept, *[text.count(SEAL, begin, end)] * 2), None)  # gone with the rest
        at = end
    return "".join([*parts, text[at:]]), [*after, *kept]


def _joined(hits: Sequence[Hit]) -> list[Hit]:
    joined: list[Hit] = []
    longest = 0
    for begin, end, mark in sorted(hits):
        if joined and begin < joined[-1][1]:
            first, last, name = joined.pop()
            better = end - begin > longest
            joined.append((first, max(last, end), mark if better else name))
            longest = max(longest, end - begin)
        else:
            joined.append((begin, end, mark))
            longest = end - begin
    return joined


def _any_of(values: Iterable[str]) -> re.Pattern[str] | None:
    expression = alternation(values)
    return re.compile(expression) if expression else None


def _each(pattern: re.Pattern[str] | None, text: str) -> Iterator[re.Match[str]]:
    """Each place where it matches, overlapping ones too."""
    found = pattern.search(text) if pattern else None
    while pattern and found:
        yield found
        found = pattern.search(text, found.start() + 1)


def _without(text: str, net: _Net, *, torn: bool = False) -> str:
    text = net.without(text, torn=torn)
    if "=" in text or ":" in text or " " in text or "%" in text:  # each pattern needs one of them
        for name, pattern in PATTERNS:
            text = pattern.sub(partial(_marked, name, net.marks), text)
    return text


def _marked(name: str, marks: Collection[str], found: re.Match[str]) -> str:
    """What stood before it stays; the rest becomes the mark, unless all of it is one already."""
    return found[0] if found[2] in marks else f"{found[1]}[{name}]"
