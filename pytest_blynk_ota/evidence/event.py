"""One event: what one witness saw, and its JSON line. Pure: no clock, no file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one witness saw.

    Attributes:
        seq: position in its timeline, from 1.
        t: monotonic host seconds.
        wall: seconds since the epoch.
        source: the witness: ``uart``, ``cloud``, ``delivery``, ``power``, ``flash``, ``rig``,
            ``ota`` or ``test``.
        kind: what happened; the vocabulary is in ``docs/reference/events.md``.
        board: name of the board in the rig file, or None where it is not known.
        data: the rest, JSON values only.
    """

    seq: int
    t: float
    wall: float
    source: str
    kind: str
    board: str | None
    data: Mapping[str, Any]

    def to_json(self) -> str:
        """One JSON line, without the line end."""
        head = {
            "schema": SCHEMA,
            "seq": self.seq,
            "t": round(self.t, 6),
            "wall": round(self.wall, 6),
            "source": self.source,
            "kind": self.kind,
            "board": self.board,
        }
        return json.dumps(head | {"data": dict(self.data)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> Event:
        """Read one line back. Raises ValueError or KeyError on anything else."""
        row = json.loads(line)
        if row["schema"] != SCHEMA:
            raise ValueError(f"schema {row['schema']}, expected {SCHEMA}")
        return cls(
            row["seq"], row["t"], row["wall"], row["source"], row["kind"], row["board"], row["data"]
        )


def read_events(lines: Iterable[str]) -> tuple[list[Event], int]:
    """Read JSON lines; returns the events and how many trailing bytes-lines were torn.

    A killed run may leave one half line at the end; that one is counted, not an error. Anything
    else that does not parse raises ValueError with its line number.
    """
    events: list[Event] = []
    rows = [line for line in lines if line.strip()]
    for number, line in enumerate(rows, 1):
        try:
            events.append(Event.from_json(line))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(rows) and not line.endswith("\n"):
                return events, 1
            raise ValueError(f"line {number}: {error}") from error
    return events, 0
