"""What a history is asked: trend, flakes, slowest tests, worst boards. SQL over the index.

A rack error and an error of the test say nothing of the firmware, and are counted apart: no rate of
firmware failures has them above or below its line.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

LEAST = 5
"""A board or a test with fewer results is not ranked: one failure of one is no rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which results a question is about; all of what is given must hold.

    Attributes:
        test: a part of pytest's node id.
        rig, board: names.
        rig_kind: real, virtual, mixed or unknown.
        firmware: the version of New, or the beginning of its SHA-256 or of Old's.
        since, until: seconds since 1970 between which the test began, the second left out.
    """

    test: str | None = None
    rig: str | None = None
    board: str | None = None
    rig_kind: str | None = None
    firmware: str | None = None
    since: float | None = None
    until: float | None = None


CONDITIONS: Mapping[str, str] = {
    "test": 't."case" IN (SELECT id FROM cases WHERE instr(test, :test))',
    "rig": "t.board IN (SELECT id FROM boards WHERE rig = :rig)",
    "board": "t.board IN (SELECT id FROM boards WHERE board = :board)",
    "rig_kind": "t.run IN (SELECT id FROM runs WHERE rig_kind = :rig_kind)",
    "firmware": (
        "t.firmware IN (SELECT f.id FROM firmware f LEFT JOIN images i ON i.sha = f.new WHERE "
        "i.version = :firmware OR substr(f.new, 1, length(:firmware)) = :firmware "
        "OR substr(f.old, 1, length(:firmware)) = :firmware)"
    ),
    "since": "t.at >= :since",
    "until": "t.at < :until",
}


def _asked(which: Filter) -> tuple[str, dict[str, Any]]:
    """The conditions of a question, and their values."""
    values = {name: value for name in CONDITIONS if (value := getattr(which, name)) is not None}
    return " AND ".join(["1", *(CONDITIONS[name] for name in values)]), values


COUNTS = (
    "count(*) AS tests, sum(t.well IS NOT NULL) AS judged, "
    "sum(t.firmware_failed) AS firmware, sum(t.rig_failed) AS rig, "
    "sum(t.word = 'error') AS error, sum(t.word = 'skipped') AS skipped"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Results by whose they are.

    Attributes:
        tests: all of them.
        judged: those that say what the firmware did.
        firmware: its failures.
        rig: errors of the rack.
        error: errors of the tests themselves.
        skipped: those that did not run.
    """

    tests: int
    judged: int
    firmware: int
    rig: int
    error: int
    skipped: int

    @property
    def firmware_rate(self) -> float | None:
        """Failures among what was judged; None if nothing was."""
        return self.firmware / self.judged if self.judged else None

    @property
    def rig_rate(self) -> float | None:
        """Rack errors among all that ran; None if nothing did."""
        ran = self.tests - self.skipped
        return self.rig / ran if ran else None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "tests": self.tests,
            "judged": self.judged,
            "firmware": self.firmware,
            "rig": self.rig,
            "error": self.error,
            "skipped": self.skipped,
            "firmware_rate": self.firmware_rate,
            "rig_rate": self.rig_rate,
        }


