"""What each witness saw of one board, as plain records: the raw side of a story.

Collecting does not depend on the order in which different witnesses' events arrive; all meaning
is given afterwards, by their times (story.py). Pure, and cheap enough to follow a live board.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.evidence.event import Event

LONG_AGO = float("-inf")
"""Begin of what was there before the evidence starts."""


@dataclass(slots=True)
class Banner:
    """One ROM banner.

    Attributes:
        came: when it may have come already, where a busy host read it at ``t``.
    """

    t: float
    seq: int
    code: int | None
    cause: str
    download: bool
    came: float


@dataclass(slots=True)
class Act:
    """Something that the test or the rig did: ``run``, ``loader``, ``off`` or ``on``."""

    t: float
    seq: int
    what: str
    by: str


@dataclass(frozen=True, slots=True)
class Report:
    """One info of the device that was read as a version report; "" for what it did not name."""

    t: float
    seq: int
    session: int
    version: str
    build: str


@dataclass(slots=True)
class Session:
    """One TCP connection to the cloud. Times are None until seen.

    Attributes:
        opened: when a server of the rig noticed it.
        came: when it may have come already, where the host was too busy to notice.
        said: when it said something, at the earliest.
        spoke: when it last said something: the latest of ``said``.
        mine: whether an event of it named the board; before its login nobody knows whose it is.
    """

    number: int
    opened: float
    seq: int
    peer: str = ""
    came: float = LONG_AGO
    login: float | None = None
    reports: list[Report] = field(default_factory=list)
    said: list[float] = field(default_factory=list)
    spoke: float = LONG_AGO
    closed: float | None = None
    closed_by: str = ""
    closed_why: str = ""
    closed_seq: int = 0
    mine: bool = False


@dataclass(frozen=True, slots=True)
class Fired:
    """One fault taking effect."""

    index: int
    text: str
    seq: int
    t: float = LONG_AGO


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of the file that an answer says it holds: ``first`` up to ``stop`` of ``total``."""

    first: int
    stop: int
    total: int | None


@dataclass(slots=True)
class Request:
    """One request to the firmware server and its answer."""

    operation: int
    conn: int
    offer: str
    attempt: int
    method: str
    t: float
    seq: int
    came: float
    """When it may have come already, where a busy host noticed it at ``t``."""
    status: int | None = None
    announced: int | None = None
    written: int = 0
    acked: int = 0
    wire: int = 0
    """Bytes of the whole answer, head and framing among them, that were acknowledged."""
    moved: float = 0.0
    """When bytes were last seen to move, sent or acknowledged."""
    heard: float = 0.0
    """When the device last gave a sign of life in it: it asked, or acknowledged more."""
    waiting: float = 0.0
    """Since when bytes have waited for an acknowledgement, if any do."""
    held_back: bool = False
    """Whether what is not acknowledged was last seen to be with us still: the device takes none."""
    part: Part | None = None
    """What its Content-Range says; None: the whole file, or nothing is known of it."""
    page: bool | None = None
    """Whether a page stands in place of the file; None: not said."""
    due: Mapping[int, int | None] = field(default_factory=dict)
    """Places of the faults that it is to fire, and the body byte after which each is late."""
    fired: list[Fired] = field(default_factory=list)
    over: set[int] = field(default_factory=set)
    ended: float | None = None
    ended_first: float | None = None
    """The same at the earliest: a busy host may have noticed it late."""
    ended_by: str = ""
    ended_how: str = ""
    ended_seq: int = 0


@dataclass(slots=True)
class Connection:
    """A connection to the firmware server.

    Attributes:
        offer, attempt: what it is for, where the port alone tells; else "" and 0.
        failed: why its TLS handshake came to nothing; "" if it did not.
        gone: when it ended, as far as is known. Host seconds.
    """

    conn: int
    t: float
    seq: int
    board: str | None
    operation: int
    peer: str = ""
    offer: str = ""
    attempt: int = 0
    failed: str = ""
    failed_seq: int = 0
    gone: float | None = None


