"""The summary, where pytest prints its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_blynk_ota.terminal.again import Start
from pytest_blynk_ota.terminal.rows import Row
from pytest_blynk_ota.terminal.summary import last_line, summary


def say(
    reporter: pytest.TerminalReporter, rows: Sequence[Row], folder: Path, rig: str, *, whole: bool
) -> None:
    """Say what came out, by whose fault, and what to do next; with ``-q`` the last line alone.

    Args:
        reporter: pytest's.
        rows: the tests on the rig.
        folder: of the run.
        rig: as the user named it.
        whole: whether it ran to its end.
    """
    start = Start.of(reporter.config)
    lines = list(summary(rows, start, folder, rig)) if reporter.config.get_verbosity() >= 0 else []
    if lines:
        reporter.section("blynk-ota")
    for text, markup in lines:
        reporter.write_line(text, **markup)
    reporter.write_line(last_line(rows, start.near(folder), complete=whole))
