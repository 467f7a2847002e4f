"""The folder that holds the history: JSON lines, a file for each run, named by the run's id.

Any other ``*.jsonl`` in it is read as well: files of other runners may simply be put there. A file
is written whole or not at all, and no line of it is ever changed or taken away.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from pytest_blynk_ota.errors import EvidenceError, UsageError
from pytest_blynk_ota.evidence.files import NoSuchFile, is_file, read_bytes, write_text
from pytest_blynk_ota.history.line import Flaw, Line, parse_all
from pytest_blynk_ota.history.page import Page, merged, pages

FOLDER = Path(".blynk-ota") / "history"
SUFFIX = ".jsonl"
HALF = ".part"
LOCK = ".lock"
PATIENCE_S = 60.0
"""So long an import waits for another one, in wall seconds."""
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Added:
    """What came of adding a page.

    Attributes:
        new: how many results were not known before.
        grown: whether the file was written.
        aside: where a damaged file was moved that stood in its place.
    """

    new: int
    grown: bool
    aside: Path | None = None


class Book:
    """The history in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> Sequence[Path]:
        """Its files, by name; links and pipes left out."""
        try:
            found = sorted(self.folder.glob(f"*{SUFFIX}"))
        except OSError as error:
            raise EvidenceError(f"{self.folder}: {error.strerror}") from error
        return [path for path in found if is_file(path)]

    def path_of(self, run: str) -> Path:
        """The file of a run; an id that is no safe name of a file is known by its digest."""
        name = run if SAFE_ID.fullmatch(run) else hashlib.sha256(run.encode()).hexdigest()[:32]
        return self.folder / f"{name}{SUFFIX}"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other processes from adding. Raises UsageError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self.folder / LOCK, timeout=PATIENCE_S):
                for half in self.folder.glob(f"*{SUFFIX}{HALF}"):
                    half.unlink()  # of an import that was killed
                yield
                on_disk(self.folder)
        except filelock.Timeout as error:
            raise UsageError(
                f"{self.folder}: waited {PATIENCE_S:g} s for its lock; another process adds to "
                f"this history, and does not come to its end"
            ) from error
        except OSError as error:
            raise UsageError(
                f"{self.folder}: the history cannot be written: {error.strerror or error}"
            ) from error

    def add(self, page: Page) -> Added:
        """Add what is not known yet of a run; it is on the disk when this returns.

        Only inside :meth:`writing`.

        Raises:
            Conflict: the history says otherwise; nothing was written.
            EvidenceError: what stands there cannot be read.
            OSError: it cannot be written.
        """
        path = self.path_of(page.id)
        ours, flaws = self._stored(path, page.id)
        both = merged(ours, page)
        new = len(both.results) - len(ours.results)
        if not new and both.run == ours.run and not flaws:
            return Added(0, False)
        aside = _moved_aside(path) if flaws else None
        half = path.with_name(f"{path.name}{HALF}")
        write_text(half, "".join(f"{line}\n" for line in both.lines()))
        half.replace(path)
        return Added(new, True, aside)

    def _stored(self, path: Path, run: str) -> tuple[Page, Sequence[Flaw]]:
        try:
            lines, flaws = parsed(read_bytes(path))
        except NoSuchFile:
            return Page(run), ()
        found = pages(lines)
        others = [name for name in found if name != run]
        if others:
            raise EvidenceError(f"{path}: holds run {others[0]}, expected {run} alone")
        return found.get(run, Page(run)), flaws


def on_disk(folder: Path) -> None:
    """Have the names of a folder's files on the disk: evidence may be removed next."""
    held = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def parsed(data: bytes) -> tuple[Sequence[Line], Sequence[Flaw]]:
    """The lines of a file, and those that are none."""
    lines: list[Line] = []
    flaws: list[Flaw] = []
    for _, one in parse_all(data):
        if isinstance(one, Flaw):
            flaws.append(one)
        else:
            lines.append(one)
    return lines, flaws


def _moved_aside(path: Path) -> Path:
    """Keep a damaged file under a name that is not read: what it says may be of use to somebody."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            path.replace(aside)
            return aside
    raise EvidenceError(f"{path}: a thousand damaged files of this name are kept; look at them")
