"""The SQLite file that answers questions: made of the book's lines, and never the truth.

It is made anew when it is missing, of another version or damaged, and when a file of the book is
gone or says something else than before; a new file, or one that grew, is added. Where it cannot be
written it is kept in memory.

Sets of equal lines give equal answers, in whatever order and in however many files they came.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.evidence.files import read_bytes
from pytest_blynk_ota.history.book import Book
from pytest_blynk_ota.history.line import Flaw, ResultLine, RunLine, parse, parse_all, seconds_of
from pytest_blynk_ota.history.page import Conflict, Page

VERSION = 1
"""PRAGMA user_version: any other is made anew."""
NAME = "index.sqlite"
LOCK = ".index.lock"
BUSY_S = 30.0
"""So long a question waits for a process that writes the index, in wall seconds."""
MAX_FLAWS = 20
"""So many flaws of one file are told; a number tells of the others."""
WENT_WELL: Mapping[str, int] = {"passed": 1, "xpassed": 1, "firmware": 0, "xfailed": 0}
"""What the firmware did, whatever the test expected of it. Of rack errors, errors of the test and
skipped tests nobody knows."""

TABLES = """
CREATE TABLE sources(file TEXT PRIMARY KEY, bytes INTEGER, changed INTEGER, flaws TEXT);
CREATE TABLE runs(id INTEGER PRIMARY KEY, run TEXT UNIQUE, rig TEXT, rig_kind TEXT, name TEXT,
  started REAL, finished REAL, complete INTEGER, result TEXT, tests INTEGER, tool TEXT, line TEXT);
CREATE TABLE cases(id INTEGER PRIMARY KEY, test TEXT UNIQUE);
CREATE TABLE boards(id INTEGER PRIMARY KEY, rig TEXT, board TEXT, UNIQUE(rig, board));
CREATE TABLE firmware(id INTEGER PRIMARY KEY, old TEXT, new TEXT, UNIQUE(old, new));
CREATE TABLE images(sha TEXT PRIMARY KEY, version TEXT);
CREATE TABLE tests(run INTEGER, "case" INTEGER, board INTEGER, attempt INTEGER, at REAL, word TEXT,
  seconds REAL, well INTEGER, firmware INTEGER, firmware_failed INTEGER, rig_failed INTEGER,
  worker TEXT, message TEXT, scenarios TEXT,
  PRIMARY KEY(run, "case", board, attempt)) WITHOUT ROWID;
CREATE VIEW results AS SELECT
  runs.run, cases.test, boards.rig, runs.rig_kind, boards.board, attempt, at, word, seconds,
  firmware_failed, rig_failed, well, firmware.old, firmware.new, images.version,
  runs.name, runs.tool, worker, message, scenarios
  FROM tests JOIN runs ON runs.id = tests.run JOIN cases ON cases.id = tests."case"
  JOIN boards ON boards.id = tests.board LEFT JOIN firmware ON firmware.id = tests.firmware
  LEFT JOIN images ON images.sha = firmware.new;
"""
SUBJECTS = 'CREATE INDEX subjects ON tests(firmware, "case", board, at, well)'
"""For flakes, in the order that they are looked for in; made last, so that rows come in quicker."""
INSERT = f"INSERT OR IGNORE INTO tests VALUES ({','.join('?' * 14)})"
SAME = 'SELECT * FROM tests WHERE run = ? AND "case" = ? AND board = ? AND attempt = ?'
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the book as it was read: changed in nanoseconds since 1970."""

    file: str
    bytes: int
    changed: int