@dataclass(slots=True)
class Early:
    """A fault that took effect before any request: on a connection, or at a port that let none in.

    Attributes:
        conn: the connection; None: there was none.
        over: when it ended; None: not yet, or the device's going ended it. Host seconds.
    """

    operation: int
    offer: str
    attempt: int
    conn: int | None
    fired: Fired
    over: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One URL on its way to the device."""

    operation: int
    offer: str
    session: int
    t: float
    seq: int


@dataclass(frozen=True, slots=True)
class Noted:
    """An event kept as it is: what the board printed, or what the rig noted."""

    t: float
    seq: int
    kind: str
    data: Mapping[str, Any]


LOST_LINK = re.compile(r"(?i)heartbeat|silen|timed? ?out|unreachable|no route")
"""Why a session closed, in words of the cloud or the kernel, where the link was lost."""

UART_MARKS = frozenset({"slot", "app", "crash", "boot_error", "firmware", "metric"})

SURROUNDINGS = frozenset({"wifi", "ap", "cloud", "network"})
HOLDS = frozenset({"off", "down", "stop"})
RELEASES = frozenset({"on", "up", "start"})
"""``test/action`` words by which a test keeps a device away, and lets it come back."""
SPOKEN = frozenset({"login", "info", "report", "log_event", "heard"})
"""``cloud`` events that tell what the device itself said."""
AIRWAYS = frozenset({"wifi", "ap", "network"})
"""Those of them that take away the way itself, in the middle of a download, too."""
WRITES = ("flash.write", "flash.damage", "flash.wear")
"""``test/action`` words by which a test changes the flash; ``spans`` are offsets and sizes."""
TROUBLES = {"link.shaped": "link", "dns.answers": "DNS"}
"""``test/action`` words by which a test makes the way bad; ``text`` says how, "" not any more."""


class Sightings:
    """Everything seen of one board. Feed it events; read the lists.

    Args:
        board: the board's name; events with no board count as its own.
    """

    def __init__(self, board: str | None) -> None:
        self.board = board
        self.banners: list[Banner] = []
        self.acts: list[Act] = []
        self.held: list[tuple[float, str, bool]] = []
        self.troubles: list[tuple[float, int, str, str]] = []
        """When, the event, link or DNS, and how the test made it bad; "" from then on not."""
        self.written: list[tuple[float, int, int, int]] = []
        """What the test wrote into the flash: when, the event, offset and size."""
        self.gaps: list[tuple[float, float]] = []
        self.sessions: dict[int, Session] = {}
        self.intruders: set[int | None] = set()
        """Sessions of a client of our own, which a fault of the cloud has let in by the token."""
        self.offers: list[Offer] = []
        self.connections: list[Connection] = []
        self.requests: list[Request] = []
        self.early: list[Early] = []
        self.cloud_faults: set[tuple[int, int]] = set()
        """Operations, and the places of the cloud's faults that have begun in them."""
        self.bad_urls: list[float] = []
        """When the cloud sent something else than the URL, as a fault; each time that it did."""
        self.marks: list[Noted] = []
        self.lines: list[Noted] = []
        self.rig: list[Noted] = []
        self.late: list[tuple[float, float]] = []
        """When the rig's own servers stood still, on a host that was too busy."""
        self.notes: list[Noted] = []
        self.flash: list[Noted] = []
        self.others: set[str] = set()
        self.other_losses: list[tuple[str, float]] = []
        self.strange = False
        """Whether somebody asked for an offer, or by a connection, of which nothing was said."""
        self.last_t = LONG_AGO
        self._operation = 0
        self._bad_offers: set[tuple[int, str]] = set()
        self._offered: dict[str, int] = {}
        self.files: dict[tuple[int, str], str] = {}
        """By operation and offer the name of the image behind the URL, where it was said."""
        self._live: dict[int, Request] = {}
        self._lost: float | None = None

    def feed(self, events: Iterable[Event]) -> Sightings:
        """Take events in the order of their timeline."""
        for event in events:
            if event.board not in (self.board, None):
                self._other(event)
                continue
            if event.t > self.last_t:
                self.last_t = event.t
            handler = _HANDLERS.get(event.source)
            if handler is not None:
                handler(self, event)
        return self

    def _other(self, event: Event) -> None:
        """Of other boards only their losses of the network matter."""
        board = event.board or ""
        self.others.add(board)
        key = (event.source, event.kind)
        link = key == ("cloud", "closed") and LOST_LINK.search(str(event.data["why"]))
        cut = key == ("delivery", "ended") and event.data["how"] in ("timeout", "error", "rst")
        if link or (cut and event.data["by"] == "device"):
            self.other_losses.append((board, event.t))

    def _uart(self, event: Event) -> None:
        kind, data = event.kind, event.data
        if kind == "line":  # most of them are
            self.lines.append(Noted(event.t, event.seq, kind, data))
        elif kind == "reset":
            self.banners.append(
                Banner(
                    event.t,
                    event.seq,
                    data["code"],
                    data["cause"],
                    bool(data["download"]),
                    _came(event),
                )
            )
        elif kind in UART_MARKS:
            self.marks.append(Noted(event.t, event.seq, kind, data))
        elif kind == "port_lost":
            self._lost = event.t
            self.gaps.append((event.t, float("inf")))
        elif kind == "port_back" and self._lost is not None:
            self.gaps[-1] = (self._lost, event.t)
            self._lost = None

    def _rig(self, event: Event) -> None:
        if event.kind == "reset":
            what = "loader" if event.data.get("mode") == "loader" else "run"
            self.acts.append(Act(event.t, event.seq, what, event.data.get("by", "rig")))
        elif event.kind == "late":
            self.late.append((event.t - float(event.data["seconds"]), event.t))
        elif event.kind == "error":
            self.rig.append(Noted(event.t, event.seq, event.kind, event.data))

    def _power(self, event: Event) -> None:
        if event.kind in ("on", "off"):
            self.acts.append(Act(event.t, event.seq, event.kind, event.data.get("by", "rig")))

    def _test(self, event: Event) -> None:
        """What the test did to the world around the board: ``wifi.off``, ``cloud.start``…"""
        where, _, what = str(event.data.get("what", "")).partition(".")
        if event.kind == "action" and where in SURROUNDINGS and what in HOLDS | RELEASES:
            self.held.append((event.t, where, what in HOLDS))
        if event.kind == "action" and (part := TROUBLES.get(str(event.data.get("what", "")))):
            self.troubles.append((event.t, event.seq, part, str(event.data["text"])))
        if event.kind == "action" and event.data.get("what") in WRITES:
            self.written += [(event.t, event.seq, *span) for span in event.data["spans"]]

    def _session(self, event: Event) -> Session:
        """The session of a cloud event; one that began before the evidence is made up."""
        number = event.data["session"]
        if number not in self.sessions:
            self.sessions[number] = Session(number, LONG_AGO, event.seq, login=LONG_AGO)
        return self.sessions[number]

    def own_sessions(self) -> list[Session]:
        """The sessions that are known to be of this board, in the order of their opening."""
        mine = [
            session
            for session in self.sessions.values()
            if session.mine and session.number not in self.intruders
        ]
        return sorted(mine, key=lambda session: (session.opened, session.number))

    def signs(self, session: Session) -> list[float]:
        """When the boot of a session gave signs of life, in order: its opening, what it said, and
        the downloads that were offered in it, for no URL outlives a reset."""
        given = {(o.operation, o.offer) for o in self.offers if o.session == session.number}
        fetched = [r.heard for r in self.requests if (r.operation, r.offer) in given]
        return sorted([session.came, *session.said, *fetched])

    def _cloud(self, event: Event) -> None:
        self._said_to_cloud(event)
        session = self.sessions.get(event.data.get("session", -1))
        if session is not None and event.board == self.board:
            session.mine = True

    def _said_to_cloud(self, event: Event) -> None:
        kind, data = event.kind, event.data
        if kind == "connected":
            session = Session(
                data["session"],
                event.t,
                event.seq,
                str(data.get("peer", "")),
                _came(event),
            )
            self.sessions[session.number] = session
        elif kind == "closed":
            if data["session"] in self.sessions:
                session = self.sessions[data["session"]]
                session.closed, session.closed_seq = event.t, event.seq
                session.closed_by, session.closed_why = data["by"], str(data["why"])
        elif kind == "intruder":
            self.intruders.add(data["session"])
        elif kind == "ota_sent":
            self._session(event)
            self.offers.append(
                Offer(self._operation, data["offer"], data["session"], event.t, event.seq)
            )
            if (self._operation, data["offer"]) in self._bad_offers:
                self.bad_urls.append(event.t)
        elif kind == "fault":
            self.cloud_faults.add((self._operation, data["index"]))
            if str(data["text"]).startswith("url"):
                self.bad_urls.append(event.t)
                self._bad_offers.add((self._operation, str(data.get("offer"))))
        elif kind in SPOKEN:
            session = self._session(event)
            session.said.append(_came(event))
            session.spoke = max(session.spoke, session.said[-1])
            if session.login is None:
                session.login = event.t
            if kind == "report":
                session.reports.append(
                    Report(
                        event.t,
                        event.seq,
                        data["session"],
                        data["version"] or "",
                        data["build"] or "",
                    )
                )

    def _delivery(self, event: Event) -> None:
        kind, data = event.kind, event.data
        conn = data.get("conn")
        if kind == "connection":
            self.connections.append(self._connection(event))
        elif kind == "request":
            self._request(event)
        elif kind == "handshake":
            self._handshake(event)
        elif conn in self._live:
            _answer(self._live[conn], event)
        elif kind == "fault":
            self._early(event)

    def _operation_of(self, offer: str | None) -> int:
        """The operation of an offer; the one under way where nothing was said of it."""
        self.strange = self.strange or bool(offer and offer not in self._offered)
        return self._offered.get(offer or "", self._operation)

    def _connection(self, event: Event) -> Connection:
        data = event.data
        offer = data.get("offer") or ""
        return Connection(
            data["conn"],
            event.t,
            event.seq,
            event.board,
            self._operation_of(offer),
            str(data.get("peer", "")),
            offer,
            data.get("attempt") or 0,
        )

    def _request(self, event: Event) -> None:
        data = event.data
        request = Request(
            self._operation_of(data["offer"]),
            data["conn"],
            data["offer"] or "",
            data["attempt"] or 0,
            data["method"],
            event.t,
            event.seq,
            came=_came(event),
            moved=event.t,
            heard=_came(event),
            waiting=event.t,
        )
        self.requests.append(request)
        self._live[data["conn"]] = request

    def _handshake(self, event: Event) -> None:
        """What became of a TLS handshake; one that came to nothing ends its connection."""
        if event.data.get("why") is None:
            return
        for one in reversed(self.connections):
            if one.conn == event.data["conn"]:
                one.gone, one.failed_seq = event.t, event.seq
                one.failed = str(event.data["why"])
                return

    def _early(self, event: Event) -> None:
        """A fault that needs no request. One that its connection's end interrupts is never over."""
        data = event.data
        offer, conn = data.get("offer") or "", data.get("conn")
        operation = self._operation_of(offer)
        known = conn is None or any(one.conn == conn for one in self.connections)
        self.strange = self.strange or not known
        key = (operation, offer, conn, data["index"])
        if data["phase"] == "over":
            gone = any(one.conn == conn and one.gone is not None for one in self.connections)
            for one in reversed(self.early):
                if (one.operation, one.offer, one.conn, one.fired.index) == key:
                    one.over = None if gone else event.t
                    return
            return
        fired = Fired(data["index"], str(data["fault"]), event.seq, event.t)
        self.early.append(Early(operation, offer, data.get("attempt") or 0, conn, fired))

    def _ota(self, event: Event) -> None:
        if event.kind == "operation":
            self._operation = event.seq
        elif event.kind == "offer":
            self._offered[event.data["offer"]] = self._operation
            if event.data.get("image"):
                self.files[self._operation, event.data["offer"]] = str(event.data["image"])
        self.notes.append(Noted(event.t, event.seq, event.kind, event.data))

    def _flash(self, event: Event) -> None:
        self.flash.append(Noted(event.t, event.seq, event.kind, event.data))


