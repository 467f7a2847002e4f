"""Redaction: secrets never reach the disk, because they are replaced as events are written."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MIN_SECRET_CHARS = 4
"""A shorter known value would black out ordinary words."""
MIN_BASE64_CHARS = 6
"""The middle of a value's Base64 that is shorter could be a part of any word."""
MAX_PASSES = 8

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # A Blynk OTA URL carries its download token as a query value (blynk documentation: 1 day).
    ("url token", re.compile(r"(?i)((?:[?&]|%3f|%26)token(?:=|%3d))([^&%\s\"'<>]+)")),
    (
        "authorization header",
        re.compile(
            r"(?i)(\b(?:proxy-)?authorization[\"']?[:=,] ?[\"']?)"
            r"([^\s\"']+(?: [^\s\"',]+)?)"
        ),
    ),
    (
        "cookie",
        re.compile(r"(?i)(\b(?:set-)?cookie[\"']?[:,] ?[\"']?[^=;\s\"']{1,64}=)([^;\s\"']+)"),
    ),
    # Both Edgent generations echo these console commands (blynk-library, Edgent-Arduino).
    ("console token", re.compile(r"(?i)(\bconnect )([A-Za-z0-9_-]{32})\b")),
    ("passphrase", re.compile(r"(?i)(\bpass=)([^&\s]+)")),
    ("password", re.compile(r"(?i)([\"']pass(?:word|phrase|wd)?[\"']: ?[\"'])([^\"']+)")),
    ("url password", re.compile(r"(://[^/\s:@]{1,64}:)([^@\s/]{1,256})(?=@)")),
)
"""What looks like a secret, known or not: what stands before it, which stays, and it."""

MARKS_AT_NEED = ("[secret]", "█")
"""Where a mark's name holds a secret itself; the last is too short to hold one."""


class Redactor:
    """Replaces known secret values, and what looks like one, by a named mark.

    A value is known in the forms that programs write it in: as it is, escaped for a URL or for
    JSON, and in Base64 wherever it begins in what was encoded (``Authorization: Basic``).
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._marks: dict[str, str] = {}
        self._known: re.Pattern[str] | None = None
        self._all_marks = self._marks_of(name for name, _ in PATTERNS)

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
        if self._names.get(value) == name:
            return
        names = {**self._names, value: name}
        forms = {form: known for secret, known in names.items() for form in forms_of(secret)}
        self._names = names
        self._all_marks = {}
        self._known = re.compile(_alternation(forms))
        self._marks = {form: self._mark(known) for form, known in forms.items()}
        self._all_marks = self._marks_of([*names.values(), *(name for name, _ in PATTERNS)])

    def text(self, text: str) -> str:
        """The text with each secret replaced; longer known values first."""
        for _ in range(MAX_PASSES):  # a mark may complete a value that holds one
            once = self._once(text)
            if once == text:
                break
            text = once
        return text

    def _once(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(self._replaced, text)
        for name, pattern in PATTERNS:
            text = pattern.sub(lambda found, name=name: self._marked(name, found), text)  # type: ignore[misc]  # mypy sees no default in a lambda
        return text

    def masked(self, data: bytes) -> bytes:
        """The same for bytes that must keep their length, such as a board's memory: each letter of
        a known secret becomes an x. What only looks like a secret stays."""
        for value in sorted(self._names, key=len, reverse=True):
            secret = value.encode()
            data = data.replace(secret, b"x" * len(secret))
        return data

    def clean(self, value: Any) -> Any:
        """The same for anything made of JSON values, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(item) for item in value]
        return value

    def _replaced(self, found: re.Match[str]) -> str:
        return self._marks[found[0]]

    def _marked(self, name: str, found: re.Match[str]) -> str:
        """What stands before a secret, and the mark for it; what is a mark already stays."""
        if found.string.startswith(tuple(self._all_marks.values()), found.start(2)):
            return found[0]
        return found[1] + self._all_marks[name]

    def _marks_of(self, names: Any) -> dict[str, str]:
        return {name: self._mark(name) for name in names}

    def _mark(self, name: str) -> str:
        """``[name]``, unless that would tell a secret."""
        tried = (f"[{name}]", *MARKS_AT_NEED)
        return next(
            mark for mark in tried if self._known is None or self._known.search(mark) is None
        )


def forms_of(value: str) -> set[str]:
    """The forms that a value is written in."""
    data = value.encode("utf-8", "surrogatepass")
    quoted = {quote(data, safe=""), quote(data), quote_plus(data), quote_plus(data, safe="")}
    quoted |= {re.sub("%..", lambda found: found[0].lower(), one) for one in quoted}
    escaped = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    escaped |= {repr(value)[1:-1], repr(data)[2:-1]}
    return {value, *quoted, *escaped, *_in_base64(data)}


def _in_base64(data: bytes) -> Iterator[str]:
    """What a value adds to a Base64 text for sure, whatever stands before and behind it."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        first = (0, 2, 3)[before]  # characters that the bytes before take part in
        last = len(text.rstrip("=")) - (1 if (before + len(data)) % 3 else 0)
        middle = text[first:last]
        if len(middle) >= MIN_BASE64_CHARS:
            yield from {middle, middle.replace("+", "-").replace("/", "_")}


def _alternation(values: Mapping[str, str]) -> str:
    """One pattern for all values, the longest first, by their first character: of many values
    only those are tried that can begin where the text stands."""
    by_first: dict[str, list[str]] = {}
    for value in sorted(values, key=lambda one: (-len(one), one)):
        by_first.setdefault(value[0], []).append(value[1:])
    return "|".join(
        f"{re.escape(first)}(?:{'|'.join(map(re.escape, rest))})"
        for first, rest in by_first.items()
    )
