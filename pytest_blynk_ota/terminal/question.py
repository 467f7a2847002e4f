"""A question to the user in the middle of a run, where pytest keeps the terminal to itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.capture import CaptureManager

YES = frozenset({"y", "yes"})


def asking(capture: CaptureManager | None) -> Callable[[str], bool | None]:
    """A way to ask; its answer is None where no terminal is there to answer at.

    Args:
        capture: pytest's, which is suspended while the question stands.
    """

    def ask(text: str) -> bool | None:
        with _terminal(capture):
            return answered(text)

    return ask


def answered(text: str) -> bool | None:
    """Ask, and wait for the answer; an empty one, or the end of the input, is no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    sys.stdout.write(f"\n{text}\nGo on? [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stdout.write("\n")
    return answer.strip().lower() in YES


@contextmanager
def _terminal(capture: CaptureManager | None) -> Iterator[None]:
    if capture is None:
        yield
        return
    capture.suspend(in_=True)
    try:
        yield
    finally:
        capture.resume()