class Index:
    """The index of a book, up to date when it was opened.

    Attributes:
        db: for questions.
        notes: what is wrong with files of the book, a sentence each.
        rebuilt: why it was made anew; "" if it was not.
    """

    def __init__(self, book: Book) -> None:
        self.book = book
        self.rebuilt = ""
        self.db = self._opened()
        self.notes = tuple(_notes(self.db))

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def _opened(self) -> sqlite3.Connection:
        """The index as it is, if nothing is new; else one that a single process writes."""
        path = self.book.folder / NAME
        with suppress(sqlite3.Error, OSError):
            db = _connected(path)
            there = _sources(self.book)
            if not _stale(db, there) and not _new(db, there):
                return db
            db.close()
        if not self.book.folder.is_dir():
            return self._in_memory("there is none")
        try:
            with filelock.FileLock(self.book.folder / LOCK, timeout=BUSY_S):
                return self._written(path)
        except filelock.Timeout:
            return self._in_memory("another process writes it, and does not come to its end")
        except (OSError, sqlite3.OperationalError) as error:  # no room, no right to write
            return self._in_memory(f"it cannot be written: {error}")

    def _written(self, path: Path) -> sqlite3.Connection:
        """The index with what is new, or made anew. Only one process at a time comes here: a file
        that is replaced while another writes to it would get that one's journal."""
        there = _sources(self.book)
        try:
            db = _connected(path)
        except (sqlite3.Error, OSError) as error:
            self.rebuilt = f"it cannot be opened: {error}"
        else:
            try:
                self.rebuilt = _stale(db, there) or _grown(db, self.book, there)
                if not self.rebuilt:
                    return db
            except sqlite3.Error as error:
                self.rebuilt = f"it cannot be used: {error}"
            db.close()
        return _built(self.book, path, there)

    def _in_memory(self, why: str) -> sqlite3.Connection:
        self.rebuilt = why
        db = sqlite3.connect(":memory:")
        _fill(db, self.book, _sources(self.book))
        return db


def _connected(path: Path) -> sqlite3.Connection:
    """The stored index. Raises sqlite3.Error or OSError if there is none that can be used."""
    if not path.is_file():
        raise FileNotFoundError("there is none")
    return sqlite3.connect(path, timeout=BUSY_S)


def _sources(book: Book) -> Mapping[str, Source]:
    found = {}
    for path in book.files():
        with suppress(FileNotFoundError):  # gone in the meantime
            told = path.stat()
            found[path.name] = Source(path.name, told.st_size, told.st_mtime_ns)
    return found


def _known(db: sqlite3.Connection) -> Mapping[str, Source]:
    rows = db.execute("SELECT file, bytes, changed FROM sources")
    return {name: Source(name, size, changed) for name, size, changed in rows}


def _new(db: sqlite3.Connection, there: Mapping[str, Source]) -> Sequence[Source]:
    known = _known(db)
    return [source for name, source in there.items() if known.get(name) != source]


