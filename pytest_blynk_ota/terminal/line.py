"""A running test as one line, at most so wide. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from pytest_blynk_ota.terminal.phases import Progress

BOARD_CELLS = 12
"""A board's name, longer ones are cut."""
PHASE_CELLS = 14
MIN_BOARD_CELLS = 8
MIN_TEST_CELLS = 8
LEAST = {"fault": 8, "test": MIN_TEST_CELLS}
"""What may be cut, and to how many cells at least."""
ORDER = ("board", "test", "phase", "share", "rate", "fault", "seconds")
GAP = "  "
CYAN, YELLOW, RESET = "\x1b[36m", "\x1b[33m", "\x1b[0m"
CUT = "…"


def line(progress: Progress, test_id: str, now: float, width: int, *, colour: bool = False) -> str:
    """Board, test, phase, share, rate, fault, seconds; what there is no room for is left out.

    Args:
        progress: of the test.
        test_id: pytest's id of it.
        now: host seconds on the events' clock.
        width: cells of the terminal; the line has fewer, so that it never wraps.
        colour: whether the phase and the fault are coloured.
    """
    room = max(width - 1, 0)
    share, rate = _numbers(progress, now)
    began = now if progress.began is None else progress.began
    wanted = {
        "board": padded(cut(progress.board or "?", BOARD_CELLS), MIN_BOARD_CELLS),
        "phase": padded(cut(progress.phase, PHASE_CELLS), PHASE_CELLS),
        "seconds": f"{max(0.0, now - began):.0f} s",
        "share": share,
        "fault": progress.fault,
        "test": test_id,
        "rate": rate,
    }
    parts = dict(_fitting(wanted, room))
    return GAP.join(_coloured(name, parts[name], colour) for name in ORDER if name in parts)


def _fitting(wanted: Mapping[str, str], room: int) -> Iterator[tuple[str, str]]:
    """What there is room for, the dearest first; a fault and a test's name may be cut."""
    left = room
    for name, text in wanted.items():
        space = left - (len(GAP) if left < room else 0)
        if name in LEAST:
            space -= MIN_TEST_CELLS + len(GAP) if name == "fault" else 0
            text = CUTS[name](text, space) if space >= LEAST[name] else ""
        if text and cells(text) <= space:
            yield name, text
            left -= cells(text) + (len(GAP) if left < room else 0)


def plain(progress: Progress, test_id: str) -> str:
    """The same as a line of a log: no numbers that change all the time."""
    of = f", download {progress.download}" if progress.phase == "downloading" else ""
    why = f" ({progress.fault})" if progress.fault else ""
    return f"  {progress.board or '?'}: {progress.phase}{of}{why} - {test_id.rpartition('::')[2]}"


def _numbers(progress: Progress, now: float) -> tuple[str, str]:
    share, rate = progress.share, progress.rate(now)
    return (
        f"{share * 100:3.0f}%" if share is not None else "",
        f"{rate / 1000:.0f} kB/s" if rate is not None else "",
    )


def _coloured(name: str, text: str, colour: bool) -> str:
    mark = {"phase": CYAN, "fault": YELLOW}.get(name) if colour else None
    return f"{mark}{text}{RESET}" if mark else text


def short_id(test_id: str, room: int) -> str:
    """The test's own name, of its id what fits before it."""
    name = test_id.rpartition("::")[2]
    return cut(test_id if cells(test_id) <= room else name, room)


def cut(text: str, room: int) -> str:
    """Printable text of at most so many cells, its end left out."""
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    if cells(text) <= room:
        return text
    kept = ""
    for char in text:
        if cells(kept + char) > room - 1:
            break
        kept += char
    return kept + CUT if room > 0 else ""


def padded(text: str, room: int) -> str:
    """Text with spaces up to so many cells."""
    return text + " " * max(0, room - cells(text))


def cells(text: str) -> int:
    """Cells of a terminal that a text takes: wide characters two, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


CUTS = {"fault": cut, "test": short_id}
"""How what is too long is made shorter."""