def _came(event: Event) -> float:
    """When something had come at the earliest that a server saw: on a busy host it may have waited
    for the server."""
    return event.t - float(event.data.get("waited_s", 0.0))


def _answer(request: Request, event: Event) -> None:
    """What became of a request."""
    kind, data = event.kind, event.data
    if kind == "response":
        request.status, request.announced = data["status"], data["announced"]
        request.page = data.get("page")
        request.due = {int(index): byte for index, byte in data.get("due") or ()}
        request.part = Part(*data["part"]) if data.get("part") else None
    elif kind == "fault":
        if data["phase"] == "over":
            if request.ended is None:  # an end that interrupts a fault is said before its over
                request.over.add(data["index"])
        else:
            request.fired.append(Fired(data["index"], str(data["fault"]), event.seq, event.t))
    elif kind in ("progress", "ended"):
        if kind == "progress":
            wire = data.get("wire") or 0
            now = (data["written"], data["acked"], wire)
            if now != (request.written, request.acked, request.wire):
                request.moved = event.t
            if wire > request.wire:
                request.heard = _came(event)
            request.wire = wire
            behind = request.written > request.acked and data["acked"] == request.acked
            flying = data.get("in_flight") is not False
            if not behind or request.held_back or not flying:
                request.waiting = event.t
            request.held_back = not flying
        if data["acked"] > request.acked:
            request.heard = _came(event)
        request.written = max(request.written, data["written"])
        request.acked = max(request.acked, data["acked"])
        if kind == "ended":
            request.ended, request.ended_seq = event.t, event.seq
            request.ended_first = _came(event)
            request.ended_by, request.ended_how = data["by"], data["how"]
            if data.get("announced") is not None:
                request.announced = data["announced"]
            if data.get("page") is not None:
                request.page = data["page"]


_HANDLERS = {
    "uart": Sightings._uart,
    "rig": Sightings._rig,
    "power": Sightings._power,
    "test": Sightings._test,
    "cloud": Sightings._cloud,
    "delivery": Sightings._delivery,
    "ota": Sightings._ota,
    "flash": Sightings._flash,
}
