"""One event: what one witness saw, and its JSON line. Pure: no clock, no file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = 1
MAX_SECONDS = 1e10
"""No clock that we stamp events with goes as far."""
MAX_SEQ = 2**53
"""What a browser can count to, and no test ever."""


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
        """Read one line back. Raises ValueError on anything else."""
        return cls.of(json.loads(line))

    @classmethod
    def of(cls, row: Any) -> Event:
        """The event of a line that was parsed. Raises ValueError, which names the field."""
        try:
            seq, t, wall, board = row["seq"], row["t"], row["wall"], row["board"]
            event = cls(seq, t, wall, row["source"], row["kind"], board, row["data"])
            if (
                row["schema"] == SCHEMA
                and type(seq) is int
                and 0 <= seq < MAX_SEQ
                and (type(t) is float or type(t) is int)
                and (type(wall) is float or type(wall) is int)
                and -MAX_SECONDS < t < MAX_SECONDS  # NaN is not
                and -MAX_SECONDS < wall < MAX_SECONDS
                and type(event.source) is str
                and type(event.kind) is str
                and (board is None or type(board) is str)
                and type(event.data) is dict
            ):
                return event
        except (KeyError, TypeError):
            pass
        raise ValueError(_whats_wrong(row))


NUMBER = "a finite number"
FIELDS: Mapping[str, str] = {
    "schema": f"the number {SCHEMA}",
    "seq": "a whole number from 0 on",
    "t": NUMBER,
    "wall": NUMBER,
    "source": "text",
    "kind": "text",
    "board": "text or null",
    "data": "an object",
}


def _whats_wrong(row: Any) -> str:
    """The first field of a line that is not as it must be, in words."""
    if not isinstance(row, dict):
        return f"expected an object with {', '.join(FIELDS)}, got {shown(row)}"
    good: Mapping[str, Any] = {
        "schema": lambda value: value == SCHEMA,
        "seq": lambda value: type(value) is int and 0 <= value < MAX_SEQ,
        "t": _finite,
        "wall": _finite,
        "source": lambda value: isinstance(value, str),
        "kind": lambda value: isinstance(value, str),
        "board": lambda value: value is None or isinstance(value, str),
        "data": lambda value: isinstance(value, dict),
    }
    for name, expected in FIELDS.items():
        if name not in row:
            return f"{name} is missing, expected {expected}"
        if not good[name](row[name]):
            return f"{name}: expected {expected}, got {shown(row[name])}"
    return "it is no event"


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MAX_SECONDS


MAX_SHOWN_CHARS = 60


def shown(value: Any) -> str:
    """A value of a broken file, short enough for a message."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def parse_events(text: str) -> list[Event]:
    """The events of whole JSON lines; empty lines are passed over.

    Raises:
        ValueError: a line is no event; it names the line and the field.
    """
    events, bad = events_in(text.split("\n"))
    if bad:
        raise ValueError(str(bad[0]))
    return events


@dataclass(frozen=True, slots=True)
class NoEvent:
    """A line that is no event.

    Attributes:
        number: which line, from 1.
        why: what was expected, and what was found.
    """

    number: int
    why: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.why}"


def events_in(lines: Sequence[str | bytes]) -> tuple[list[Event], list[NoEvent]]:
    """The events of JSON lines, and the lines that are none; empty lines are passed over.

    Args:
        lines: text, or bytes where they are no UTF-8.
    """
    whole = _at_once([line for line in lines if line and not line.isspace()])
    if whole is not None:
        return whole, []
    events, bad = [], []
    for number, line in enumerate(lines, 1):
        if line and not line.isspace():
            try:
                text = line if isinstance(line, str) else line.decode("utf-8")
                events.append(Event.from_json(text))
            except UnicodeDecodeError as error:
                bad.append(NoEvent(number, f"byte 0x{error.object[error.start]:02x} is no UTF-8"))
            except (ValueError, RecursionError) as error:
                bad.append(NoEvent(number, str(error)))
    return events, bad


def _at_once(lines: Sequence[str | bytes]) -> list[Event] | None:
    """All lines in one call of the parser, which is faster; None if one is bad."""
    texts = [line for line in lines if isinstance(line, str)]
    if len(texts) < len(lines):
        return None
    try:
        rows = json.loads(f"[{','.join(texts)}]")
        return [Event.of(row) for row in rows] if len(rows) == len(lines) else None
    except (ValueError, RecursionError):
        return None
