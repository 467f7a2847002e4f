"""The table of verdicts in the run's folder, and at the end of a step on GitHub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_blynk_ota.ci.markdown import table
from pytest_blynk_ota.terminal.rows import Row

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
STEP_BYTES = 1024 * 1024
"""Of one step; what is longer is not shown at all (GitHub: "upload aborted, supports content up to
a size of 1024k")."""
SUMMARY = "summary.md"


def write_summary(
    folder: Path, rows: Sequence[Row], run: Mapping[str, Any], environ: Mapping[str, str]
) -> None:
    """Write summary.md, and append it to the file that GitHub names.

    Raises:
        OSError: one of the two cannot be written.
    """
    (folder / SUMMARY).write_text(table(rows, run, STEP_BYTES), encoding="utf-8")
    if named := environ.get(STEP_SUMMARY):
        step = Path(named)
        before = step.stat().st_size if step.exists() else 0
        with step.open("a", encoding="utf-8") as end:
            end.write("\n" * bool(before) + table(rows, run, STEP_BYTES - before - 1))


def tell(folder: Path, rows: Sequence[Row], environ: Mapping[str, str]) -> str:
    """The same at the end of a run; what cannot be written is a sentence, never a lost run."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        write_summary(folder, rows, run, environ)
    except OSError as error:
        return f"blynk-ota: no table of verdicts in {error.filename}: {error.strerror}"
    except ValueError as error:
        return f"blynk-ota: no table of verdicts, {folder / 'run.json'} is cut: {error}"
    return ""
