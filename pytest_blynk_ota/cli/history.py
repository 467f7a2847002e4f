"""``blynk-ota history``: what all runs came to: trend, flakes, slowest tests, worst boards."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from pytest_blynk_ota.cli import history_text as text
from pytest_blynk_ota.errors import UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.history.fresh import Fresh
    from pytest_blynk_ota.history.queries import Filter
    from pytest_blynk_ota.report.past import Past

FOLDER = Path(".blynk-ota") / "history"
INCOMPLETE = 4
MAX_NOTES = 10
"""So many notes are printed; a number tells of the others."""
DAYS = re.compile(r"(\d{1,5})d")
PAGE = "history.html"
DAY_S = 86_400
MAX_DAYS = 183
"""A longer history has its curves by week."""
BY = ("day", "week", "month", "run", "firmware")


class Moment(click.ParamType):  # type: ignore[type-arg]  # no class to subscript in click 8.1
    """A day, a time, or how many days ago."""

    name = "WHEN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The moment; days and times without a zone are in UTC."""
        if isinstance(value, datetime):
            return value
        if days := DAYS.fullmatch(value):
            return _now() - timedelta(days=int(days[1]))
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r}: expected 30d, 2026-11-20 or 2026-11-20T02:00", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


WHERE = click.option(
    "--history",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=FOLDER,
    show_default=True,
    help="The folder of the history; ended runs in runs/ beside it are taken in first.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
LIMIT = click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Rows; 0: all."
)
LEAST = click.option(
    "--least",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Results that it takes to be ranked.",
)
FILTERS = (
    click.option("--test", metavar="TEXT", help="Only tests whose id has this in it."),
    click.option("--rig", metavar="NAME", help="Only this rig."),
    click.option("--board", metavar="NAME", help="Only boards of this name."),
    click.option(
        "--rig-kind",
        type=click.Choice(["real", "virtual", "mixed", "unknown"]),
        help="Only runs on boards of this kind.",
    ),
    click.option(
        "--firmware",
        metavar="TEXT",
        help="Only this firmware: New's version, or how a SHA-256 of New or Old begins.",
    ),
    click.option("--since", type=Moment(), help="Only what began then or later."),
    click.option("--until", type=Moment(), help="Only what began before."),
)


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all questions have."""
    for option in (AS_JSON, *reversed(FILTERS), WHERE):
        command = option(command)
    return command


@click.group(
    "history", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@WHERE
@AS_JSON
@click.pass_context
def command(context: click.Context, folder: Path, as_json: bool) -> None:
    """Say what all runs came to: how much there is, or one of the questions below.

    Runs in .blynk-ota/runs are taken in by themselves once they have ended; others by import.

    Example: blynk-ota history flakes --since 30d
    """
    if context.invoked_subcommand is not None:  # what stands before the word counts behind it, too
        given = {"folder": folder, "as_json": as_json}
        context.default_map = {context.invoked_subcommand: given}
        return
    from pytest_blynk_ota.history import queries

    with _opened(folder) as fresh:
        _tell_notes(queries.shortages(fresh.index.db))
        _tell_notes(queries.wrong_clocks(fresh.index.db, _now().timestamp()))
        told = queries.overview(fresh.index.db, queries.Filter())
    if as_json:
        row = {"runs": told.runs, "complete": told.whole, **told.counts.to_json()}
        click.echo(json.dumps(row | {"first": text.iso(told.first), "last": text.iso(told.last)}))
    elif told.counts.tests:
        click.echo("\n".join(text.overview(told)))


@command.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@WHERE
@AS_JSON
def import_(paths: tuple[Path, ...], folder: Path, as_json: bool) -> None:
    """Take runs into the history: once or again, it comes to the same.

    PATHS are folders of runs, .jsonl files of another history, or folders in which such lie, as CI
    leaves them.

    Exit code 0: all are in it; 4: some are not, or not whole: each is named with the reason.

    Example: blynk-ota history import artifacts/
    """
    from pytest_blynk_ota.errors import EvidenceError
    from pytest_blynk_ota.history.book import Book
    from pytest_blynk_ota.history.take import sources_in, take

    sources: dict[Path, None] = {}
    code = 0
    for path in paths:
        try:
            sources |= dict.fromkeys(sources_in(path))
        except EvidenceError as error:
            code = INCOMPLETE
            click.echo(f"blynk-ota: {error}", err=True)
    runs = new = 0
    for one in take(Book(folder), sources) if sources else ():
        _tell_notes(f"{one.source}: {note}" for note in one.notes)
        if one.error or (one.notes and one.source.is_file()):
            code = INCOMPLETE
        if one.error:
            click.echo(f"blynk-ota: {one.error}", err=True)
        else:
            runs, new = runs + 1, new + one.new
        if as_json:
            click.echo(json.dumps(asdict(one) | {"source": str(one.source)}))
    if not as_json:
        are = "run is" if runs == 1 else "runs are"
        click.echo(f"{runs} {are} in {folder}; results that were not known before: {new}")
    sys.exit(code)


@command.command("trend")
@filtered
@click.option(
    "--by", type=click.Choice(BY), default="day", show_default=True, help="What a row is."
)
@LIMIT
def trend(folder: Path, as_json: bool, by: str, limit: int, **which: Any) -> None:
    """Say how results change: firmware failures, rack errors and the median time, by day or run.

    The rate is that of firmware failures among the results that say what the firmware did: rack
    errors are in no rate. The rows are the latest, the oldest first.

    Example: blynk-ota history trend --test test_a_stall --by firmware
    """
    from pytest_blynk_ota.history import queries

    with _asked(folder, which) as (fresh, asked):
        found = queries.trend(fresh.index.db, asked, by)
    rows = found[-limit:] if limit else found
    if as_json:
        for one in rows:
            head = {"period": one.name, "run": one.run, "runs": one.runs}
            click.echo(json.dumps(head | one.counts.to_json() | {"median": one.median}))
    else:
        _tell(list(text.trend(rows, by)), len(found) - len(rows), "earlier")


@command.command("flakes")
@filtered
@LIMIT
def flakes(folder: Path, as_json: bool, limit: int, **which: Any) -> None:
    """Say which tests flip: well once and wrong another time, with the same firmware on the same
    board.

    Rack errors, errors of the test and skips are passed over: they say nothing of the firmware.

    Example: blynk-ota history flakes --since 30d --rig lab1
    """
    from pytest_blynk_ota.history import queries

    with _asked(folder, which) as (fresh, asked):
        found = queries.flakes(fresh.index.db, asked)
    rows = found[:limit] if limit else found
    if as_json:
        for one in rows:
            click.echo(json.dumps(asdict(one) | {"last": text.iso(one.last)}))
    elif found:
        _tell(list(text.flakes(rows)), len(found) - len(rows), "more")
    else:
        click.echo("no test flips")


@command.command("slowest")
@filtered
@LEAST
@LIMIT
def slowest(folder: Path, as_json: bool, least: int, limit: int, **which: Any) -> None:
    """Say which tests take longest, by the median of their wall seconds.

    Example: blynk-ota history slowest --limit 10
    """
    from pytest_blynk_ota.history import queries

    with _asked(folder, which) as (fresh, asked):
        found = queries.slowest(fresh.index.db, asked, least)
    rows = found[:limit] if limit else found
    if as_json:
        for one in rows:
            click.echo(json.dumps(asdict(one)))
    else:
        few = f": no test has {least} results or more; --least 1 takes all" if least > 1 else ""
        _tell(list(text.slowest(rows)), len(found) - len(rows), "more", none=f"no result fits{few}")


@command.command("boards")
@filtered
@LEAST
@LIMIT
def boards(folder: Path, as_json: bool, least: int, limit: int, **which: Any) -> None:
    """Say which boards are worst: by the rate of their rack errors, then of firmware failures.

    Boards with few results stand last. Below a board stands its last rack error.

    Example: blynk-ota history boards --rig lab1 --since 30d
    """
    from pytest_blynk_ota.history import queries

    with _asked(folder, which) as (fresh, asked):
        found = queries.boards(fresh.index.db, asked, least)
    rows = found[:limit] if limit else found
    if as_json:
        for one in rows:
            told = {"rig": one.rig, "board": one.board, **one.counts.to_json()}
            last = {"last_rig_error": text.iso(one.last_rig_error), "message": one.message}
            click.echo(json.dumps(told | last))
    else:
        _tell(list(text.boards(rows)), len(found) - len(rows), "more")


@command.command("page")
@filtered
@LEAST
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page. Default: history.html in the folder of the history.",
)
@click.option(
    "--by",
    type=click.Choice(["day", "week", "month"]),
    help="What a point of the curves is. Default: a day, of more than half a year a week.",
)
def page(
    folder: Path, as_json: bool, least: int, output: Path | None, by: str | None, **which: Any
) -> None:
    """Make one page of it all: curves, flakes, boards, slow tests, each test's latest results.

    It opens from the file and needs no network.

    Example: blynk-ota history page -o night.html --since 90d
    """
    from pytest_blynk_ota.report import past, write

    with _asked(folder, which) as (fresh, asked):
        made = _past(fresh, asked, by, least, about=_about(which))
    path = output or folder / PAGE
    try:
        write.write_whole(path, past.render(made))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name another file with -o") from error
    size, tests, found = path.stat().st_size, len(made.cases), len(made.flakes)
    runs = made.overview.runs
    row = {"page": str(path), "bytes": size, "runs": runs, "tests": tests, "flakes": found}
    flips = "1 flips" if found == 1 else f"{found} flip"
    told = f"{tests} tests of {runs} runs, {flips}: {path} ({size / 1e6:.1f} MB)"
    click.echo(json.dumps(row) if as_json else told)


def _past(fresh: Fresh, asked: Filter, by: str | None, least: int, about: str) -> Past:
    """All that the page shows."""
    from pytest_blynk_ota.history import queries
    from pytest_blynk_ota.report.past import Past

    db = fresh.index.db
    overview = queries.overview(db, asked)
    days = ((overview.last or 0) - (overview.first or 0)) / DAY_S
    by = by or ("day" if days <= MAX_DAYS else "week")
    going = [f"{run} still goes on, and is not counted yet" for run in fresh.going]
    return Past(
        about=about,
        overview=overview,
        by=by,
        periods=queries.trend(db, asked, by),
        flakes=queries.flakes(db, asked),
        boards=queries.boards(db, asked, least),
        slowest=queries.slowest(db, asked, least),
        cases=queries.cases(db, asked),
        notes=[
            *fresh.notes,
            *queries.shortages(db),
            *queries.wrong_clocks(db, _now().timestamp()),
            *going,
        ],
    )


def _about(which: dict[str, Any]) -> str:
    """Which results were asked for, in words; "" if all."""
    told = {name: value for name, value in which.items() if value is not None}
    return ", ".join(
        f"{name.replace('_', ' ')} {value:%Y-%m-%d %H:%M} UTC"
        if isinstance(value, datetime)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in told.items()
    )


@contextmanager
def _opened(folder: Path) -> Iterator[Fresh]:
    """The history, up to date. What is wrong with it is told on standard error."""
    from pytest_blynk_ota.history.book import Book
    from pytest_blynk_ota.history.fresh import fresh

    found = fresh(Book(folder), _now().timestamp())
    try:
        _tell_notes(found.notes)
        _tell_notes(f"{run}: it still goes on, and is not counted yet" for run in found.going)
        if not found.index.db.execute("SELECT 1 FROM tests LIMIT 1").fetchone():
            click.echo(
                f"blynk-ota: {folder} holds no result, and no run beside it has ended; runs of "
                "other places come in with: blynk-ota history import RUN",
                err=True,
            )
        yield found
    finally:
        found.index.close()


@contextmanager
def _asked(folder: Path, which: dict[str, Any]) -> Iterator[tuple[Fresh, Filter]]:
    """The history and a question, whose names are known. Raises UsageError."""
    from pytest_blynk_ota.history import queries

    times = {name: which[name] and which[name].timestamp() for name in ("since", "until")}
    asked = queries.Filter(**which | times)
    with _opened(folder) as found:
        for what in ("test", "rig", "board"):
            given = getattr(asked, what)
            if given is None:
                continue
            known = queries.names(found.index.db, what)
            there = any(given in one for one in known) if what == "test" else given in known
            if known and not there:
                raise UsageError(f"--{what} {given!r}: {_nobody(what, given, known)}")
        yield found, asked


def _nobody(what: str, given: str, known: Sequence[str]) -> str:
    """A typo must not look like a history without flakes."""
    near = get_close_matches(given, [one for one in known if one], n=1, cutoff=0.3)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {what} of that name is in the history{meant}"


def _tell(lines: Sequence[str], left: int, which: str, none: str = "no result fits") -> None:
    if len(lines) == 1:
        click.echo(none, err=True)
        return
    click.echo("\n".join(lines))
    if left:
        click.echo(f"and {left} {which}; --limit 0 shows all")


def _tell_notes(notes: Iterable[str]) -> None:
    found = list(notes)
    for note in found[:MAX_NOTES]:
        click.echo(f"blynk-ota: note: {note}", err=True)
    if len(found) > MAX_NOTES:
        click.echo(f"blynk-ota: note: and {len(found) - MAX_NOTES} more like this", err=True)
