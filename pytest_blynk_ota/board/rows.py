"""A row of the pattern table, and what it makes of a line. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Data = Mapping[str, Any]
Build = Callable[[re.Match[str]], Data | None]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that a line says: ``kind`` and ``data`` of the event ``uart/<kind>``."""

    kind: str
    data: Data


@dataclass(frozen=True, slots=True)
class Row:
    """One known text: where it comes from and which mark it makes.

    Attributes:
        needles: literal texts; one of them stands in each line that the pattern matches. None:
            every line is searched.
    """

    kind: str
    pattern: re.Pattern[str]
    build: Build
    source: str
    needles: tuple[str, ...] = ()

    def may_match(self, text: str) -> bool:
        """Whether a line of this text can match."""
        return not self.needles or any(needle in text for needle in self.needles)


def rows_for(text: str, rows: Sequence[Row]) -> list[Row]:
    """The rows that can match a line of this text."""
    return [row for row in rows if row.may_match(text)]


def row(kind: str, pattern: str, build: Build, source: str, *needles: str) -> Row:
    """A row; see :class:`Row` for the arguments."""
    return Row(kind, re.compile(pattern), build, source, needles)
