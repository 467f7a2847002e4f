"""The page of a history: trend, flakes, worst boards, slow tests, and each test's latest results.

Like the report it is one file that asks for nothing else, and shows hostile text as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pytest_blynk_ota.report.columns import as_script
from pytest_blynk_ota.report.html import POLICY, environment, inline, part
from pytest_blynk_ota.report.model import WORDS
from pytest_blynk_ota.report.visible import line, said

if TYPE_CHECKING:
    from pytest_blynk_ota.history.queries import Board, Case, Flake, Overview, Period, Slow

STYLES = ("vendored/uPlot.min.css", "page/page.css", "page/past.css", "page/print.css")
SCRIPTS = ("vendored/uPlot.iife.min.js", "page/theme.js", "page/past.js")
MAX_ROWS = 25
"""So many flakes, boards and slow tests are shown; a number tells of the others."""
MAX_CASES = 3000
"""So many tests have a row: more are no page."""
MAX_NAME_CHARS = 300
SIGNS: Mapping[str, str] = {
    "passed": "p",
    "firmware": "F",
    "rig": "R",
    "error": "E",
    "skipped": "s",
    "xfailed": "x",
    "xpassed": "X",
}
"""A result in one letter, for where no script runs."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the page shows.

    Attributes:
        about: which results they are, in words; "" for all.
        overview: how much there is.
        by: what a period is: day, week or month.
        periods: the trend, the oldest first.
        flakes, boards, slowest: the worst first.
        cases: each test with its latest results.
        notes: what is wrong with the history, a sentence each.
    """

    about: str
    overview: Overview
    by: str
    periods: Sequence[Period]
    flakes: Sequence[Flake]
    boards: Sequence[Board]
    slowest: Sequence[Slow]
    cases: Sequence[Case]
    notes: Sequence[str] = ()


def render(past: Past) -> str:
    """The page as HTML."""
    template = environment().from_string(part("page/past.html.j2"))
    cases = worst_first(past.cases)[:MAX_CASES]
    return template.render(
        past=past,
        cases=cases,
        most=MAX_ROWS,
        policy=POLICY,
        styles=Markup(inline(STYLES)),
        scripts=Markup(inline(SCRIPTS)),
        words=WORDS,
        name=lambda text: line(text, MAX_NAME_CHARS),
        when=_when,
        day=lambda at: _when(at)[:10],
        percent=_percent,
        strip=lambda case: "".join(SIGNS[word] for word in case.words),
        firmware=_firmware,
        data=Markup(as_script(_data(past, cases))),
        licence=part("vendored/LICENSE-uPlot"),
    )


def worst_first(cases: Sequence[Case]) -> Sequence[Case]:
    """Tests by how often they failed: those that the page is for stand at its top."""
    return sorted(cases, key=lambda one: (-one.counts.firmware, -one.counts.rig, one.test))


def _data(past: Past, cases: Sequence[Case]) -> Mapping[str, Any]:
    """What the scripts draw: the curves, and when each result of a strip was."""
    return {
        "by": past.by,
        "at": [one.first for one in past.periods],
        "tests": [one.counts.tests for one in past.periods],
        "firmware": [_hundredths(one.counts.firmware_rate) for one in past.periods],
        "rig": [_hundredths(one.counts.rig_rate) for one in past.periods],
        "median": [one.median and round(one.median, 3) for one in past.periods],
        "strips": [[round(at) for at in case.at] for case in cases],
        "words": {sign: [word, WORDS[word][0]] for word, sign in SIGNS.items()},
    }


def _hundredths(rate: float | None) -> float | None:
    return None if rate is None else round(100 * rate, 3)


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


def _when(at: float | None) -> str:
    return "–" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _firmware(flake: Flake) -> tuple[str, str]:
    """The version of New, and its SHA-256."""
    return said(flake.version, 40), flake.new or flake.old or ""
