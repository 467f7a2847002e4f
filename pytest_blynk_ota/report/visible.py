"""Hostile text made visible: what a page must not take literally gets a sign in its place."""

from __future__ import annotations

import json
import re
from typing import Any

CONTROL_PICTURES = 0x2400
"""Unicode's pictures of the control characters begin here: U+2400 for NUL."""
REPLACEMENT = "\ufffd"
BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Marks that change the direction in which text around them is shown."""
MAX_LINE_CHARS = 2000
"""A longer line is cut in the page; the whole of it stays in events.jsonl."""

SIGNS: dict[int, str] = {
    **{code: chr(CONTROL_PICTURES + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **{code: f"<{code:02X}>" for code in range(0x80, 0xA0)},
    **{code: f"<U+{code:04X}>" for code in BIDI},
    **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT),
    0xFFFE: REPLACEMENT,
    0xFFFF: REPLACEMENT,
}


def visible(text: str) -> str:
    """The text with control characters, direction marks and lone surrogates replaced by signs."""
    return text if text.isprintable() else text.translate(SIGNS)


def line(text: str, limit: int = MAX_LINE_CHARS) -> str:
    """The same on one line; of a longer one its beginning, and how many characters are left out."""
    rest = len(text) - limit
    if rest <= 0 and text.isprintable():  # nearly all lines
        return text
    shown = visible(text if rest <= 0 else text[:limit]).replace("\n", "\u2424").replace("\t", "  ")
    return shown if rest <= 0 else f"{shown} … (+{rest} characters)"


def said(value: Any, limit: int = MAX_LINE_CHARS) -> str:
    """Any JSON value as text on one line."""
    if isinstance(value, str):
        return line(value, limit)
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    return line(json.dumps(value, ensure_ascii=False, default=str), limit)


def count(number: int, one: str, many: str = "") -> str:
    """A number and what it counts: ``1 line``, ``1,200 lines``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


BYTES = re.compile(r"\b\d{5,}(?= (?:of \d+ )?bytes\b)")


MAX_SENTENCE_CHARS = 2 * MAX_LINE_CHARS
"""A sentence is made of lines that were cut already."""


def sentence(value: Any, limit: int = MAX_SENTENCE_CHARS) -> str:
    """A stored sentence as people read one: no full stop before a semicolon, no columns of blanks,
    nothing after which more is expected; bytes in groups of three digits."""
    text = " ".join(said(value, limit).split()).replace(".;", ";")
    return BYTES.sub(lambda found: f"{int(found[0]):,}", text).rstrip(" .:;,")
