"""Redaction: secrets never reach the disk, because they are replaced as events are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

MIN_SECRET_CHARS = 4
"""A shorter known value would black out ordinary words."""

PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # A Blynk OTA URL carries its download token as a query value (blynk documentation: 1 day).
    ("url token", re.compile(r"(?i)(?<=[?&]token=)[^&\s\"'<>]+")),
    ("authorization header", re.compile(r"(?i)(?<=authorization: )\S+( \S+)?")),
    # Both Edgent generations echo these console commands (blynk-library, Edgent-Arduino).
    ("console token", re.compile(r"(?i)(?<=\bconnect )[A-Za-z0-9_-]{32}\b")),
    ("passphrase", re.compile(r"(?i)(?<=\bpass=)[^&\s]+")),
)


class Redactor:
    """Replaces known secret values, and what looks like one, by a named mark."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

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
        self._known[value] = f"[{name}]"

    def text(self, text: str) -> str:
        """The text with each secret replaced; longer known values first."""
        for value in sorted(self._known, key=len, reverse=True):
            if value in text:
                text = text.replace(value, self._known[value])
        for name, pattern in PATTERNS:
            text = pattern.sub(partial(_marked, name), text)
        return text

    def masked(self, data: bytes) -> bytes:
        """The same for bytes that must keep their length, such as a board's memory: each letter of
        a known secret becomes an x. What only looks like a secret stays."""
        for value in sorted(self._known, key=len, reverse=True):
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


def _marked(name: str, found: re.Match[str]) -> str:
    """The mark for what was found; what is a mark already stays."""
    return found[0] if found[0].startswith("[") else f"[{name}]"
