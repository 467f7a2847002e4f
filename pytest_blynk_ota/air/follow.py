"""The machine on evidence: what Blynk.Air would show after these events. Pure.

The judge reads a stored timeline with it, a running operation the timeline that grows: the same
events give the same status. Time passes with events alone; where time itself changes something,
the running operation writes an ``ota/clock`` event when it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.air.machine import Shipment
from pytest_blynk_ota.air.rules import BARE, AirRules
from pytest_blynk_ota.air.status import AirStatus
from pytest_blynk_ota.air.versions import Named
from pytest_blynk_ota.evidence.event import Event

NOT_MODIFIED = 304
LAST_SEGMENT_BYTES = 1460
"""The largest TCP segment on an Ethernet or a Wi-Fi."""

BEGIN = ("ota", "operation")

LIBRARY_KEYS = ("blynk", "ver")
"""Info keys that name the library's version: Arduino's, and that of the other clients."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Air's clock, from the host's: device seconds that begin at a moment of the shipment's.

    Attributes:
        t: host monotonic seconds of the begin.
        starts: epoch seconds of Air's clock then.
        speed: device seconds in a host second.
    """

    t: float = 0.0
    starts: float = 0.0
    speed: float = 1.0

    def at(self, t: float) -> float:
        """Air's time at a host time."""
        return self.starts + (t - self.t) * self.speed

    def host(self, now: float) -> float:
        """The host time of an Air's time."""
        return self.t + (now - self.starts) / self.speed


class Follower:
    """Takes the events of a timeline, in order, to the machine of one device.

    Args:
        shipment: the machine; made anew by each ``ota/operation`` event.
        board: whose events count, beside those of no board.
    """

    def __init__(self, shipment: Shipment | None = None, board: str | None = None) -> None:
        self.shipment = shipment or Shipment(Named(), BARE)
        self.clock = Clock()
        self._board = board
        self._answers: dict[int, int] = {}
        self._methods: dict[int, str] = {}
        self._moved: dict[int, tuple[int, int, int]] = {}
        self._libraries: dict[int, str] = {}
        self._asked: set[str] = set()

    def see(self, event: Event) -> None:
        """One event."""
        if (event.source, event.kind) == BEGIN:
            self._begin(event)
        elif self.follows(event.board):
            self.shipment.advance(self.clock.at(event.t))
            heard = HEARD.get((event.source, event.kind))
            if heard is not None:
                heard(self, event.data, self.clock.at(event.t))

    def follows(self, board: str | None) -> bool:
        """Whether events of a board count."""
        return board is None or board == self._board

    def due_in(self, t: float) -> float | None:
        """Host seconds from ``t`` until time alone changes something; None: never."""
        due = self.shipment.due()
        return None if due is None else max(0.0, self.clock.host(due) - t)

    def _begin(self, event: Event) -> None:
        data = event.data
        images = data["images"]
        rules = rules_of(data)
        self.clock = Clock(event.t, rules.starts(event.wall), data.get("speed", 1.0))
        self._board = event.board
        self._asked = set()
        ran = images.get(data.get("running") or "", {}).get("version")
        self.shipment = Shipment(
            named(images.get(data["offered"], {})),
            rules,
            board=event.board or "",
            now=self.clock.starts,
            ran=[ran] if ran else [],
        )

    def _superseded(self, data: Mapping[str, Any], now: float) -> None:
        self.shipment.supersede(named(data["facts"]), now)

    def _info(self, data: Mapping[str, Any], now: float) -> None:
        pairs = data["pairs"]
        library = next((pairs[key] for key in LIBRARY_KEYS if pairs.get(key)), "")
        self._libraries[data["session"]] = str(library)

    def _login(self, data: Mapping[str, Any], now: float) -> None:
        session = data["session"]
        runs = Named(
            data["version"] or "",
            data["build"] or "",
            data.get("fw_type") or "",
            data.get("library") or self._libraries.get(session, ""),
        )
        self.shipment.on_login(session, runs, now)

    def _sent(self, data: Mapping[str, Any], now: float) -> None:
        """The URL went out; that may be told later than that somebody came with it."""
        news = data.get("offer") not in self._asked
        self.shipment.on_sent(data["session"], now, news=news)

    def _request(self, data: Mapping[str, Any], now: float) -> None:
        self._methods[data["conn"]] = data["method"]
        if data["method"] == "GET":
            self._asked.add(data.get("offer", ""))
            self.shipment.on_get(data["attempt"], now)

    def _progress(self, data: Mapping[str, Any], now: float) -> None:
        moved = (data["written"], data["acked"], data.get("wire") or 0)
        if self._moved.get(data["conn"]) != moved:
            self._moved[data["conn"]] = moved
            self.shipment.on_moved(now)

    def _ended(self, data: Mapping[str, Any], now: float) -> None:
        conn = data["conn"]
        status = self._answers.get(conn, data.get("status") or 200)
        if is_whole_file(data, status):
            self.shipment.on_whole(now)
        elif asks_for_more(data, status):
            self.shipment.on_moved(now)
        elif self._methods.get(conn) == "GET":
            self.shipment.on_broken(now)

    def _answered(self, data: Mapping[str, Any], now: float) -> None:
        self._answers[data["conn"]] = data["status"]


