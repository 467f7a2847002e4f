"""``blynk-ota judge``: the verdict again, from stored evidence alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.evidence.event import Event

RIG_FAILED = 3
DIFFERS = 4
NEWER = frozenset({"flash", "metrics"})
"""Keys that a verdict stored by an earlier version does not have."""


@click.command("judge")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each operation.")
def command(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Decide again from stored evidence: the same verdict, or what differs.

    BUNDLES are folders of single tests, or of whole runs.

    Exit code 0: the same verdicts; 3: the same, but an operation has no verdict because the rig
    failed; 4: a stored verdict differs, or evidence is incomplete.

    Example: blynk-ota judge .blynk-ota/runs/20261123T203000-virtual
    """
    from pytest_blynk_ota.errors import EvidenceError

    code = 0
    for bundle in bundles:
        told = False
        for folder in _tests(bundle):
            try:
                for row in _judged(folder):
                    told = True
                    code = max(code, _code(row))
                    click.echo(json.dumps(row) if as_json else _line(row))
            except EvidenceError as error:
                told = True
                code = DIFFERS
                click.echo(f"blynk-ota: {error}", err=True)
        if not told:  # cut short before its first operation, say
            code = DIFFERS
            click.echo(f"blynk-ota: {bundle}: no operation began, so there is no verdict", err=True)
    sys.exit(code)


def _tests(bundle: Path) -> Sequence[Path]:
    """The folders of a run's tests; of anything else, the folder itself."""
    return sorted(path.parent for path in bundle.glob("tests/*/events.jsonl")) or [bundle]


def _code(row: Mapping[str, Any]) -> int:
    return DIFFERS if not row["same"] else RIG_FAILED if row["error"] else 0


def _judged(folder: Path) -> Iterator[Mapping[str, Any]]:
    """A row for each operation of a test.

    Raises:
        EvidenceError: the evidence cannot be read.
    """
    from pytest_blynk_ota.evidence.bundle import read_bundle

    events, stored = read_bundle(folder)
    begun = [
        int(event.data.get("number", 0))
        for event in events
        if (event.source, event.kind) == ("ota", "operation")
    ]
    by_number = {row.pop("operation", None): row for row in stored}
    ended = (folder / "verdict.json").is_file()
    for number in begun:
        now = _verdict(folder, events, number)
        yield _row(folder, number, now, by_number.pop(number, None), ended=ended)
    for number, before in by_number.items():
        lost = {"outcome": None, "error": "EvidenceError: the events hold no such operation"}
        yield _row(folder, number, lost, before, ended=ended)


def _verdict(folder: Path, events: Sequence[Event], number: int) -> Mapping[str, Any]:
    from pytest_blynk_ota.errors import EvidenceError, RigError
    from pytest_blynk_ota.verdict import judge

    try:
        return judge(events, number).to_json()
    except RigError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise EvidenceError(
            f"{folder}: operation {number} cannot be judged, its events are edited or foreign "
            f"({what})"
        ) from error


def _row(
    folder: Path,
    number: int,
    now: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    *,
    ended: bool,
) -> Mapping[str, Any]:
    """What is said of one operation. A failed rig leaves no verdict, then as now."""
    failed_both_times = before is None and ended and "error" in now
    differs = sorted(
        key
        for key in now
        if before is not None
        and now[key] != before.get(key)
        and (key in before or key not in NEWER)
    )
    return {
        "bundle": str(folder),
        "operation": number,
        "outcome": now.get("outcome"),
        "error": now.get("error"),
        "stored": before and before.get("outcome"),
        "same": failed_both_times or (before is not None and not differs),
        "differs_in": differs,
    }


def _line(row: Mapping[str, Any]) -> str:
    head = f"{Path(row['bundle']).name} #{row['operation']}: {row['outcome'] or row['error']}"
    if row["same"]:
        return f"{head} (the same)"
    if row["stored"] is None:
        return f"{head} (no verdict was stored: the run was cut short, or the rig failed)"
    return f"{head} (stored: {row['stored']}; differs in {', '.join(row['differs_in'])})"
