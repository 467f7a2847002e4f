"""Answers of the history as text that fits into 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_blynk_ota.report.visible import count, line

if TYPE_CHECKING:
    from pytest_blynk_ota.history.queries import Board, Flake, Overview, Period, Slow

WIDTH = 80
NONE = "–"


def iso(at: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def when(at: float | None) -> str:
    """The same as people read it."""
    return NONE if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def fit(text: str, width: int) -> str:
    """A text on one line; of a longer one both ends, for the names of tests differ there."""
    shown = line(text, 10 * width)
    if len(shown) <= width:
        return shown
    head = width // 3
    return f"{shown[:head]}…{shown[len(shown) - (width - head - 1) :]}"


def percent(rate: float | None) -> str:
    """A rate; a dash if there is none."""
    return NONE if rate is None else f"{100 * rate:.1f} %"


def span(seconds: float | None) -> str:
    """Wall seconds in few characters."""
    if seconds is None:
        return NONE
    if seconds < 1000:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 60_000 else f"{seconds / 3600:.0f} h"


def overview(told: Overview) -> Iterator[str]:
    """How much there is."""
    counts = told.counts
    span_told = f"{when(told.first)} to {when(told.last)}"
    yield f"{count(told.runs, 'run')}, {told.whole} complete, {span_told}"
    yield f"{count(counts.tests, 'result')}:"
    for what, number in {
        "went as expected": counts.judged - counts.firmware,
        "firmware failures": counts.firmware,
        "rack errors": counts.rig,
        "errors of the tests themselves": counts.error,
        "skipped": counts.skipped,
    }.items():
        yield f"  {number:>9,} {what}"


def trend(periods: Sequence[Period], by: str) -> Iterator[str]:
    """A line a period."""
    yield (
        f"{by:<28} {'tests':>6} {'firmware':>8} {'rate':>7} {'rig':>5} {'error':>5} {'median':>9}"
    )
    for one in periods:
        counts = one.counts
        yield (
            f"{fit(one.name, 28):<28} {counts.tests:>6} {counts.firmware:>8} "
            f"{percent(counts.firmware_rate):>7} {counts.rig:>5} {counts.error:>5} "
            f"{span(one.median):>9}"
        )


def flakes(found: Sequence[Flake]) -> Iterator[str]:
    """Two lines a flake: its figures, and the test."""
    yield f"{'flips':>5} {'well':>5} {'wrong':>5}  {'last flip':<16}  {'firmware':<18} board"
    for one in found:
        yield (
            f"{one.flips:>5} {one.well:>5} {one.wrong:>5}  {when(one.last):<16}  "
            f"{fit(_firmware(one), 18):<18} {fit(_board(one), 24)}"
        )
        yield f"      {fit(one.test, WIDTH - 6)}"


def _firmware(flake: Flake) -> str:
    from pytest_blynk_ota.history.queries import firmware_name

    return firmware_name(flake.version, flake.new or flake.old)


def _board(one: Flake | Board) -> str:
    return f"{one.rig}/{one.board}" if one.board else f"{one.rig}, no board"


def slowest(found: Sequence[Slow]) -> Iterator[str]:
    """Two lines a test: its figures, and its name."""
    yield f"{'median':>9} {'longest':>10} {'total':>10} {'results':>8}"
    for one in found:
        times = f"{span(one.median):>9} {span(one.longest):>10} {span(one.total):>10}"
        yield f"{times} {one.results:>8}"
        yield f"      {fit(one.test, WIDTH - 6)}"


def boards(found: Sequence[Board]) -> Iterator[str]:
    """A line a board, and one below it of its last rack error."""
    yield f"{'board':<30} {'tests':>6} {'rig':>5} {'rate':>8} {'firmware':>9} {'rate':>8}"
    for one in found:
        counts = one.counts
        yield (
            f"{fit(_board(one), 30):<30} {counts.tests:>6} {counts.rig:>5} "
            f"{percent(counts.rig_rate):>8} {counts.firmware:>9} {percent(counts.firmware_rate):>8}"
        )
        if one.last_rig_error is not None:
            yield f"  {when(one.last_rig_error)}  {fit(one.message or NONE, WIDTH - 20)}"
