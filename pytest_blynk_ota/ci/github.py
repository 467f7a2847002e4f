"""The table of verdicts at the end of a step on GitHub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
STEP_BYTES = 1024 * 1024
"""Of one step; of a longer one nothing is shown (GitHub: "upload aborted, supports content up to a
size of 1024k")."""
SUMMARY = "summary.md"
CUT = b"\n\nThe rest did not fit here: report.html and summary.md of the run have it.\n"


def tell(folder: Path, environ: Mapping[str, str]) -> str:
    """Add a run's summary.md to the file that GitHub names.

    What fails there is a sentence, never a lost run; without a table there is nothing to add.
    """
    named, table = environ.get(STEP_SUMMARY), folder / SUMMARY
    if not named or not table.is_file():
        return ""
    try:
        append(Path(named), table.read_bytes())
    except OSError as error:
        return f"warning: {STEP_SUMMARY}: {error.filename}: {error.strerror}"
    return ""


def append(step: Path, table: bytes) -> None:
    """Append whole lines to what other commands of the step wrote, as many as fit.

    Raises:
        OSError: the file cannot be written.
    """
    before = step.stat().st_size if step.exists() else 0
    room = STEP_BYTES - before - 1
    if len(table) > room:
        kept = table[: max(0, room - len(CUT))]
        table = kept[: kept.rfind(b"\n") + 1].rstrip() + CUT if kept else b""
    with step.open("ab") as end:
        end.write(b"\n" * bool(before and table) + table)
