"""How far a running test is, out of its events. Pure: no clock, no terminal.

A table says which event begins which phase; what is counted on the way is the newest of its kind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_blynk_ota.evidence.event import Event

START = "starting"
OVER = "over"
RATE_S = 3.0
"""Host seconds that a rate is taken over."""

BEFORE: Mapping[tuple[str, str], str] = {
    ("rig", "reset"): "restoring",
    ("ota", "restored"): "booting old",
    ("cloud", "login"): "settling",
}
"""Before the first operation: the baseline is made."""
PHASES: Mapping[tuple[str, str], str] = {
    ("ota", "operation"): "ready",
    ("ota", "offer"): "offered",
    ("cloud", "ota_sent"): "offered",
    ("cloud", "ota_relayed"): "offered",
    ("delivery", "request"): "downloading",
    ("uart", "crash"): "crashed",
    ("uart", "boot_error"): "boot error",
    ("uart", "reset"): "booting",
    ("uart", "port_lost"): "port lost",
    ("uart", "port_back"): "booting",
    ("cloud", "login"): "settling",
    ("power", "off"): "no power",
    ("power", "on"): "booting",
    ("ota", "paused"): "paused",
    ("ota", "watch_ended"): "judging",
    ("ota", "restored"): "booting old",
    ("ota", "power_cycled"): "power cycled",
}
"""From the first operation on."""
ENDED: Mapping[str, str] = {"complete": "applying"}
"""What follows upon a download that ended so; upon any other, ``download ended``."""
FLASH = ("reading flash", "writing flash")
"""What the loader is at; told only of work that takes long."""
AFTER_WATCH = "judging"
"""What comes after the watch is our own looking, until the next operation."""


@dataclass
class Progress:
    """A test that runs: what is known of it so far.

    Attributes:
        board: its name; "" until an event names one.
        phase: one of the words above.
        began: host seconds at which the test began, on the events' clock; None before.
        since: the same of the phase.
        operation: number of the operation under way; 0 before the first.
        download: number of the download in it.
        acked: body bytes of it that the device has acknowledged.
        announced: bytes of its file; None where that is not known.
        flashed: bytes of flash that are read or written, and of how many.
        speed: device seconds in a host second.
    """

    board: str = ""
    phase: str = START
    began: float | None = None
    since: float = 0.0
    operation: int = 0
    download: int = 0
    acked: int = 0
    announced: int | None = None
    flashed: tuple[int, int] = (0, 0)
    speed: float = 1.0
    _faults: dict[tuple[str, object], str] = field(default_factory=dict)
    _points: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=200))

    @property
    def over(self) -> bool:
        """Whether the test has ended."""
        return self.phase == OVER

    @property
    def fault(self) -> str:
        """What goes wrong on purpose just now, in words; "" if nothing."""
        return ", ".join(dict.fromkeys(text for text in self._faults.values() if text))

    @property
    def share(self) -> float | None:
        """How much of the file is down, or of flash done, 0 to 1; None out of a download and of
        such work, or without a length."""
        if self.phase in FLASH:
            done, total = self.flashed
            return min(1.0, done / total) if total > 0 else None
        if self.phase != "downloading" or not self.announced:
            return None
        return min(1.0, self.acked / self.announced)

    def rate(self, now: float) -> float | None:
        """Bytes a device second of late; None out of a download, or before it can be told.

        Args:
            now: host seconds on the events' clock.
        """
        if self.phase != "downloading" or not self._points:
            return None
        points = [point for point in self._points if point[0] >= now - RATE_S]
        first = points[0] if points else (now - RATE_S, self.acked)
        seconds = (now - first[0]) * self.speed
        return (self.acked - first[1]) / seconds if seconds > 0 else None

    def see(self, event: Event) -> None:
        """Take the next event of the test."""
        key = event.source, event.kind
        if key == ("test", "started"):
            vars(self).update(vars(Progress(began=event.t, since=event.t)))  # the same test anew
            return
        if key == ("test", "finished"):
            self._enter(OVER, event.t)
            return
        if event.board and not self.board:
            self.board = event.board
        self._count(event)
        phase = self._phase(event)
        if phase:
            self._enter(phase, event.t)

    def _phase(self, event: Event) -> str | None:
        key = event.source, event.kind
        if key == ("delivery", "ended"):
            done = not event.data.get("page") and event.data.get("how")
            return ENDED.get(str(done), "download ended")
        if self.phase == AFTER_WATCH and key not in (("ota", "operation"), ("ota", "restored")):
            return None
        if key == ("flash", "progress"):
            return next((word for word in FLASH if word == event.data.get("what")), None)
        return PHASES.get(key) if self.operation else BEFORE.get(key)

    def _enter(self, phase: str, at: float) -> None:
        if phase != self.phase:
            self.phase, self.since = phase, at

    def _count(self, event: Event) -> None:
        """Numbers and faults, where an event brings any."""
        data = event.data
        match event.source, event.kind:
            case "ota", "operation":
                self.operation = int(data.get("number") or self.operation + 1)
                self.speed = float(data.get("speed") or 1.0)
                self.download = 0
                self._faults.clear()
            case "delivery", "request":
                self.download = int(data.get("attempt") or self.download + 1)
                self.acked, self.announced = 0, None
                self._points.clear()
                self._points.append((event.t, 0))
            case "delivery", "response":
                self.announced = data.get("announced")
            case "delivery", "progress":
                self.acked = int(data.get("acked") or 0)
                self._points.append((event.t, self.acked))
            case "flash", "progress":
                self.flashed = int(data.get("done") or 0), int(data.get("total") or 0)
            case "delivery", "fault":
                which = "delivery", data.get("index")
                if data.get("phase") == "fired":
                    self._faults[which] = str(data.get("fault") or "")
                else:
                    self._faults.pop(which, None)
            case "delivery", "ended":
                for key in [key for key in self._faults if key[0] == "delivery"]:
                    del self._faults[key]
            case "cloud", "fault":
                self._faults["cloud", data.get("index")] = str(data.get("text") or "")
            case "test", "action" if "text" in data:  # link.shaped, dns.answers: "" when it ends
                self._faults["test", data.get("what")] = str(data["text"])
