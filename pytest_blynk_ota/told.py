"""What the process that ran a test tells of it for results.jsonl: here, where secrets are known.

Under pytest-xdist the controlling process writes the line, and knows neither the tokens that a
worker's rig made up nor the rig file's.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_blynk_ota.marks import named
from pytest_blynk_ota.reporting import Running
from pytest_blynk_ota.runs import RERUN, TOLD, first_line, words_of
from pytest_blynk_ota.session import Session

MAX_TEXT_CHARS = 200_000
"""Of a longer text both ends are kept: a test may print for hours."""


def tell(
    item: pytest.Item, report: pytest.TestReport, session: Session, running: Running | None
) -> None:
    """Attach to a report what results.jsonl says of its test."""
    clean = session.redactor.text
    told: dict[str, Any] = {"id": clean(item.nodeid)}
    if rerun := dict(report.user_properties).get(RERUN):
        told["rerun"] = clean(str(rerun))
    if running is not None:
        told["folder"] = f"tests/{running.bundle.folder.name}"
        told["boards"] = [running.place.name] if running.place else []
    if ids := named(item, "scenario"):
        told["scenarios"] = sorted(map(str, ids))
    if message := first_line(clean(_short(words_of(report)))):  # a secret may go over two lines
        told["message"] = message
    if report.failed:
        told["text"] = clean(_short(_text(report)))
    setattr(report, TOLD, told)


def _text(report: pytest.TestReport) -> str:
    """All that pytest says of a failure, what it captured included."""
    sections = [f"{f' {title} ':-^80}\n{content}" for title, content in report.sections]
    return "\n".join([report.longreprtext, *sections])


def _short(text: str) -> str:
    """Both ends of a text, in whole lines: what is left out may end in the midst of no secret."""
    if len(text) <= MAX_TEXT_CHARS:
        return text
    half = MAX_TEXT_CHARS // 2
    head = text.rfind("\n", 0, half) + 1 or half
    tail = text.find("\n", len(text) - half) + 1 or len(text) - half
    return f"{text[:head]}\n… {tail - head} characters left out …\n{text[tail:]}"
