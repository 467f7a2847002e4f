"""One run of a suite on the reference firmware, with a bug planted in it or with none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_blynk_ota.errors import EvidenceError, RigError, UsageError
from pytest_blynk_ota.evidence.results import TestResult
from pytest_blynk_ota.evidence.run import read_run

BOARD = "reference"
RIG = """# Written by blynk-ota mutants: the reference firmware, with what is planted in it.
[rig]
name = "mutants"
speed = {speed:g}

[[board]]
name = "{board}"
chip = "esp32c3"
port = "virtual"
power = "virtual"
provision = {{ kind = "edgent-nvs" }}
profile = "reference"
bugs = [{bugs}]

# For the one scenario that burns a secure version.
[[board]]
name = "secured"
chip = "esp32c3"
port = "virtual"
power = "virtual"
provision = {{ kind = "edgent-nvs" }}
profile = "reference"
bugs = [{bugs}]
tags = ["anti-rollback"]
"""
TEST_TIMEOUT_S = 900
"""Wall seconds for one test, if pytest-timeout is there: a planted bug may make a board loop."""
USAGE = (2, 4, 5)
"""pytest's exit codes for a run that was stopped, asked wrongly or had nothing to do."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A folder of tests, and how they are run.

    Attributes:
        path: of the tests.
        speed: of the virtual boards' clocks.
        workers: of pytest-xdist; 0: none.
    """

    path: Path
    speed: float = 20.0
    workers: int = 0

    def run(self, folder: Path, scenarios: Sequence[str], bug: str | None) -> list[TestResult]:
        """Run the scenarios, and read what they came to; a run that is there already is read.

        Args:
            folder: of the rig file, the output and the evidence; made if missing.
            scenarios: ids; empty: all of them.
            bug: the id of the planted bug; None: none is.

        Raises:
            UsageError: pytest could not do what was asked; its words follow.
            RigError: the run was cut short, so that it says nothing.
        """
        evidence = folder / "run"
        if not _is_whole(evidence):
            self._run(folder, evidence, scenarios, bug)
        return [test.result for test in read_run(evidence, check=False).tests if test.result]

    def _run(self, folder: Path, evidence: Path, scenarios: Sequence[str], bug: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rig = folder / "rig.toml"
        planted = f'"{bug}"' if bug else ""
        rig.write_text(RIG.format(speed=self.speed, board=BOARD, bugs=planted), encoding="utf-8")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", str(self.path), "-q", "-p", "no:cacheprovider"),
                *(f"--rig={rig}", f"--evidence={evidence}", "-m", "not soak"),
                *([f"--scenarios={','.join(scenarios)}"] if scenarios else []),
                *(["-n", str(self.workers)] if self.workers else []),
            ],
            env={**os.environ, "PYTEST_TIMEOUT": str(TEST_TIMEOUT_S)},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        output = folder / "output.txt"
        output.write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode in USAGE:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no word"]
            raise UsageError(f"pytest {self.path}: {last[0]}; all of it: {output}")
        if not _is_whole(evidence):
            raise RigError(f"the run was cut short (exit code {done.returncode}); see {output}")


def _is_whole(evidence: Path) -> bool:
    """Whether a run is there, and came to its end."""
    try:
        return read_run(evidence, check=False).complete
    except EvidenceError:
        return False
