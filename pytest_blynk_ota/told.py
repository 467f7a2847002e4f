"""What the process that ran a test tells of it for results.jsonl: here, where secrets are known.

Under pytest-xdist the controlling process writes the line, and knows neither the tokens that a
worker's rig made up nor the rig file's.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from pytest_blynk_ota.marks import named
from pytest_blynk_ota.reporting import Running
from pytest_blynk_ota.runs import PREFIX, RIG_ERROR, SAID, TOLD, first_line
from pytest_blynk_ota.session import Session

MAX_TEXT_CHARS = 200_000
"""Of a longer text both ends are kept: a test may print for hours."""
RERUN = PREFIX + "rerun"
"""A property of this name gives the command that runs a test again; else it is made here."""
OPTIONS = ("rig", "board", "old", "new")


def tell(
    item: pytest.Item, report: pytest.TestReport, session: Session, running: Running | None
) -> None:
    """Attach to a report what results.jsonl says of its test."""
    clean = session.redactor.text
    told: dict[str, Any] = {"id": clean(item.nodeid), "rerun": clean(_rerun(item, running))}
    if running is not None:
        told["folder"] = f"tests/{running.bundle.folder.name}"
        told["boards"] = [running.place.name] if running.place else []
    if ids := named(item, "scenario"):
        told["scenarios"] = sorted(map(str, ids))
    if message := first_line(clean(_short(_message(report)))):  # a secret may go over two lines
        told["message"] = message
    if report.failed:
        told["text"] = clean(_short(_text(report)))
    setattr(report, TOLD, told)


def _message(report: pytest.TestReport) -> str:
    """What a report has to say, in its first line that says something."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if isinstance(report.longrepr, tuple):  # a skip: path, line, reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    if not report.failed:
        return ""
    if RIG_ERROR in dict(report.user_properties):
        return str(dict(report.sections).get("rack error", ""))
    if report.when == "call" and (said := dict(report.user_properties).get(SAID)):
        return str(said)
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash else report.longreprtext


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


def _rerun(item: pytest.Item, running: Running | None) -> str:
    """The command that runs a test again: the same rig, board and firmware."""
    made: Callable[[str], object] = dict(item.user_properties).get
    if said := made(RERUN):
        return str(said)
    given = {name: item.config.getoption(f"blynk_{name}") for name in OPTIONS}
    if running is not None and running.place is not None:
        given["board"] = running.place.name
    options = [f"--{name}={value}" for name, value in given.items() if value]
    return shlex.join(["pytest", item.nodeid, *options])
