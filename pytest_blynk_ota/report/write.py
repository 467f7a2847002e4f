"""Writes the report of runs: the only place here that makes files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pytest_blynk_ota.evidence.run import Run, is_a_run, is_a_test, read_run, run_of_one
from pytest_blynk_ota.report import html, markdown
from pytest_blynk_ota.report.history import last_good, passed, same_run
from pytest_blynk_ota.report.model import Page, build

PAGE = "report.html"
SUMMARY = "summary.md"
TWICE = "{} is the same run as {}, or a copy of it: it is counted once"
SAME_RUN = "{} is the run {} itself, or a copy of it, so its tests are compared with nothing"
NOTHING_PASSED = "{}: no test of it is on record as passed, so there is nothing to compare with"


def read(runs: Sequence[Path], against: Path | None = None, *, plain: bool = False) -> Page:
    """The page of these runs.

    Args:
        runs: their folders.
        against: the run to compare with; otherwise the last good one beside them.
        plain: leave the events unpacked, for browsers that cannot unpack.

    Raises:
        EvidenceError: a folder holds no evidence.
    """
    sources: list[Run] = []
    notes = []
    for folder in runs:
        source = _run_of(folder)
        twin = next((one for one in sources if _says_the_same(one, source)), None)
        if twin is None:
            sources.append(source)
        else:
            notes.append(TWICE.format(folder, twin.folder))
    other = _run_of(against) if against else None
    if other and (own := next((one for one in sources if same_run(one, other)), None)):
        notes.append(SAME_RUN.format(against, own.name))
    elif other and not passed(other):
        notes.append(NOTHING_PASSED.format(against))
    return build(sources, last_good(sources, other), plain=plain, notes=notes)


def _run_of(folder: Path) -> Run:
    """The run in a folder, or the one test."""
    alone = is_a_test(folder) and not is_a_run(folder)
    return run_of_one(folder) if alone else read_run(folder)


def _says_the_same(one: Run, other: Run) -> bool:
    """Whether nothing is lost where one of two folders of a run is left out."""
    return same_run(one, other) and [test.word for test in one.tests] == [
        test.word for test in other.tests
    ]


def write_page(page: Page, path: Path) -> None:
    """Write the page whole: a reader never sees half of it. Raises OSError."""
    write_whole(path, html.render(page, path.parent))


def write_beside(folder: Path) -> Path:
    """Write report.html and summary.md into a run's folder; returns the page.

    Raises:
        EvidenceError: the folder holds no evidence.
        OSError: a file cannot be written.
    """
    page = read([folder])
    write_whole(folder / SUMMARY, markdown.render(page))
    write_page(page, folder / PAGE)
    return folder / PAGE


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there as a whole or as it was. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.{os.getpid()}.part")
    half.write_text(text, encoding="utf-8", newline="\n")
    half.replace(path)
