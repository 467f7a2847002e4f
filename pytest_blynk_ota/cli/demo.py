"""``blynk-ota demo``: four updates on a board made of software, and the report of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import rich_click as click


@click.command("demo")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where its run is kept. Default: below .blynk-ota/runs here.",
)
def command(evidence: Path | None) -> None:
    """Show what this is: an upgrade, a stall, the download limit and a power cut on a board made of
    software, in half a minute. The last lines say where the report is.

    Exit code: as of pytest.

    Example: blynk-ota demo
    """
    from pytest_blynk_ota.starter import TESTS

    line = [sys.executable, "-m", "pytest", str(TESTS), "--rig=virtual", "-v"]
    line += ["-c", os.devnull, f"--rootdir={Path.cwd()}", "-p", "no:cacheprovider"]
    if evidence is not None:
        line.append(f"--evidence={evidence}")
    sys.exit(subprocess.run(line, check=False).returncode)
