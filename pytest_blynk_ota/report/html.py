"""The page: one file that asks for nothing else, whatever stands in the evidence.

All text goes through Jinja's escaping; the events stand in script elements as data that cannot end
them. The page's policy forbids every request.
"""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from pytest_blynk_ota.report.columns import as_script
from pytest_blynk_ota.report.model import WORDS, Page, TestView
from pytest_blynk_ota.report.words import LANE_NAMES, LANES

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
STYLES = ("vendored/uPlot.min.css", "page/page.css", "page/print.css")
SCRIPTS = (
    "vendored/uPlot.iife.min.js",
    "page/data.js",
    "page/labels.js",
    "page/charts.js",
    "page/hands.js",
    "page/timeline.js",
    "page/log.js",
    "page/table.js",
    "page/theme.js",
    "page/page.js",
)


def render(page: Page, beside: Path | None = None) -> str:
    """The page as HTML.

    Args:
        page: what it shows.
        beside: the folder that it will stand in; evidence below it becomes a link.
    """
    template = environment().from_string(part("page/page.html.j2"))
    return template.render(
        page=page,
        policy=POLICY,
        styles=Markup(inline(STYLES)),
        scripts=Markup(inline(SCRIPTS)),
        words=WORDS,
        link=lambda test: _link(test, beside),
        index=Markup(as_script({"lanes": [LANE_NAMES[name] for name in LANES]})),
        licence=part("vendored/LICENSE-uPlot"),
    )


@cache
def environment() -> Environment:
    """Templates in which all text is escaped."""
    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters["data"] = Markup  # made by columns.pack(), which cannot end its element
    made.filters["span"] = _span
    made.filters["clock"] = _clock
    made.filters["breaks"] = lambda text: escape(text).replace("_", Markup("_<wbr>"))
    return made


@cache
def part(name: str) -> str:
    """A file of the pages."""
    return (files("pytest_blynk_ota.report") / name).read_text(encoding="utf-8")


@cache
def inline(names: tuple[str, ...]) -> str:
    """Our own and vendored files as they are: they hold nothing that ends their element."""
    return "\n".join(part(name) for name in names)


def _span(seconds: float | None) -> str:
    """Seconds for a table."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _clock(stamp: str) -> str:
    """An ISO time as people read it; anything else as it is."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?\+00:00", stamp)
    return f"{found[1]} {found[2]} UTC" if found else stamp


def _link(test: TestView, beside: Path | None) -> str:
    """A relative link to a test's folder; empty where it does not lie below the page."""
    if beside is None or not test.folder:
        return ""
    path = os.path.relpath(Path(test.folder).absolute(), beside.absolute())
    return "" if path.startswith("..") else quote(Path(path).as_posix()) + "/"