HEARD: Mapping[tuple[str, str], Callable[[Follower, Mapping[str, Any], float], None]] = {
    ("cloud", "info"): Follower._info,
    ("cloud", "report"): Follower._login,
    ("cloud", "closed"): lambda one, data, now: one.shipment.on_gone(data["session"], now),
    ("cloud", "ota_sent"): Follower._sent,
    ("delivery", "request"): Follower._request,
    ("delivery", "response"): Follower._answered,
    ("delivery", "progress"): Follower._progress,
    ("delivery", "ended"): Follower._ended,
    ("ota", "online"): Follower._login,
    ("ota", "paused"): lambda one, data, now: one.shipment.pause(now),
    ("ota", "resumed"): lambda one, data, now: one.shipment.resume(now),
    ("ota", "cancelled"): lambda one, data, now: one.shipment.cancel(now),
    ("ota", "superseded"): Follower._superseded,
    ("ota", "clicked"): lambda one, data, now: one.shipment.click(now),
}
"""What of the evidence Air would know of. An ``ota/clock`` event only lets time pass."""


def named(facts: Mapping[str, Any]) -> Named:
    """What an image calls itself, from its facts in the ``ota/operation`` event."""
    return Named(*(str(facts.get(key) or "") for key in ("version", "build", "fw_type", "library")))


def rules_of(data: Mapping[str, Any]) -> AirRules:
    """The rules in an ``ota/operation`` event; evidence of before there were any has a limit."""
    if data.get("air") is not None:
        return AirRules.of(data["air"])
    return AirRules.of(BARE.to_data() | {"download_limit": data["limit"]})


def air_status(events: Sequence[Event]) -> AirStatus:
    """What the console would show after these events, from Cloud and Delivery alone.

    Args:
        events: of one operation, from its ``ota/operation`` event on; more operations: the last.
    """
    return followed(events).status


def air_history(events: Sequence[Event]) -> tuple[AirStatus, ...]:
    """The statuses that the console would have shown one after the other."""
    return tuple(followed(events).history)


def followed(events: Sequence[Event]) -> Shipment:
    """The machine after these events."""
    follower = Follower()
    passed: Event | None = None
    for event in events:
        key = (event.source, event.kind)
        if key in HEARD or key == BEGIN:
            if passed is not None:
                follower.see(passed)
                passed = None
            follower.see(event)
        elif follower.follows(event.board) and (passed is None or event.t > passed.t):
            passed = event  # of many log lines in a row, the latest lets the same time pass
    if passed is not None:
        follower.see(passed)
    return follower.shipment


SENT = ("complete", "short")
"""How an answer ended that was sent to its end. What its headers had announced Air cannot know."""


def is_whole_file(ended: Mapping[str, Any], status: int) -> bool:
    """Whether a ``delivery/ended`` event tells of a file sent whole, or of its last part: no page,
    no HEAD, no 404. How the connection ended behind its last byte does not matter."""
    return (
        _is_sent(ended)
        and not ended.get("page")
        and not _has_rest(ended)
        and ended.get("announced") != 0
        and 200 <= status < 300
    )


def asks_for_more(ended: Mapping[str, Any], status: int) -> bool:
    """Whether it tells of an answer after which the file is still to come: a redirect, a part."""
    redirect = 300 <= status < 400 and status != NOT_MODIFIED
    return bool(ended["how"] in SENT and (redirect or _has_rest(ended)))


def _is_sent(ended: Mapping[str, Any]) -> bool:
    """Whether all that was announced has come, or all that there was.

    A device that leaves bytes unread behind the announced ones closes by RST, which stands in place
    of the acknowledgement of the last segment.
    """
    if ended["how"] in SENT:
        return True
    announced = ended.get("announced")
    if announced is None:
        return False
    beyond = (ended.get("written") or 0) > announced
    left = beyond and (ended.get("by"), ended["how"]) == ("device", "rst")
    acked = (ended.get("acked") or 0) + (LAST_SEGMENT_BYTES if left else 0)
    return bool(acked >= announced)


def _has_rest(ended: Mapping[str, Any]) -> bool:
    """Whether it was a part of the file with more behind it: first byte, end, size of the file."""
    _, stop, total = ended.get("part") or (0, 0, None)
    return total is not None and stop < total
