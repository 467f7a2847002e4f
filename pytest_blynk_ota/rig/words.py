"""Words for what was mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(word: str, known: Iterable[str], alike: float = 0.5) -> str:
    """``; did you mean 'x'?`` or nothing.

    Args:
        word: what was typed.
        known: what may have been meant.
        alike: how much of it must be the same, 0 to 1.
    """
    matches = difflib.get_close_matches(str(word), list(known), n=1, cutoff=alike)
    return f"; did you mean {matches[0]!r}?" if matches else ""
