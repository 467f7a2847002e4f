"""The verdict table in Markdown: for a pull request, a step summary, or a terminal. Pure."""

from __future__ import annotations

import re

from pytest_blynk_ota.report.model import WORDS, Page, RunView, TestView

MAX_ROWS = 500
"""A step summary may have 1 MiB; what came out well goes first when there is no room."""
MAX_CELL_CHARS = 400
QUIET = ("passed", "xfailed", "skipped")


def render(page: Page) -> str:
    """A heading, the runs, and one row a test; red tests first."""
    counts = ", ".join(f"{number} {WORDS[word][0]}" for word, number in page.counts)
    lines = [f"# {cell(page.title)}", "", counts or "No test left evidence.", ""]
    for run in page.runs:
        state = "complete" if run.complete else "**not complete**"
        kind = f" ({run.kind})" if run.kind else ""
        lines.append(
            f"- Rig {cell(run.rig or 'not known')}{cell(kind)}, {cell(_begun(run))}, {state}"
        )
        lines += [
            f"  - {cell(row['boards'])}: {cell(row['old_version'])} to {cell(row['new_version'])}"
            for row in run.firmware
        ]
    lines += [f"- {cell(mark)}" for mark in page.marks]
    shown = page.tests[:MAX_ROWS]
    if shown:
        lines += ["", "| Result | Test | Outcome | Whose fault, and why |", "|---|---|---|---|"]
        lines += [_row(test) for test in shown]
    if len(page.tests) > len(shown):
        lines += ["", f"and {len(page.tests) - len(shown)} more; report.html has them all."]
    return "\n".join(lines) + "\n"


def _begun(run: RunView) -> str:
    """When a run began; the seconds in the table are those of the device."""
    return f"started {run.started} by the wall clock" if run.started else "start not known"


def _row(test: TestView) -> str:
    why = test.fault.line if test.fault else "" if test.word == "passed" else test.message
    word = WORDS[test.word][0]
    strong = word if test.word in QUIET else f"**{word}**"
    outcome = ", ".join(one for one in (test.outcomes_short, test.but) if one)
    return f"| {strong} | {cell(test.id)} | {cell(outcome)} | {cell(why)} |"


def cell(text: str) -> str:
    """Text that stays text in a cell: no tag, link, image, code, mention or line end."""
    short = text if len(text) <= MAX_CELL_CHARS else text[:MAX_CELL_CHARS] + "…"
    flat = short.replace("\n", " ").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#!|~@])", r"\\\1", flat).strip()
