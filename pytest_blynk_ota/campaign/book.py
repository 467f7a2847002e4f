"""What a campaign has found so far, a JSON line for each plan: after Ctrl-C it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_blynk_ota.errors import EvidenceError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One plan that was run.

    Attributes:
        number: of the plan, from 1 on.
        problem: what was wrong; None: nothing.
        file: the smallest plan that shows the same, as a path; None if there is no problem.
    """

    number: int
    problem: str | None = None
    file: str | None = None


class Book:
    """The file of one campaign: of one seed on one board."""

    def __init__(self, folder: Path, seed: int, board: str) -> None:
        self.folder = folder / f"{seed}-{board}"
        self.path = self.folder / "campaign.jsonl"
        self.entries = list(self._read())

    @property
    def next_number(self) -> int:
        """The first plan that has not been run."""
        return max((entry.number for entry in self.entries), default=0) + 1

    def write(self, entry: Entry) -> None:
        """Add an entry; it is on the disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"schema": SCHEMA} | asdict(entry), ensure_ascii=False) + "\n")
        self.entries.append(entry)

    def keep(self, name: str, text: str) -> Path:
        """Write a file beside it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def _read(self) -> Iterator[Entry]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return
        for at, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return  # cut while it was written: that plan is run once more
            try:
                row = json.loads(line)
                yield Entry(int(row["number"]), row["problem"], row["file"])
            except (ValueError, KeyError, TypeError) as error:
                raise EvidenceError(
                    f"{self.path}, line {at}: expected an entry of a campaign; move the file "
                    "away to begin anew"
                ) from error
