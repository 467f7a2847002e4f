"""``blynk-ota profile``: learn how a firmware behaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rich_click as click

from pytest_blynk_ota.errors import RigError, UsageError

USAGE = (2, 4, 5)
"""pytest's exit codes for what it could not be asked."""


@click.command("profile")
@click.option("--rig", default="virtual", show_default=True, help="The rig: a name, or a file.")
@click.option("--board", help="The board. Default: any free one.")
@click.option("--old", type=click.Path(path_type=Path, exists=True), help="Your firmware.")
@click.option("--new", type=click.Path(path_type=Path, exists=True), help="The update of it.")
@click.option("--evidence", type=click.Path(path_type=Path), help="Where the evidence goes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    rig: str,
    board: str | None,
    old: Path | None,
    new: Path | None,
    evidence: Path | None,
    as_json: bool,
) -> None:
    """Learn how a firmware behaves: one good update, then one thing wrong at a time.

    What comes out is the profile of the board in a rig file: how long it takes for each step,
    whether it follows redirects, takes chunks, resumes, looks at digests, tries again, and whether
    a crash is rolled back. What it lacks is said too. It takes some ten updates.

    Exit code 0: learned; 1: not even a clean update got through; 2: a wrong request; 3: the rack
    failed.

    Example: blynk-ota profile --rig lab1 --board c3-a --old build/firmware.bin
    """
    from pytest_blynk_ota.learn.ways import line, weaknesses

    given = {"rig": rig, "board": board, "old": old, "new": new, "evidence": evidence}
    told = _learned([f"--{name}={value}" for name, value in given.items() if value is not None])
    lacks = list(weaknesses(told["ways"]))
    if as_json:
        click.echo(json.dumps({**told, "lacks": lacks}, ensure_ascii=False))
        return
    click.echo("\n".join(["", line(told["base"], told["ways"]), *_lines(lacks)]))


def _lines(lacks: list[str]) -> Iterator[str]:
    if lacks:
        yield ""
    yield from (f"- {one}" for one in lacks)


def _learned(options: list[str]) -> dict[str, Any]:
    """Run the probes. Raises UsageError or RigError; exits where the firmware fails."""
    from pytest_blynk_ota.learn import OUT

    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "learned.json"
        words = ["-m", "pytest", "--pyargs", "pytest_blynk_ota.learn.test_ways", "-q", "-s"]
        done = subprocess.run(
            [sys.executable, *words, "-p", "no:cacheprovider", "--ota-live=plain", *options],
            env={**os.environ, OUT: str(out)},
            stdout=sys.stderr,
            check=False,
        )
        if out.exists():
            told: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
            return told
    if done.returncode in USAGE:
        raise UsageError("pytest could not be asked for the probes: see above")
    if done.returncode == 1:
        click.echo("blynk-ota: the probes did not come to their end: see above", err=True)
        sys.exit(1)
    raise RigError(f"the probes ended with exit code {done.returncode}: see above")
