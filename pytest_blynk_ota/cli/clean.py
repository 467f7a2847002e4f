"""``blynk-ota clean``: folders of old runs removed, their results kept in the history."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from pytest_blynk_ota.cli.history_text import fit
from pytest_blynk_ota.cli.lines import FiniteRange
from pytest_blynk_ota.report.visible import line

if TYPE_CHECKING:
    from pytest_blynk_ota.history.book import Book
    from pytest_blynk_ota.history.folders import Stranger
    from pytest_blynk_ota.history.retention import Decision

RUNS = Path(".blynk-ota") / "runs"
HISTORY = Path(".blynk-ota") / "history"
INCOMPLETE = 4
KEPT_DAYS = {"ok": 14.0, "firmware": 90.0, "rig": 30.0, "incomplete": 30.0}
OPTIONS = {
    "ok": ("--ok", "Days that a run is kept in which all went well."),
    "firmware": ("--firmware", "Days that a run is kept in which the firmware failed."),
    "rig": ("--rig", "Days that a run is kept in which the rig failed."),
    "incomplete": ("--incomplete", "Days that a run is kept that was cut short."),
}


def _days(command: Any) -> Any:
    """An option for each result."""
    for result, (flag, told) in reversed(OPTIONS.items()):
        default = KEPT_DAYS[result]
        kind = FiniteRange(min=0)
        command = click.option(
            flag, result, type=kind, metavar="DAYS", default=default, show_default=True, help=told
        )(command)
    return command


@click.command("clean")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@_days
@click.option(
    "--history",
    type=click.Path(path_type=Path, file_okay=False),
    default=HISTORY,
    show_default=True,
    help="The history that the results of what is removed are taken into first.",
)
@click.option("--yes", is_flag=True, help="Remove; without it nothing is touched.")
@click.option("--dry-run", is_flag=True, help="Touch nothing, whatever else is said.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each run.")
def command(
    folders: tuple[Path, ...],
    history: Path,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **kept: float,
) -> None:
    """Say which runs are old enough to go, and how much room that makes; with --yes remove them.

    FOLDERS are those in which runs lie; .blynk-ota/runs if none is named. Kept are a run that goes
    on, the last good run of each rig, and what is no run of ours. The results of a run that goes
    stay in the history; a run whose results cannot be taken into it stays.

    Exit code 0: done; 4: a run stays whose results could not be kept, or that could not be removed.

    Example: blynk-ota clean --ok 7 --firmware 180 --yes
    """
    from pytest_blynk_ota.history.book import Book
    from pytest_blynk_ota.history.folders import scan
    from pytest_blynk_ota.history.retention import decide

    now = datetime.now(UTC).timestamp()
    decided: list[Decision] = []
    strangers: list[Stranger] = []
    for folder in dict.fromkeys(folders or (RUNS,)):
        runs, others = scan(folder, now)
        decided += decide(runs, now, kept)
        strangers += others
    act = yes and not dry_run
    stays = dict(_removed(Book(history), decided, now)) if act else {}
    for why in stays.values():
        click.echo(f"blynk-ota: {why}", err=True)
    if as_json:
        for one in decided:
            click.echo(json.dumps(_row(one, act, stays)))
    else:
        click.echo("\n".join(_lines(decided, strangers, act, stays)))
    sys.exit(INCOMPLETE if stays else 0)


def _removed(book: Book, decided: Sequence[Decision], now: float) -> Iterator[tuple[Path, str]]:
    """Remove what may go; of each run that stays all the same, why."""
    from pytest_blynk_ota.errors import EvidenceError
    from pytest_blynk_ota.history.folders import remove

    going = [one.run for one in decided if one.goes]
    lost = dict(_not_kept(book, [run.path for run in going if not run.leftover and run.id]))
    yield from lost.items()
    for run in going:
        if run.path in lost:
            continue
        try:
            remove(run, now)
        except EvidenceError as error:
            yield run.path, str(error)
        except OSError as error:
            yield run.path, f"{run.path}: could not be removed: {error.strerror or error}"


def _not_kept(book: Book, paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Take runs into the history; of each that it does not have now, why."""
    from pytest_blynk_ota.history.take import take

    for one in take(book, paths) if paths else ():
        if one.error:
            yield one.source, f"it stays, for its results are not in the history: {one.error}"


def _row(one: Decision, act: bool, stays: dict[Path, str]) -> dict[str, Any]:
    return {
        "run": str(one.run.path),
        "id": one.run.id,
        "rig": one.run.rig,
        "result": one.run.result,
        "complete": one.run.complete,
        "days": round(one.days, 2),
        "bytes": one.run.bytes,
        "goes": one.goes,
        "why": stays.get(one.run.path, one.why),
        "removed": act and one.goes and one.run.path not in stays,
    }


def _lines(
    decided: Sequence[Decision], strangers: Sequence[Stranger], act: bool, stays: dict[Path, str]
) -> Iterator[str]:
    going = [one for one in decided if one.goes and one.run.path not in stays]
    if going:
        yield f"{'size':>10} {'age':>8}  {'result':<10}  run"
    for one in going:
        size, name = megabytes(one.run.bytes), fit(str(one.run.path), 46)
        yield f"{size:>10} {one.days:>6.0f} d  {one.run.result:<10}  {name}"
    kept = Counter(one.why for one in decided if not one.goes)
    for why, number in sorted(kept.items()):
        size = megabytes(sum(one.run.bytes for one in decided if not one.goes and one.why == why))
        yield f"kept: {number} ({size}): {why}"
    for other in strangers:
        yield f"left alone: {line(str(other.path))}: {line(other.why)}"
    size = megabytes(sum(one.run.bytes for one in going))
    if not going:
        yield "nothing was removed" if stays else "nothing is old enough to go"
    elif act:
        yield f"{len(going)} removed, {size}"
    else:
        yield f"{len(going)} would go, {size}; nothing was touched: --yes removes them"


def megabytes(size: int) -> str:
    """Bytes as people read them: 1 MB is a million."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
