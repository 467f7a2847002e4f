"""``blynk-ota judge``: the verdict again, from stored evidence alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich_click as click

DIFFERS = 4


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each operation.")
def command(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Decide again from stored evidence: the same verdict, or what differs.

    BUNDLES are folders of single tests, or of whole runs. Exit code 4: a stored verdict differs,
    or evidence is incomplete.

    Example: blynk-ota judge .blynk-ota/runs/20261123T203000-virtual
    """
    differs = 0
    for folder in _tests(bundles):
        for row in _judged(folder):
            differs += not row["same"]
            click.echo(json.dumps(row) if as_json else _line(row))
    sys.exit(DIFFERS if differs else 0)


def _tests(bundles: Sequence[Path]) -> Iterator[Path]:
    for bundle in bundles:
        inside = sorted(path.parent for path in bundle.glob("tests/*/events.jsonl"))
        yield from inside or [bundle]


def _judged(folder: Path) -> Iterator[Mapping[str, Any]]:
    from pytest_blynk_ota.errors import EvidenceError, RigError
    from pytest_blynk_ota.evidence.bundle import read_bundle
    from pytest_blynk_ota.verdict import judge

    events, stored = read_bundle(folder)
    operations = [
        event.data["number"]
        for event in events
        if (event.source, event.kind) == ("ota", "operation")
    ]
    if not operations:
        raise EvidenceError(f"{folder}: its events hold no operation, so there is no verdict")
    by_number = {row.pop("operation", None): row for row in stored}
    for number in operations:
        try:
            now = judge(events, number).to_json()
        except RigError as error:
            now = {"error": f"{type(error).__name__}: {error}"}
        before = by_number.get(number)
        changed = sorted(key for key in now if before is not None and now[key] != before.get(key))
        yield {
            "bundle": str(folder),
            "operation": number,
            "outcome": now.get("outcome"),
            "error": now.get("error"),
            "stored": before and before.get("outcome"),
            "same": before is not None and not changed,
            "differs_in": changed,
        }


def _line(row: Mapping[str, Any]) -> str:
    head = f"{Path(row['bundle']).name} #{row['operation']}: {row['outcome'] or row['error']}"
    if row["same"]:
        return f"{head} (the same)"
    if row["stored"] is None:
        return f"{head} (no verdict was stored: the run was cut short, or this is a rack error)"
    return f"{head} (stored: {row['stored']}; differs in {', '.join(row['differs_in'])})"