NOTHING = Counts(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Overview:
    """A history in one look: times in seconds since 1970, None if there is nothing."""

    runs: int
    whole: int
    first: float | None
    last: float | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class Period:
    """Results of a day, a week, a run, …

    Attributes:
        name: of the period: its first day; a run's start; a firmware's version and SHA-256.
        run: the id of the run, where periods are runs.
        runs: how many runs it has results of.
        first: when its first test began, in seconds since 1970.
        median: seconds of the middle one of what was judged; None if nothing was.
    """

    name: str
    run: str | None
    runs: int
    counts: Counts
    median: float | None
    first: float


@dataclass(frozen=True, slots=True)
class Flake:
    """A test that came out in both ways on the same board with the same firmware.

    Attributes:
        flips: how often a result was another than the one before.
        well, wrong: how often the firmware did as it should, and how often not.
        last: when it last flipped, in seconds since 1970.
    """

    test: str
    rig: str
    board: str
    old: str | None
    new: str | None
    version: str | None
    well: int
    wrong: int
    flips: int
    last: float

    @property
    def firmware(self) -> str:
        """Both images, to be told from others."""
        return f"{self.new} {self.old}"


@dataclass(frozen=True, slots=True)
class Slow:
    """How long a test takes, in wall seconds, where the firmware was judged."""

    test: str
    results: int
    median: float
    longest: float
    total: float


@dataclass(frozen=True, slots=True)
class Board:
    """A board, and how its tests came out."""

    rig: str
    board: str
    counts: Counts
    last_rig_error: float | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """A test with its latest results, the oldest first: what they came to, and when."""

    test: str
    counts: Counts
    median: float | None
    words: Sequence[str]
    at: Sequence[float]


def overview(db: sqlite3.Connection, which: Filter) -> Overview:
    """How much there is."""
    where, values = _asked(which)
    row = db.execute(
        f"SELECT count(DISTINCT t.run), count(DISTINCT iif(r.complete, t.run, NULL)), min(t.at), "
        f"max(t.at), {COUNTS} FROM tests t JOIN runs r ON r.id = t.run WHERE {where}",
        values,
    ).fetchone()
    runs, whole, first, last, *counts = row
    return Overview(runs, whole, first, last, _counts(counts))


def _counts(row: Sequence[int | None]) -> Counts:
    return Counts(*(number or 0 for number in row))


PERIODS: Mapping[str, str] = {
    "day": "date(t.at, 'unixepoch')",
    "week": "date(t.at, 'unixepoch', 'weekday 0', '-6 days')",
    "month": "strftime('%Y-%m', t.at, 'unixepoch')",
    "run": "t.run",
    "firmware": (
        "coalesce((SELECT coalesce(f.new, f.old) FROM firmware f WHERE f.id = t.firmware), '')"
    ),
}
"""By which word what results are put together; a week begins on Monday. All in UTC."""


def trend(db: sqlite3.Connection, which: Filter, by: str = "day") -> Sequence[Period]:
    """Results by time, the oldest first.

    Args:
        db: the index.
        which: the results.
        by: a key of ``PERIODS``.
    """
    where, values = _asked(which)
    rows = db.execute(
        f"WITH t AS MATERIALIZED (SELECT t.*, {PERIODS[by]} AS period FROM tests t WHERE {where}), "
        f"middle AS (SELECT period, seconds, row_number() OVER each AS n, "
        f"count(*) OVER (PARTITION BY period) AS many FROM t WHERE well IS NOT NULL "
        f"WINDOW each AS (PARTITION BY period ORDER BY seconds)), "
        f"medians AS (SELECT period, avg(seconds) AS median FROM middle "
        f"WHERE n IN ((many + 1) / 2, many / 2 + 1) GROUP BY period) "
        f"SELECT t.period, count(DISTINCT t.run), {COUNTS}, "
        f"median, min(t.at) AS first FROM t LEFT JOIN medians USING (period) "
        f"GROUP BY t.period",
        values,
    ).fetchall()
    name = NAMES.get(by, _as_it_is)
    found = [
        Period(*name(db, period), runs, _counts(counts), median, first)
        for period, runs, *counts, median, first in rows
    ]
    return sorted(found, key=lambda one: (one.first, one.name, one.run or ""))


def _as_it_is(db: sqlite3.Connection, period: Any) -> tuple[str, str | None]:
    return str(period), None


def _name_of_run(db: sqlite3.Connection, period: Any) -> tuple[str, str | None]:
    row = db.execute("SELECT coalesce(name, run), run FROM runs WHERE id = ?", (period,)).fetchone()
    return str(row[0]), str(row[1])


def _name_of_firmware(db: sqlite3.Connection, period: Any) -> tuple[str, str | None]:
    row = db.execute("SELECT version FROM images WHERE sha = ?", (period,)).fetchone()
    return firmware_name(row[0] if row else None, period), None


NAMES = {"run": _name_of_run, "firmware": _name_of_firmware}


def firmware_name(version: str | None, sha: str | None) -> str:
    """A firmware as people tell it from others: its version, and how its SHA-256 begins."""
    return " ".join(part for part in (version, (sha or "")[:8]) if part) or "not known"


def flakes(db: sqlite3.Connection, which: Filter) -> Sequence[Flake]:
    """Tests whose result flips, with the same firmware on the same board, most flips first."""
    where, values = _asked(which)
    where = f"t.well IS NOT NULL AND t.firmware IS NOT NULL AND {where}"
    rows = db.execute(
        f'WITH both AS MATERIALIZED (SELECT t.firmware, t."case", t.board FROM tests t '
        f'WHERE {where} GROUP BY t.firmware, t."case", t.board HAVING min(well) < max(well)) '
        f'SELECT t.firmware, t."case", t.board, t.at, t.well '
        f'FROM both CROSS JOIN tests t USING (firmware, "case", board) WHERE {where} '
        f'ORDER BY t.firmware, t."case", t.board, t.at, t.well',
        values,
    )
    said = _Said(db)
    found = [
        Flake(*said(*subject), **_flips([row[3:] for row in turns]))
        for subject, turns in groupby(rows, itemgetter(0, 1, 2))
    ]
    return sorted(found, key=lambda one: (-one.flips, one.test, one.rig, one.board, one.firmware))


class _Said:
    """The names behind numbers: of a firmware, a test and a board."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._firmware = {
            number: names
            for number, *names in db.execute(
                "SELECT id, old, new, version FROM firmware LEFT JOIN images ON sha = new"
            )
        }
        self._cases = dict(db.execute("SELECT id, test FROM cases"))
        self._boards = {number: names for number, *names in db.execute("SELECT * FROM boards")}

    def __call__(self, firmware: int, case: int, board: int) -> tuple[Any, ...]:
        return (self._cases[case], *self._boards[board], *self._firmware[firmware])


def _flips(turns: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """What results at certain times say together: 1 is well, 0 is wrong."""
    times = [at for (_, one), (at, other) in pairwise(turns) if one != other]
    well = sum(one for _, one in turns)
    return {"well": well, "wrong": len(turns) - well, "flips": len(times), "last": times[-1]}


def slowest(db: sqlite3.Connection, which: Filter, least: int = 1) -> Sequence[Slow]:
    """Tests by the median of their time, the slowest first; those with ``least`` results."""
    where, values = _asked(which)
    rows = db.execute(
        f'WITH each AS (SELECT "case", seconds, row_number() OVER (PARTITION BY "case" '
        f'ORDER BY seconds) AS n, count(*) OVER (PARTITION BY "case") AS many '
        f"FROM tests t WHERE t.well IS NOT NULL AND {where}) "
        f"SELECT c.test, many, "
        f"avg(iif(n IN ((many + 1) / 2, many / 2 + 1), seconds, NULL)) AS median, "
        f'max(seconds), sum(seconds) FROM each JOIN cases c ON c.id = "case" WHERE many >= :least '
        f'GROUP BY "case" ORDER BY median DESC, c.test',
        {**values, "least": least},
    )
    return [Slow(*row) for row in rows]


def boards(db: sqlite3.Connection, which: Filter, least: int = 1) -> Sequence[Board]:
    """Boards by the rate of their rack errors, then of their firmware failures, the worst first.

    Those with fewer results than ``least`` stand last: they are told, but not ranked.
    """
    where, values = _asked(which)
    rows = db.execute(
        f"SELECT b.rig, b.board, {COUNTS}, max(iif(t.rig_failed, t.at, NULL)) "
        f"FROM tests t JOIN boards b ON b.id = t.board WHERE {where} AND b.board != '' "
        f"GROUP BY t.board",
        values,
    ).fetchall()
    found = [
        Board(rig, board, _counts(counts), last, _said(db, rig, board, last))
        for rig, board, *counts, last in rows
    ]
    return sorted(found, key=lambda one: (one.counts.judged < least, *_badness(one)))


def _badness(board: Board) -> tuple[float, float, str, str]:
    counts = board.counts
    return -(counts.rig_rate or 0), -(counts.firmware_rate or 0), board.rig, board.board


def _said(db: sqlite3.Connection, rig: str, board: str, at: float | None) -> str | None:
    """What the last rack error of a board said."""
    if at is None:
        return None
    row = db.execute(
        "SELECT min(message) FROM tests WHERE rig_failed AND at = ? AND "
        "board = (SELECT id FROM boards WHERE rig = ? AND board = ?)",
        (at, rig, board),
    ).fetchone()
    return str(row[0]) if row and row[0] is not None else None


def cases(db: sqlite3.Connection, which: Filter, latest: int = 30) -> Sequence[Case]:
    """Each test with its latest results, by name."""
    where, values = _asked(which)
    base = f"SELECT * FROM tests t WHERE {where}"
    rows = db.execute(
        f'WITH t AS MATERIALIZED ({base}), ranked AS (SELECT "case", word, at, row_number() OVER '
        f'(PARTITION BY "case" ORDER BY at DESC, word DESC) AS n FROM t), '
        f'strips AS (SELECT "case", json_group_array(json_array(n, word, at)) AS strip '
        f'FROM ranked WHERE n <= :latest GROUP BY "case") '
        f'SELECT c.test, {COUNTS}, strip FROM t JOIN cases c ON c.id = t."case" '
        f'JOIN strips s ON s."case" = t."case" GROUP BY t."case" ORDER BY c.test',
        {**values, "latest": latest},
    )
    medians = {one.test: one.median for one in slowest(db, which)}
    found = []
    for test, *counts, strip in rows:
        turns = sorted(json.loads(strip), reverse=True)
        words, at = [row[1] for row in turns], [row[2] for row in turns]
        found.append(Case(test, _counts(counts), medians.get(test), words, at))
    return found


def shortages(db: sqlite3.Connection) -> Sequence[str]:
    """Runs of which not all is here, a sentence each: a file was cut between two lines."""
    rows = db.execute(
        "SELECT r.run, r.tests, (SELECT count(*) FROM tests t WHERE t.run = r.id) AS here "
        "FROM runs r WHERE r.tests IS NULL OR here != r.tests ORDER BY r.run"
    )
    return [
        f"run {run}: its own line is missing"
        if said is None
        else f"run {run}: {here} of its {said} results are here"
        for run, said, here in rows
    ]


SLACK_S = 3600.0
"""Within a run no clock of ours is off by more, in seconds."""
NO_EARLIER_S = 1_577_836_800.0
"""2020: no run of ours is older; a host without a set clock says 1970."""


def wrong_clocks(db: sqlite3.Connection, now: float) -> Sequence[str]:
    """Runs whose times cannot be right, a sentence each: their place in a trend is not right, too.

    Args:
        db: the index.
        now: seconds since 1970.
    """
    rows = db.execute(
        "SELECT r.run, r.started, r.finished, min(t.at), max(t.at) FROM runs r "
        "JOIN tests t ON t.run = r.id GROUP BY r.id ORDER BY r.run"
    )
    told = ((run, _whats_wrong(now, *times)) for run, *times in rows)
    return [f"run {run}: a clock was wrong: {what}" for run, what in told if what]


def _whats_wrong(
    now: float, started: float | None, finished: float | None, first: float, last: float
) -> str:
    begun = first if started is None else started
    ended = last if finished is None else finished
    if min(begun, first) < NO_EARLIER_S:
        return "it began before 2020"
    if max(ended, last) > now + SLACK_S:
        return "it ended later than now"
    if ended < begun:
        return "it ended before it began"
    if first < begun - SLACK_S or last > ended + SLACK_S:
        return "a test began outside of it"
    return ""


def names(db: sqlite3.Connection, what: str) -> Sequence[str]:
    """All names of a kind: ``test``, ``rig``, ``board``."""
    table = "cases" if what == "test" else "boards"
    return [row[0] for row in db.execute(f"SELECT DISTINCT {what} FROM {table} ORDER BY 1")]