def _stale(db: sqlite3.Connection, there: Mapping[str, Source]) -> str:
    """Why an index has to be made anew; "" if it can grow."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        return f"it is of version {version}, expected {VERSION}"
    damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        return f"it is damaged: {damage}"
    for name, source in _known(db).items():
        if name not in there:
            return f"{name} is gone"
        if there[name] != source and there[name].bytes <= source.bytes:
            return f"{name} was changed"
    return ""


def _grown(db: sqlite3.Connection, book: Book, there: Mapping[str, Source]) -> str:
    """Add what is new, all of it or nothing; why the index has to be made anew, "" if it need not
    be: a line that was taken before says something else now."""
    known, new = _known(db), _new(db, there)
    if not new:
        return ""
    with db:
        db.execute("BEGIN IMMEDIATE")
        loader = _Loader(db)
        for source in new:
            loader.load(book.folder / source.file, source)
            if loader.conflicts and source.file in known:
                db.rollback()
                return f"{source.file} was changed"
    return ""


def _built(book: Book, path: Path, there: Mapping[str, Source]) -> sqlite3.Connection:
    """A new index in the place of the old one. Raises OSError or sqlite3.OperationalError."""
    half = path.with_name(f"{NAME}.part")
    half.unlink(missing_ok=True)
    with closing(sqlite3.connect(half)) as db:
        db.execute("PRAGMA journal_mode = OFF")  # nobody sees it before it is whole
        db.execute("PRAGMA synchronous = OFF")
        _fill(db, book, there)
    # The old journal would be played into the new file; without the old file it is no index.
    path.unlink(missing_ok=True)
    path.with_name(f"{NAME}-journal").unlink(missing_ok=True)
    half.replace(path)
    return sqlite3.connect(path, timeout=BUSY_S)


def _fill(db: sqlite3.Connection, book: Book, there: Mapping[str, Source]) -> None:
    db.executescript(TABLES)
    with db:
        loader = _Loader(db)
        for source in there.values():
            loader.load(book.folder / source.file, source)
        db.execute(SUBJECTS)
    db.execute(f"PRAGMA user_version = {VERSION}")


class _Loader:
    """Puts lines into an index, inside one transaction.

    Attributes:
        conflicts: how many lines say something else than one that is there.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.conflicts = 0
        self._runs = _Names(db, "runs", "run")
        self._cases = _Names(db, "cases", "test")
        self._boards = _Names(db, "boards", "rig", "board")
        self._firmware = _Names(db, "firmware", "old", "new")

    def load(self, path: Path, source: Source) -> None:
        """Take all lines of a file."""
        rows: list[Row] = []
        numbers: list[int] = []
        flaws: list[Flaw] = []
        try:
            data = read_bytes(path)
        except EvidenceError as error:
            data = b""
            flaws.append(Flaw(0, str(error)))
        for number, line in parse_all(data):
            if isinstance(line, ResultLine):
                rows.append(self._row(line))
                numbers.append(number)
            elif isinstance(line, RunLine):
                flaws += self._take_run(line, number)
            else:
                flaws.append(line)
        flaws += self._insert(rows, numbers)
        told = json.dumps([[flaw.line, flaw.text] for flaw in flaws])
        values = (source.file, source.bytes, source.changed, told)
        self.db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", values)

    def _row(self, line: ResultLine) -> Row:
        run, test, rig, board, attempt, at, word, seconds, old, new, *rest = line
        worker, message, scenarios = rest
        return (
            self._runs[run,],
            self._cases[test,],
            self._boards[rig, board],
            attempt,
            seconds_of(at),
            word,
            seconds,
            WENT_WELL.get(word),
            self._firmware[old, new] if old or new else None,
            word == "firmware",
            word == "rig",
            worker,
            message,
            json.dumps(scenarios) if scenarios else None,
        )

    def _insert(self, rows: Sequence[Row], numbers: Sequence[int]) -> Iterator[Flaw]:
        """Insert rows; a flaw for each whose place another one has that says something else."""
        before = self.db.total_changes
        self.db.executemany(INSERT, rows)
        if self.db.total_changes - before == len(rows):
            return
        for number, row in zip(numbers, rows, strict=True):
            there = self.db.execute(SAME, row[:4]).fetchone()
            if there != row:
                self.conflicts += 1
                yield Flaw(number, "another line of the same run, test, board and try differs")

    def _take_run(self, line: RunLine, number: int) -> Iterator[Flaw]:
        place = self._runs[line.run,]
        stored = self.db.execute("SELECT line FROM runs WHERE id = ?", (place,)).fetchone()[0]
        page = Page(line.run)
        try:
            for one in ([parse(stored.encode())] if stored else []) + [line]:
                page.add(one)
        except Conflict as error:
            self.conflicts += 1
            yield Flaw(number, str(error))
            return
        assert page.run is not None
        self._write_run(place, page.run)

    def _write_run(self, place: int, line: RunLine) -> None:
        finished = seconds_of(line.finished) if line.finished else None
        told = (line.rig, line.rig_kind, line.name, seconds_of(line.started), finished)
        more = (line.complete, line.result, line.tests, line.tool, line.to_json())
        self.db.execute(
            "UPDATE runs SET rig = ?, rig_kind = ?, name = ?, started = ?, finished = ?, "
            "complete = ?, result = ?, tests = ?, tool = ?, line = ? WHERE id = ?",
            (*told, *more, place),
        )
        self.db.executemany(
            "INSERT INTO images VALUES (?, ?) ON CONFLICT(sha) DO UPDATE SET version = "
            "coalesce(max(version, excluded.version), version, excluded.version)",
            line.images.items(),
        )


class _Names(dict[tuple[str | None, ...], int]):
    """The numbers of names in a table, which grows by what is asked for."""

    def __init__(self, db: sqlite3.Connection, table: str, *columns: str) -> None:
        told = ", ".join(columns)
        super().__init__(
            (tuple(names), place) for place, *names in db.execute(f"SELECT id, {told} FROM {table}")
        )
        self._db = db
        self._insert = f"INSERT INTO {table}({told}) VALUES ({', '.join('?' for _ in columns)})"

    def __missing__(self, names: tuple[str | None, ...]) -> int:
        place = self._db.execute(self._insert, names).lastrowid
        assert place is not None
        self[names] = place
        return place


def _notes(db: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with the files, by file and line."""
    for file, told in db.execute("SELECT file, flaws FROM sources WHERE flaws != '[]'"):
        flaws = json.loads(told)
        for line, text in flaws[:MAX_FLAWS]:
            yield f"{file}:{line}: {text}" if line else text
        if len(flaws) > MAX_FLAWS:
            yield f"{file}: {len(flaws) - MAX_FLAWS} more lines are no lines of a history"
