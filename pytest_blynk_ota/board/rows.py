"""A row of the pattern table, and what it makes of a line. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
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


def candidates(lines: Sequence[str], rows: Sequence[Row]) -> Mapping[int, Sequence[Row]]:
    """By the place of a line, the rows that can match it, in their order. Lines that none can
    match, as most are, cost nothing: the needles are looked for in all lines at once."""
    found: dict[int, list[Row]] = {}
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    whole = "\n".join(lines)
    for row in rows:
        for needle in row.needles:
            at = whole.find(needle)
            while at >= 0:
                place = bisect_right(starts, at) - 1
                near = found.setdefault(place, [])
                if not near or near[-1] is not row:
                    near.append(row)
                at = whole.find(needle, starts[place + 1])
        if not row.needles:
            for place in range(len(lines)):
                found.setdefault(place, []).append(row)
    return found


def row(kind: str, pattern: str, build: Build, source: str, *needles: str) -> Row:
    """A row; see :class:`Row` for the arguments."""
    return Row(kind, re.compile(pattern), build, source, needles)
