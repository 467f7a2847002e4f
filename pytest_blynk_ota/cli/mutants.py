"""``blynk-ota mutants``: the suite against each planted bug."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from pytest_blynk_ota.errors import RigError, UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.evidence.results import TestResult
    from pytest_blynk_ota.firmware.bugs import Bug
    from pytest_blynk_ota.mutants.matrix import Line
    from pytest_blynk_ota.mutants.suite import Suite

CLEAN = "clean"
EVERY = "--all"


@click.command("mutants")
@click.argument("suite", default="hil_tests", type=click.Path(path_type=Path, exists=True))
@click.option("--bug", "bugs", multiple=True, metavar="ID", help="Only this bug; may be repeated.")
@click.option("--cover", is_flag=True, help="Run a small set of scenarios that catches all, too.")
@click.option(EVERY, "every", is_flag=True, help="Run the whole suite against each bug: hours.")
@click.option("--shard", metavar="K/N", help="Of the bugs every N-th, from the K-th on.")
@click.option("--jobs", default=4, show_default=True, type=click.IntRange(1, 64), help="At once.")
@click.option("--speed", default=20.0, show_default=True, type=click.FloatRange(1, 1000))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where it is kept.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each bug.")
def command(
    suite: Path,
    bugs: tuple[str, ...],
    cover: bool,
    every: bool,
    shard: str | None,
    jobs: int,
    speed: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Plant each bug in the reference firmware, and see whether the suite finds it.

    SUITE is a folder of tests with the marker scenario. Each bug is run against the scenarios that
    have to catch it; the same scenarios run on the clean firmware, where none may fail. With --out
    of an earlier call its finished runs are not repeated.

    Exit code 0: each bug is caught, for its own reason, and there is no false alarm; 1: not so; 2:
    a wrong request; 3: the rack failed, and what it hid is not known.

    Example: blynk-ota mutants --bug Z7 --bug Z8
    """
    from pytest_blynk_ota.mutants import matrix
    from pytest_blynk_ota.mutants.suite import Suite

    chosen = _shard(_bugs(bugs), shard)
    folder = out or Path(".blynk-ota/mutants") / f"{datetime.now():%Y%m%dT%H%M%S}"
    scenarios = {one.id: _scenarios(one, cover=cover, every=every) for one in chosen}
    runs = _Runs(Suite(suite, speed), folder, jobs)
    alarms = matrix.false_alarms(
        runs.clean(sorted({id for ids in scenarios.values() for id in ids}))
    )
    for alarm in alarms:
        _say({"false_alarm": alarm.id, "message": alarm.message}, as_json=as_json)
    lines = []
    for line in runs.lines(chosen, scenarios):
        lines.append(line)
        _say(_row(line), as_json=as_json)
    if not as_json:
        click.echo("\n".join(["", *matrix.matrix(lines), "", matrix.summary(lines, alarms)]))
        click.echo(f"kept in {folder}")
    sys.exit(_code(lines, alarms))


def _bugs(ids: Sequence[str]) -> list[Bug]:
    from pytest_blynk_ota.firmware.bugs import BUGS
    from pytest_blynk_ota.firmware.words import did_you_mean

    for id in ids:
        if id not in BUGS:
            raise UsageError(
                f"--bug: no bug {id!r}; known are Z1 to {[*BUGS][-1]}{did_you_mean(id, BUGS)}"
            )
    return [BUGS[id] for id in ids] or list(BUGS.values())


def _shard(bugs: list[Bug], shard: str | None) -> Sequence[Bug]:
    from pytest_blynk_ota.mutants.matrix import shard as part_of

    if shard is None:
        return bugs
    part, _, parts = shard.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--shard: expected K/N with K from 1 to N, as 1/4, got {shard!r}")
    return part_of(bugs, int(part), int(parts))


def _scenarios(bug: Bug, *, cover: bool, every: bool) -> list[str]:
    """Ids that run against a bug; empty: the whole suite."""
    from pytest_blynk_ota.mutants.matrix import cover as few

    if every:
        return []
    return list(dict.fromkeys([*bug.caught_by, *(few() if cover else [])]))


class _Runs:
    """Runs of the suite, a few at once."""

    def __init__(self, suite: Suite, folder: Path, jobs: int) -> None:
        self._suite = suite
        self._folder = folder
        self._jobs = jobs

    def clean(self, ids: Sequence[str]) -> list[TestResult]:
        """These scenarios, or all if none is named, on firmware without a bug."""
        alone = replace(self._suite, workers=self._jobs)
        results = alone.run(self._folder / CLEAN, ids, None)
        if not results:
            raise UsageError(f"{self._suite.path}: no test has any of the scenarios asked for")
        return results

    def lines(self, bugs: Sequence[Bug], scenarios: dict[str, list[str]]) -> Iterator[Line]:
        """The line of each bug, in their order, as soon as it is there."""
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                yield from pool.map(lambda bug: self._line(bug, scenarios[bug.id]), bugs)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _line(self, bug: Bug, scenarios: list[str]) -> Line:
        from pytest_blynk_ota.mutants.matrix import Cell, Line, line_of, whole

        try:
            results = self._suite.run(self._folder / bug.id, scenarios, bug.id)
        except RigError as error:  # it says nothing of this bug, and leaves the others theirs
            click.echo(f"blynk-ota: {bug.id}: {error}", err=True)
            return Line(bug, dict.fromkeys(scenarios or bug.caught_by, Cell.RACK))
        ran = {whole(one) for result in results for one in result.scenarios}
        return line_of(bug, results, scenarios or sorted(ran))


def _row(line: Line) -> dict[str, Any]:
    return {
        "bug": line.bug.id,
        "what": line.bug.what,
        "caught": line.is_caught,
        "cells": {id: str(cell) for id, cell in line.cells.items()},
    }


def _say(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(row, ensure_ascii=False))
    elif "bug" in row:
        cells = ", ".join(f"{id} {cell}" for id, cell in row["cells"].items())
        word = "caught" if row["caught"] else "NOT CAUGHT"
        click.echo(f"{row['bug']:<4} {word:<10} {row['what']}: {cells}")
    else:
        click.echo(f"FALSE ALARM {row['false_alarm']}: {row['message']}")


def _code(lines: Sequence[Line], alarms: Sequence[TestResult]) -> int:
    if alarms or any(line.is_decided and not line.is_caught for line in lines):
        return 1
    return 0 if all(line.is_decided for line in lines) else 3
