"""``blynk-ota report``: one page of one or more runs, from stored evidence alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from pytest_blynk_ota.errors import UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.report.model import Page

INCOMPLETE = 4
CODES = {"firmware": 1, "rig": 3, "ok": 0}
"""The result in run.json to an exit code; any other word is evidence that is not whole."""
CAME_TO = ("firmware", "rig", "error")
"""What a test came to that no run is fine with, whatever its run.json says."""
NOT_WHOLE = (
    "the page is made of evidence that is not whole; only with --exit-code is that an exit code"
)
WORST_FIRST = (1, 3, 4, 0)
"""A firmware failure outweighs a rack error, and both an incomplete run."""


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page. Default: report.html in the first run's folder.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True),
    help="The run to compare with. Default: the last good one beside the first.",
)
@click.option("--plain", is_flag=True, help="Leave the events unpacked: for very old browsers.")
@click.option("--exit-code", is_flag=True, help="End with what the runs came to: 0, 1, 3 or 4.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    runs: tuple[Path, ...],
    output: Path | None,
    against: Path | None,
    plain: bool,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Make one page of runs: verdicts, reasons, time lines, logs. It needs no network.

    RUNS are the folders of runs, of several workers or machines too, of single tests, or folders
    in which runs lie, as CI leaves them.

    Exit code 0: the page is written, be the evidence whole or not, which is said on stderr; 2: it
    cannot be; 4: a folder holds no evidence. With --exit-code 1: the firmware failed; 3: the rig
    failed; 4: a run is not complete, has no test, or its files were changed.

    Example: blynk-ota report .blynk-ota/runs/20261123T203000-virtual
    """
    from pytest_blynk_ota.evidence.run import find_runs
    from pytest_blynk_ota.report import write

    folders = [below for run in runs for below in find_runs(run) or [run]]
    page = write.read(folders, against, plain=plain)
    path = output or runs[0] / write.PAGE
    try:
        write.write_page(page, path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name another file with -o") from error
    results = [run.result for run in page.runs]
    whole = all(run.whole for run in page.runs) and not any(test.flawed for test in page.tests)
    results += [] if whole else ["incomplete"]
    code = code_of(results + [word for word, _ in page.counts if word in CAME_TO])
    for note in [*page.marks, *([] if whole else [NOT_WHOLE])]:
        click.echo(f"blynk-ota: note: {note}", err=True)
    click.echo(json.dumps(_row(page, path, code)) if as_json else _line(page, path))
    sys.exit(code if exit_code else 0)


def code_of(results: Sequence[str]) -> int:
    """The exit code of several results: the worst."""
    return min((CODES.get(result, INCOMPLETE) for result in results), key=WORST_FIRST.index)


def _row(page: Page, path: Path, code: int) -> dict[str, Any]:
    return {
        "report": str(path),
        "bytes": path.stat().st_size,
        "runs": [run.path for run in page.runs],
        "tests": len(page.tests),
        "counts": dict(page.counts),
        "marks": list(page.marks),
        "code": code,
    }


def _line(page: Page, path: Path) -> str:
    counts = ", ".join(f"{number} {word}" for word, number in page.counts) or "no tests"
    return f"{counts}: {path} ({path.stat().st_size / 1e6:.1f} MB)"
