"""What lasts: power off, faults in force, sessions, downloads, boots, operations. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.visible import said
from pytest_blynk_ota.report.words import MAX_LABEL_CHARS, took

Key = tuple[str, Hashable]


@dataclass(slots=True)
class Span:
    """A stretch of time in a lane.

    Attributes:
        start, end: positions in the list of events; ``end`` is None where nothing ends it.
        tone: how it is coloured: ``plain``, ``good``, ``bad`` or ``off``.
    """

    lane: str
    start: int
    text: str
    tone: str = "plain"
    end: int | None = None


def _of(*names: str) -> Callable[[Event], Hashable]:
    """A key from an event's data, and its board."""

    def key(event: Event) -> Hashable:
        return (event.board, *(said(event.data.get(name)) for name in names))

    return key


BEGIN: dict[tuple[str, str], tuple[str, Callable[[Event], Hashable], str, str]] = {
    # name of the stretch, its key, lane and tone
    ("power", "off"): ("power", _of(), "power", "off"),
    ("cloud", "login"): ("session", _of("session"), "cloud", "plain"),
    ("delivery", "response"): ("download", _of("conn"), "downloads", "plain"),
    ("uart", "reset"): ("boot", _of(), "uart", "plain"),
    ("ota", "operation"): ("operation", _of(), "test", "plain"),
    ("ota", "paused"): ("pause", _of(), "test", "off"),
    ("uart", "port_lost"): ("port", _of(), "power", "bad"),
}
END: dict[tuple[str, str], tuple[str, Callable[[Event], Hashable]]] = {
    ("power", "on"): ("power", _of()),
    ("cloud", "closed"): ("session", _of("session")),
    ("delivery", "ended"): ("download", _of("conn")),
    ("uart", "reset"): ("boot", _of()),
    ("power", "off"): ("boot", _of()),
    ("ota", "watch_ended"): ("operation", _of()),
    ("ota", "resumed"): ("pause", _of()),
    ("uart", "port_back"): ("port", _of()),
    ("uart", "port_lost"): ("boot", _of()),  # from here on nobody knows what the board does
}
TEXTS: dict[str, Callable[[Event], str]] = {
    "power": lambda event: "off",
    "session": lambda event: f"session {said(event.data.get('session'), 12)}",
    "download": lambda event: f"HTTP {said(event.data.get('status'), 12)}",
    "boot": lambda event: "loader" if event.data.get("download") else "boot",
    "operation": lambda event: (
        f"{said(event.data.get('op'), 12)} {said(event.data.get('number'), 12)}"
    ),
    "pause": lambda event: "paused",
    "port": lambda event: "port lost",
}
SWITCHES = {"wifi.off": "wifi.on", "ap.off": "ap.on", "network.off": "network.on"}
STANDING = ("link.shaped", "dns.answers")
"""Actions that hold until one of the same name with an empty text."""


CUT_OFF = "cut off"


def cut_short(events: Sequence[Event]) -> frozenset[int]:
    """The downloads whose end says nothing of the device, as numbers of the events that end them:
    after it nothing was heard of the board any more. Only for a test that the rack ended."""
    found: set[int] = set()
    alive: set[str | None] = set()
    for event in reversed(events):
        kind = (event.source, event.kind)
        if kind in SIGNS_OF_LIFE:
            alive.add(event.board)
        elif kind == ("delivery", "ended") and event.data.get("how") != "complete":
            found.update(() if event.board in alive else (event.seq,))
    return frozenset(found)


SIGNS_OF_LIFE = frozenset({
    ("uart", "line"), ("uart", "reset"), ("uart", "firmware"), ("cloud", "login"),
    ("cloud", "heard"), ("cloud", "report"), ("delivery", "request"),
})  # fmt: skip
"""What only a board does that runs."""


def spans(events: Sequence[Event], cut_off: AbstractSet[int] = frozenset()) -> list[Span]:
    """All stretches of a time line; what never ends lasts to its end.

    Args:
        events: in the order of their time.
        cut_off: the ``seq`` of events that end a download through nobody's doing.
    """
    found: list[Span] = []
    open_now: dict[Key, Span] = {}

    def end(key: Key, place: int) -> Span | None:
        span = open_now.pop(key, None)
        if span is not None:
            span.end = place
        return span

    def begin(key: Key, span: Span) -> None:
        end(key, span.start)  # its end was lost: two of one key never last at once
        open_now[key] = span
        found.append(span)

    for place, event in enumerate(events):
        kind = (event.source, event.kind)
        if kind in END:
            name, of = END[kind]
            ended = end((name, of(event)), place)
            if ended is not None:
                _closing_words(ended, event, cut_off)
        if kind in BEGIN:
            name, of, lane, tone = BEGIN[kind]
            refuses = name == "download" and not took(event.data.get("status"))
            begin(
                (name, of(event)),
                Span(lane, place, TEXTS[name](event), "bad" if refuses else tone),
            )
        elif kind == ("delivery", "fault"):
            _fault(event, place, begin, end)
        elif kind == ("test", "action"):
            _action(event, place, begin, end)
        elif kind in (("cloud", "report"), ("uart", "firmware"), ("uart", "app")):
            _name(event, open_now)
    return found


def _closing_words(span: Span, event: Event, cut_off: AbstractSet[int]) -> None:
    """What an end says of the stretch before it."""
    if event.kind == "ended" and event.seq in cut_off:
        span.text, span.tone = f"{span.text}, {CUT_OFF}", "off"
    elif event.kind == "ended":
        how = said(event.data.get("how"), 20)
        by = said(event.data.get("by"), 20)
        span.text = f"{span.text}, {how} by {by}"[:MAX_LABEL_CHARS]
        span.tone = "good" if how == "complete" and span.tone != "bad" else "bad"


def _fault(
    event: Event,
    place: int,
    begin: Callable[[Key, Span], None],
    end: Callable[[Key, int], Span | None],
) -> None:
    key = ("fault", _of("conn", "index")(event))
    if event.data.get("phase") == "over":
        end(key, place)
    else:
        begin(key, Span("faults", place, said(event.data.get("fault"), MAX_LABEL_CHARS), "bad"))


def _action(
    event: Event,
    place: int,
    begin: Callable[[Key, Span], None],
    end: Callable[[Key, int], Span | None],
) -> None:
    what = said(event.data.get("what"), MAX_LABEL_CHARS)
    if what in SWITCHES:
        begin(("action", (event.board, SWITCHES[what])), Span("faults", place, what, "off"))
    elif what in SWITCHES.values():
        end(("action", (event.board, what)), place)
    elif what in STANDING:
        end(("action", (event.board, what)), place)
        text = said(event.data.get("text"), MAX_LABEL_CHARS)
        if text:
            begin(("action", (event.board, what)), Span("faults", place, text, "bad"))


def _name(event: Event, open_now: dict[Key, Span]) -> None:
    """A session and a boot are called by the version that was named in them."""
    version = event.data.get("version")
    if event.kind == "app" and event.data.get("field") == "version":
        version = event.data.get("value")
    if not isinstance(version, str) or not version:
        return
    name = "session" if event.kind == "report" else "boot"
    of = _of("session") if name == "session" else _of()
    span = open_now.get((name, of(event)))
    if span is not None:
        span.text = (
            f"{name} {said(event.data.get('session'), 12)}".strip() + f": {said(version, 24)}"
        )
