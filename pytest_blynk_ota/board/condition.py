"""What is wrong with a board that does not come up, by what its log says of itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_blynk_ota.board.patterns import marks
from pytest_blynk_ota.board.rows import Data

UNDECODABLE = "\ufffd"
"""What a byte that is no UTF-8 becomes in a line (``board/lines.py``)."""
GARBLED_SHARE = 0.2
"""Of random bytes about half are no text; line noise at a reset is a few characters of a boot."""
ENOUGH_CHARS = 32
"""Of fewer characters no share can be told."""
LOOP_STARTS = 3
"""One start is ours, a second may be the slope of the power; a third is a loop."""


def garbled(texts: Sequence[str]) -> float:
    """The share of characters that are no text, 0 to 1; 0 where there are too few to tell."""
    total = sum(len(text) for text in texts)
    bad = sum(text.count(UNDECODABLE) for text in texts)
    return bad / total if total >= ENOUGH_CHARS else 0.0


def condition(texts: Sequence[str], baud: int) -> str:
    """A sentence on what is wrong, with what to do; "" where the log shows nothing of the kind.

    Args:
        texts: lines since the board was started; the one that has not ended may be the last.
        baud: that they were read at.
    """
    share = garbled(texts)
    if share >= GARBLED_SHARE:
        return (
            f"What it sends is garbled: {share:.0%} of it is no text at {baud} baud. "
            "Set baud of this board in the rig file to what its firmware prints at."
        )
    starts = [mark.data for text in texts for mark in marks(text) if mark.kind == "reset"]
    if starts and starts[-1]["download"]:
        return (
            "It waits for a download and runs no app: is IO0 held low, by a button, by a wire or "
            "by DTR of another program?"
        )
    return _loop(starts) if len(starts) >= LOOP_STARTS else ""


def _loop(starts: Sequence[Data]) -> str:
    causes = ", ".join(dict.fromkeys(str(start["cause"]) for start in starts[1:]))
    return (
        f"It restarts again and again: it started {len(starts)} times (reset by {causes}). The "
        "lines before a start say why; with power-on or brownout, look at its supply and cable."
    )
