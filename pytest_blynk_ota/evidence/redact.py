"""Redaction: secrets never reach the disk, because they are replaced as events are written.

Two nets: values that the rig knows, in each form in which they may travel, and patterns of what
looks like a secret. What this holds and what not: ``docs/explanation/redaction.md``.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from os.path import commonprefix
from typing import Any
from urllib.parse import quote, quote_plus

MIN_SECRET_CHARS = 4
"""A shorter known value would black out ordinary words."""

MAX_REMEMBERED, MAX_REMEMBERED_CHARS = 4096, 40
"""Short strings come again and again (keys, words, names): so many are redacted only once."""

_MARK = r"(?!\s|\[(?:[^\]\n]* [^\]\n]*|passphrase|password|cookie)\])"
"""Not a mark already: redacting twice changes nothing."""

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(f"(?i)({before}){_MARK}({value})"))
    for name, before, value in (
        # A Blynk OTA URL carries its download token as a query value (blynk documentation: 1 day).
        # The same inside another URL, where = is %3D.
        ("url token", r"(?:\b|%3F|%26)token(?:=|%3D)", r"(?:(?!%26)[^&\s\"'<>\\])+"),
        (
            "authorization header",
            r"\bauthorization[\\\"']*\s*[:=]\s*[\\\"']*",
            r"(?:(?:basic|bearer|digest|token)\s+)?[^\s\"',;\\]+",
        ),
        ("bearer token", r"\bbearer\s+", r"[\w+/=.~-]{16,}"),
        ("cookie", r"\b(?:set-)?cookie[\\\"']*:\s*[\\\"']*", r"[^\r\n\"'\\]+"),
        # Both Edgent generations echo these console commands (blynk-library, Edgent-Arduino).
        ("console token", r"\bconnect ", r"[A-Za-z0-9_-]{32}\b"),
        ("passphrase", r"(?:\b|%3F|%26)pass(?:phrase)?(?:=|%3D)", r"(?:(?!%26)[^&\s\"<>\\])+"),
        ("password", r"(?:\b|%3F|%26)(?:password|pwd|psk)(?:=|%3D)", r"(?:(?!%26)[^&\s\"<>\\])+"),
        ("password", r"://[^/\s:@]*:", r"[^/\s@]+(?=@)"),
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


def forms(value: str) -> set[str]:
    """Each form in which a secret may stand in evidence: as it is, URL-encoded, escaped as in JSON,
    Python and HTML, as hex, as base64 alone and inside a longer text (``user:password``)."""
    raw = value.encode("utf-8", "surrogateescape")
    quoted = {quote(raw, safe=safe) for safe in ("", "/", "!'()*")} | {quote_plus(raw)}
    quoted |= {quote(one, safe="") for one in quoted} | {"".join(f"%{byte:02X}" for byte in raw)}
    quoted |= {re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), one) for one in quoted}
    escaped = {json.dumps(value, ensure_ascii=flag)[1:-1] for flag in (True, False)}
    escaped |= {one.replace("/", "\\/") for one in escaped}
    escaped |= {json.dumps(one, ensure_ascii=False)[1:-1] for one in escaped}
    escaped |= {repr(value)[1:-1], ascii(value)[1:-1], repr(raw)[2:-1]}
    escaped |= {html.escape(value), html.escape(value, quote=False)}
    in_hex = {raw.hex(), raw.hex(" "), raw.hex(":")}
    in_hex |= {one.upper() for one in in_hex}
    found = {value} | quoted | escaped | in_hex | _base64_forms(raw)
    return {one for one in found if len(one) >= MIN_SECRET_CHARS}


def _base64_forms(raw: bytes) -> set[str]:
    """In both alphabets, at each of the three places where a group of three bytes may begin: the
    letters that hold nothing but the secret."""
    found = set()
    for before in range(3):
        letters = base64.b64encode(bytes(before) + raw).decode()
        begin, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        found.add(letters[begin:end])
    return found | {one.translate(str.maketrans("+/", "-_")) for one in found}


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
        net = self._net
        if len(text) > MAX_REMEMBERED_CHARS:
            return _without(text, net)
        done = net.remembered.get(text)
        if done is None:
            done = _without(text, net)
            if len(net.remembered) < MAX_REMEMBERED:
                net.remembered[text] = done
        return done

    def line(self, text: str) -> str:
        """The same for a line of a log that may have been cut in the middle of a secret: at its end
        the first half of one or more of it, at its begin the last half or more, are replaced."""
        return self._net.without_halves(self.text(text))

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
            return [self.clean(item) for item in value]
        return value

    def _field(self, key: Any, item: Any) -> Any:
        """A value beside its name, which may say that all of it is a secret."""
        clean = self.clean(item)
        if isinstance(clean, str) and clean and isinstance(key, str):
            name = KEYS.get(key.lower())
            if name is not None and not _IS_MARK.fullmatch(clean):
                return f"[{name}]"
        return clean


_IS_MARK = re.compile(r"\[[^\]\n]*\]")


class _Net:
    """The known secrets, made ready to be searched for in one go. Never changes."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.remembered: dict[str, str] = {}
        self._marks = {
            form: f"[{name}]"
            for value, name in names.items()
            for form in (*(forms(value) - names.keys()), value)
        }
        marks = sorted(set(self._marks.values()), key=len, reverse=True)
        self._marks |= {mark: mark for mark in marks}  # found first, and stay
        self._known = _any_of(self._marks)
        as_bytes = {_latin(form): len(form) for form in self._marks if form not in marks}
        self._bytes = re.compile(alternation(as_bytes).encode("latin-1")) if as_bytes else None
        self._heads = _any_of({value[: _half(value)] for value in names})
        self._tails = _any_of({value[-_half(value) :] for value in names})

    def without(self, text: str) -> str:
        if self._known is None:
            return text
        return self._known.sub(lambda found: self._marks[found[0]], text)

    def masked(self, data: bytes) -> bytes:
        if self._bytes is None:
            return data
        return self._bytes.sub(lambda found: b"x" * len(found[0]), data)

    def without_halves(self, text: str) -> str:
        for found in _each(self._heads, text):
            value = self._cut(text[found.start() :], str.startswith)
            if value is not None:
                text = text[: found.start()] + self._marks[value]
                break
        for found in _each(self._tails, text):
            value = self._cut(text[: found.end()], str.endswith)
            if value is not None:
                return self._marks[value] + text[found.end() :]
        return text

    def _cut(self, part: str, side: Callable[[str, str], bool]) -> str | None:
        """The secret that this is half of, or more."""
        return next(
            (one for one in self.names if side(one, part) and len(part) >= _half(one)), None
        )


def _half(value: str) -> int:
    return max(MIN_SECRET_CHARS, -(-len(value) // 2))


def _any_of(values: Iterable[str]) -> re.Pattern[str] | None:
    expression = alternation(values)
    return re.compile(expression) if expression else None


def _each(pattern: re.Pattern[str] | None, text: str) -> Iterator[re.Match[str]]:
    """Each place where it matches, overlapping ones too."""
    found = pattern.search(text) if pattern else None
    while pattern and found:
        yield found
        found = pattern.search(text, found.start() + 1)


def _latin(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _without(text: str, net: _Net) -> str:
    text = net.without(text)
    if "=" in text or ":" in text or " " in text or "%" in text:  # each pattern needs one of them
        for name, pattern in PATTERNS:
            text = pattern.sub(partial(_marked, name), text)
    return text


def _marked(name: str, found: re.Match[str]) -> str:
    """What stood before it stays; the rest becomes the mark."""
    return f"{found[1]}[{name}]"
