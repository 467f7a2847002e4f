"""``blynk-ota judge``: the verdict again, from stored evidence alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.evidence.marks import Mark
    from pytest_blynk_ota.verdict.again import Again

RIG_FAILED = 3
DIFFERS = 4
Row = Mapping[str, Any]


@click.command("judge")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a line, for each operation and each flaw.",
)
def command(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Decide again from stored evidence: the same verdict, or what differs.

    BUNDLES are folders of single tests, of whole runs, or of several runs. Each file of a run is
    compared with its manifest: one that was cut, edited, added or lost is named.

    Exit code 0: the same verdicts; 3: the same, but an operation has no verdict because the rig
    failed; 4: a stored verdict differs, or evidence is incomplete, changed or unreadable.

    Example: blynk-ota judge .blynk-ota/runs/20261123T203000-virtual
    """
    code = 0
    for bundle in bundles:
        judged = False
        for row in _rows(bundle):
            judged = judged or "operation" in row or "error" in row
            code = max(code, _code(row))
            _tell(row, as_json)
        if not judged:  # cut short before its first operation, say
            code = DIFFERS
            click.echo(f"blynk-ota: {bundle}: no operation began, so there is no verdict", err=True)
    sys.exit(code)


def _rows(bundle: Path) -> Iterator[Row]:
    """A row for each flaw, each operation and each thing that cannot be read."""
    from pytest_blynk_ota.errors import EvidenceError
    from pytest_blynk_ota.evidence.run import find_runs, is_a_test

    runs = [] if is_a_test(bundle) else find_runs(bundle)
    if not runs and not is_a_test(bundle) and _run_of(bundle) is None:
        yield {"bundle": str(bundle), "error": _nothing(bundle)}
    elif not runs:
        yield from _test_rows(bundle, _run_of(bundle), alone=True)
    for folder in runs:
        try:
            yield from _run_rows(folder)
        except EvidenceError as error:
            yield {"bundle": str(folder), "error": str(error)}


def _nothing(bundle: Path) -> str:
    what = "no evidence in it" if bundle.is_dir() else "is no folder (unpack an archive first)"
    return (
        f"{bundle}: {what}; expected the folder of a test (it has events.jsonl), of a run "
        "(it has run.json), or of several runs"
    )


def _run_rows(folder: Path) -> Iterator[Row]:
    from pytest_blynk_ota.evidence.run import read_run

    run = read_run(folder)
    yield from (_flaw(folder, mark) for mark in run.marks)
    for test in run.tests:
        if test.folder is not None:
            yield from _test_rows(test.folder, folder, known=run.marks)


def _run_of(folder: Path) -> Path | None:
    """The run that a test's folder lies in."""
    above = folder.resolve().parent
    return above.parent if above.name == "tests" else None


def _test_rows(
    folder: Path, run: Path | None, *, known: Sequence[Mark] = (), alone: bool = False
) -> Iterator[Row]:
    from pytest_blynk_ota.errors import EvidenceError
    from pytest_blynk_ota.evidence.bundle import many_objects, read_test
    from pytest_blynk_ota.evidence.run import marks_of_test
    from pytest_blynk_ota.verdict.again import judge_again

    where = run or folder
    try:
        if alone and run is not None:
            known = marks_of_test(run, folder.resolve().name)
            yield from (_flaw(where, mark) for mark in known)
        bundle = read_test(folder)
    except EvidenceError as error:
        yield {"bundle": str(folder), "error": str(error)}
        return
    name = f"tests/{folder.resolve().name}/" if run is not None else ""
    for mark in bundle.marks:
        yield _flaw(where, mark, name)
    with many_objects():
        judged = list(judge_again(bundle.events, bundle.verdicts, ended=bundle.ended))
    yield from (_row(folder, run, again) for again in judged)


def _flaw(folder: Path, mark: Mark, name: str = "") -> Row:
    told = mark.to_json()
    return {"bundle": str(folder), **told, "file": name + told["file"]}


def _row(folder: Path, run: Path | None, again: Again) -> Row:
    return {
        "bundle": str(folder),
        "run": str(run) if run else None,
        "operation": again.number,
        "outcome": again.now and again.now.get("outcome"),
        "error": again.error or None,
        "by_rig": again.by_rig,
        "stored": again.stored and again.stored.get("outcome"),
        "same": again.same,
        "differs_in": sorted(again.differs),
        "differs": list(again.differs.values()),
        "later_findings": list(again.later),
    }


def _code(row: Row) -> int:
    if not row.get("same"):
        return DIFFERS
    return RIG_FAILED if row["error"] else 0


def _tell(row: Row, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(row))
    if "operation" in row:
        if not as_json:
            click.echo("\n".join(_lines(row)))
    elif "mark" in row:
        click.echo(
            f"blynk-ota: {row['bundle']}: {row['file']}: {row['mark']}: {row['text']}", err=True
        )
    else:
        click.echo(f"blynk-ota: {row['error']}", err=True)


def _lines(row: Row) -> Iterator[str]:
    """An operation in words, with its whole path: two runs may have one name and the same tests."""
    head = f"{row['bundle']} #{row['operation']}: {row['outcome'] or row['error']}"
    if row["same"]:
        yield f"{head} (the same)"
    elif row["stored"] is None:
        yield f"{head} (no verdict was stored: the run was cut short, or the rig failed)"
    else:
        yield f"{head} (stored: {row['stored']})"
        yield from (f"  {difference}" for difference in row["differs"])
    for name in row["later_findings"]:
        yield f"  finding {name!r}: no difference, it was not looked for when this run was judged"
