"""A test's events as columns: few bytes in the page, and nothing that has to be parsed twice.

Times are whole ticks of 0.1 ms of the host since the first event; the page multiplies them by the
rig's speed. Texts that repeat are stored once.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.spans import CUT_OFF, spans
from pytest_blynk_ota.report.story import number
from pytest_blynk_ota.report.visible import line, said
from pytest_blynk_ota.report.words import (
    BAD,
    GOOD,
    LANES,
    WENT_WRONG,
    Words,
    in_words,
    label,
    lane,
    tones,
)

TICKS_PER_S = 10_000
PACK_FROM_BYTES = 1024
"""Smaller texts gain nothing from packing."""
LEVEL = 6
PROGRESS = ("delivery", "progress")
METRIC = ("uart", "metric")
CUT_OFF_LINE = (
    "connection {conn}: cut off as the rack failed, {acked} of {announced} bytes acknowledged"
)
MAX_METRICS = 12
MAX_VALUE = 1e15
MAX_WALL_S = 1e11
"""Later than any clock says; a browser can write it as a date."""


class Table:
    """Values that repeat, each with its number."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


def columns(
    events: Sequence[Event],
    speed: float,
    cited: Iterable[int],
    cut_off: AbstractSet[int] = frozenset(),
) -> dict[str, Any]:
    """Everything that the page draws of one test; JSON values only.

    Args:
        events: in the order of their time.
        speed: device seconds in a second of the host.
        cited: the ``seq`` of events that reasons and findings rest on.
        cut_off: the ``seq`` of events that end a download through nobody's doing.
    """
    texts, kinds, boards = Table(), Table(), Table()
    start = events[0].t if events else 0.0
    lanes = [lane(event) for event in events]
    ticks = [round((event.t - start) * TICKS_PER_S) for event in events]
    several = len({event.board for event in events if event.board}) > 1
    colours = [
        "" if one.seq in cut_off else now for one, now in zip(events, tones(events), strict=True)
    ]
    labels = [
        [place, _on(event, several) + found[0], found[1]]
        for place, event in enumerate(events)
        if (found := (CUT_OFF, WENT_WRONG - 1) if event.seq in cut_off else label(event))
    ]
    return {
        "speed": speed,
        "ticks": _steps(ticks),
        "seq": _steps([event.seq for event in events]),
        "kind": [
            kinds((one.source, one.kind, where)) for one, where in zip(events, lanes, strict=True)
        ],
        "board": [boards(event.board) for event in events],
        "text": [_text(event, texts, cut_off) for event in events],
        "kinds": [
            [line(source, 60), line(kind, 60), LANES.index(where)]
            for source, kind, where in kinds.numbers
        ],
        "boards": [None if name is None else line(name, 60) for name in boards.numbers],
        "texts": list(texts.numbers),
        "labels": labels,
        "bad": [place for place, found in enumerate(colours) if found == BAD],
        "good": [place for place, found in enumerate(colours) if found == GOOD],
        "wall": _wall(events),
        "spans": [
            [
                LANES.index(span.lane),
                span.start,
                span.end,
                _on(events[span.start], several) + span.text,
                span.tone,
            ]
            for span in spans(events, cut_off)
        ],
        "progress": _progress(events),
        "metrics": _metrics(events),
        "cited": sorted(set(cited)),
    }


def _on(event: Event, several: bool) -> str:
    """Which board it is about, where there are several."""
    return f"{line(event.board, 24)}: " if several and event.board else ""


def _wall(events: Sequence[Event]) -> float | None:
    """When the first event was seen, by the host's clock; None if the evidence does not say it."""
    seconds = number(events[0].wall) if events else None
    return seconds if seconds is not None and 0 < seconds < MAX_WALL_S else None


def _text(event: Event, texts: Table, cut_off: AbstractSet[int]) -> int:
    """The number of the event's line; -1 where the page makes it from the curve."""
    if event.seq in cut_off:
        return texts(line(CUT_OFF_LINE.format_map(Words(event.data))))
    return -1 if (event.source, event.kind) == PROGRESS else texts(in_words(event))


def _steps(values: Sequence[int]) -> list[int]:
    """Each value as its distance from the one before: small numbers, which pack well."""
    return [*values[:1], *(after - before for before, after in pairwise(values))]


def _progress(events: Sequence[Event]) -> dict[str, Any]:
    """The curve of bytes: for each progress event its place, download, written and acknowledged.

    ``announced`` has the length that each download's headers promised, by its number.
    """
    conns = Table()
    announced: dict[int, int] = {}
    rows: list[tuple[int, int, int, int]] = []
    for place, event in enumerate(events):
        if event.source != "delivery":
            continue
        data = event.data
        if event.kind == "response" and (length := _count(data.get("announced"))) is not None:
            announced[conns(said(data.get("conn"), 40))] = length
        if event.kind in ("progress", "ended"):
            written, acked = _count(data.get("written")), _count(data.get("acked"))
            rows.append((place, conns(said(data.get("conn"), 40)), written or 0, acked or 0))
    return {
        "place": _steps([row[0] for row in rows]),
        "download": [row[1] for row in rows],
        "written": _steps([row[2] for row in rows]),
        "acked": _steps([row[3] for row in rows]),
        "conns": list(conns.numbers),
        "announced": [announced.get(number) for number in conns.numbers.values()],
    }


def _count(value: Any) -> int | None:
    fine = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if fine else None


def _metrics(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The curves of the metrics, by name; more names than can be shown are left out."""
    found: dict[str, dict[str, Any]] = {}
    for place, event in enumerate(events):
        if (event.source, event.kind) != METRIC:
            continue
        value = event.data.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not abs(value) < MAX_VALUE:  # NaN is not less, either
            continue
        name, unit = said(event.data.get("name"), 40), said(event.data.get("unit"), 12)
        if name not in found and len(found) == MAX_METRICS:
            continue
        row = found.setdefault(name, {"name": name, "unit": unit, "place": [], "value": []})
        row["place"].append(place)
        row["value"].append(value)
    return list(found.values())


def pack(data: Mapping[str, Any], *, plain: bool = False) -> tuple[str, str]:
    """The data for a script element, and how it is written: ``json`` or ``deflate``.

    Neither form can end the element that it stands in, or open another.
    """
    text = as_script(data)
    if plain or len(text) < PACK_FROM_BYTES:
        return text, "json"
    packed = zlib.compress(text.encode("ascii"), LEVEL)
    return base64.b64encode(packed).decode("ascii"), "deflate"


def as_script(data: Any) -> str:
    """JSON that is safe inside a script element: no ``<`` and nothing that is not ASCII."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c")
