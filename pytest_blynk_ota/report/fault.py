"""Whose fault a red test is: the firmware's, the network's, the cloud's, the rack's; or not clear.

The first row of ``ROWS`` that has an answer gives it. It reads the stored verdict and the events;
it does not judge again, and where they do not say it, it says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.report.crashes import crashed
from pytest_blynk_ota.report.story import Story, numbers, rows_of
from pytest_blynk_ota.report.visible import said, sentence

FIRMWARE, NETWORK, CLOUD, RACK, TEST = "firmware", "network", "cloud", "rack", "test"
UNCLEAR = "unclear"
RED = ("firmware", "rig", "error")
"""Words of tests that need a line on whose fault it is."""
AWAY = ("wifi.off", "ap.off", "network.off", "link.shaped", "dns.answers")
FIRMWARE_OUTCOMES = (
    "BRICKED",
    "BOOT_LOOP",
    "MISREPORTED",
    "NOT_REPORTED",
    "ROLLED_BACK",
    "REVERTED",
)
DOWNLOAD_OUTCOMES = (
    "NOT_STARTED",
    "DOWNLOAD_LIMIT_REACHED",
    "REJECTED",
    "STALLED",
    "DOWNLOAD_FAILED",
)
OF_FINDINGS = ("error finding", "findings: expected none")
"""Words of a message that is about findings: the plugin's, and an assert's."""
FINDING_OF = {"unexplained loss": NETWORK, "fault not reached": TEST}
"""Findings that are not the firmware's."""


NO_WORD = "the run holds no word on it"
NO_VERDICT: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Fault:
    """Whose fault it is.

    Attributes:
        who: ``firmware``, ``network``, ``cloud``, ``rack``, ``test`` or ``unclear``.
        at: device seconds since the test began; None if no event says when.
        decided: the event that decided it, seen at that second.
        because: the rest of the sentence "X failed because ...".
        events: what that rests on.
        under: what the test itself had made bad at that moment: ``network``, ``cloud`` or nothing.
        what: the fault by which it did so.
        finding: the finding alone that makes the test red, though its outcome was wanted.
    """

    who: str
    at: float | None
    because: str
    decided: int | None = None
    events: tuple[int, ...] = ()
    under: str = ""
    what: str = ""
    finding: str = ""

    @property
    def line(self) -> str:
        """The sentence."""
        when = "" if self.at is None else f" at device second {self.at:.1f}"
        because = sentence(self.because)
        if self.under:
            return (
                f"The test's fault {self.what} came{when}, and the {self.who} did not get over "
                f"it: {because}"
            )
        if self.who == RACK:  # how soon it was noticed is chance
            noticed = f", noticed{when}," if self.events else ","
            return (
                f"The rack failed{noticed} because {because}. "
                "This says nothing of the firmware: run it again."
            )
        if self.who == UNCLEAR:
            return f"It is not clear what failed{when}: {because}"
        return f"The {self.who} failed{when}, because {because}"


@dataclass(frozen=True, slots=True)
class Case:
    """What the rows look at; ``verdict`` is the one that failed the test, ``begin`` its time."""

    word: str
    message: str
    story: Story
    verdict: Mapping[str, Any]
    begin: float

    @property
    def outcome(self) -> str:
        """The outcome that was got; empty if there is none."""
        return said(self.verdict.get("outcome"), 40)

    @property
    def wanted(self) -> str:
        """What the test had expected, as its message says it."""
        found = re.search(r"expected (.+?), got ", self.message)
        return found[1] if found else "another end"

    def rows(self, name: str) -> Sequence[Mapping[str, Any]]:
        """A list of objects in the verdict."""
        return rows_of(self.verdict.get(name))

    def fault(self, who: str, because: str, decided: Event | None, events: Iterable[int]) -> Fault:
        """Whose it is, at the second of the event that decided it."""
        at = self.story.at(decided) if decided else None
        return Fault(who, at, because, decided.seq if decided else None, tuple(events))

    def seen(self, source: str, *kinds: str) -> list[Event]:
        """Events of the operation."""
        return [event for event in self.story.of(source, *kinds) if event.t >= self.begin]


def whose(
    word: str, message: str, story: Story, verdicts: Sequence[Mapping[str, Any]]
) -> Fault | None:
    """Whose fault a test is; None for one that is not red."""
    if word not in RED:
        return None
    verdict = _failing(message, verdicts)
    operation = story.operation(verdict.get("operation"))
    case = Case(word, message, story, verdict, operation.t if operation else float("-inf"))
    return next(found for row in ROWS if (found := row(case)) is not None)


def _failing(message: str, verdicts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The verdict that the failure speaks of: the last with its outcome, else the last."""
    found = re.search(r", got (\w+)", message)
    if found:
        for one in verdicts[::-1]:
            if said(one.get("outcome")) == found[1]:
                return one
    return verdicts[-1] if verdicts else NO_VERDICT


def _rack(case: Case) -> Fault | None:
    if case.word != "rig":
        return None
    signs = [*case.seen("rig", "error"), *case.seen("uart", "port_lost")]
    first = min(signs, key=lambda event: event.t, default=None)
    last = case.story.events[-1] if case.story.events else None
    when = first or last
    because = case.message or (said(first.data.get("message")) if first else "")
    return Fault(
        RACK,
        case.story.at(when) if when else None,
        because or NO_WORD,
        when.seq if when else None,
        (first.seq,) if first else (),
    )


def _test(case: Case) -> Fault | None:
    if case.word != "error":
        return None
    return Fault(TEST, None, case.message or NO_WORD)


def _finding(case: Case) -> Fault | None:
    """The test passed but for an error finding, or itself wanted none."""
    if not any(words in case.message for words in OF_FINDINGS):
        return None
    for finding in case.rows("findings"):
        if finding.get("severity") == "error":
            name, events = said(finding.get("name"), 60), numbers(finding.get("events"))
            because = f'of the finding "{name}": {sentence(finding.get("text"))}'
            who = FINDING_OF.get(name, FIRMWARE)
            found = case.fault(who, because, case.story.first_of(events), events)
            return replace(found, finding=name)
    return None


def _of_outcome(case: Case) -> Fault | None:
    """The firmware did it by itself: it crashed, went back, or says what is not so."""
    if case.outcome not in FIRMWARE_OUTCOMES or case.outcome not in case.message:
        return None
    crash = next(iter(case.seen("uart", "crash", "boot_error")), None)
    because, events = _told(case)
    decided = case.story.first_of(events)
    if crash is not None:
        which = dict(crashed([case.verdict])).get(crash.seq, "it")
        because = f"{which} crashed: {sentence(crash.data.get('text'), 200)}; {because}"
        decided, events = crash, [crash.seq, *events]
    own = case.seen("power", "off")
    cut = f"; the test had cut its power at {case.story.at(own[0]):.1f}" if own else ""
    return case.fault(FIRMWARE, because + cut, decided, events)


TELLING = {
    "REVERTED": ("New was started", "selected"),
    "ROLLED_BACK": ("reported",),
    "MISREPORTED": ("declare", "reports", "reported"),
    "NOT_REPORTED": ("no report", "never", "reported"),
    "BOOT_LOOP": ("unexpected reset", "reset"),
    "BRICKED": ("boot ends", "no app", "starts"),
    "REJECTED": ("refused the file:", "claimed success", "did not restart", "refused"),
    "OFFLINE": ("link dropped", "away from the cloud"),
}
"""Words of the reason that says most of an outcome."""


def _told(case: Case) -> tuple[str, list[int]]:
    """The reason that says most of the outcome, and its events; the first one if none does."""
    reasons = case.rows("reasons")
    for word in TELLING.get(case.outcome, ()):
        for reason in reasons:
            if word in said(reason.get("text")):
                return sentence(reason.get("text")), numbers(reason.get("events"))
    for reason in reasons:
        return sentence(reason.get("text")), numbers(reason.get("events"))
    return f"the outcome is {case.outcome}", []


def _injected(case: Case) -> Fault | None:
    """A download went wrong under what the test had asked for: the firmware had to bear it."""
    if case.outcome not in (*DOWNLOAD_OUTCOMES, "OFFLINE") or case.outcome not in case.message:
        return None
    since = _last_download(case) if case.outcome in DOWNLOAD_OUTCOMES else case.begin
    fired = [
        event
        for event in case.seen("delivery", "fault")
        if event.t >= since and event.data.get("phase") != "over"
    ]
    bad = [*fired, *case.seen("cloud", "fault"), *_away(case, since)]
    first = min(bad, key=lambda event: event.t, default=None)
    if first is None:
        return None
    data = first.data
    what = said(data.get("fault") or data.get("text") or data.get("what"), 120)
    because, events = _told(case)
    after, then = _afterwards(case, first)
    return Fault(
        FIRMWARE,
        case.story.at(first),
        f"{after}expected {case.wanted}, got {case.outcome}: {because}",
        first.seq,
        tuple(dict.fromkeys([first.seq, *then, *events])),
        under=CLOUD if first.source == "cloud" else NETWORK,
        what=what,
    )


def _afterwards(case: Case, fault: Event) -> tuple[str, list[int]]:
    """When the device ended the download after the fault, and when it restarted next."""
    ends = (one for one in case.seen("delivery", "ended") if one.data.get("by") == "device")
    end = next((one for one in ends if one.t >= fault.t), None)
    if end is None:
        return "", []
    told = f"it gave up at {case.story.at(end):.1f}"
    reset = next((one for one in case.seen("uart", "reset") if one.t >= end.t), None)
    if reset is None:
        return f"{told}; ", [end.seq]
    return f"{told} and restarted at {case.story.at(reset):.1f}; ", [end.seq, reset.seq]


def _last_download(case: Case) -> float:
    """When the last download began; the operation's beginning if there was none."""
    begun = case.seen("delivery", "connection") or case.seen("delivery", "response")
    return begun[-1].t if begun else case.begin


def _away(case: Case, since: float) -> list[Event]:
    """What the test did to the network, and had not undone by then."""
    standing: dict[str, Event] = {}
    for event in case.story.of("test", "action"):
        what = said(event.data.get("what"), 60)
        thing, _, state = what.rpartition(".")
        undone = state == "on" or event.data.get("text") == ""
        if undone and event.t < since:
            standing.pop(thing, None)
        elif what in AWAY and not undone:
            standing.setdefault(thing, event)
    return list(standing.values())


def _download(case: Case) -> Fault | None:
    """A download went wrong, and the test had asked for nothing."""
    if case.outcome not in DOWNLOAD_OUTCOMES or case.outcome not in case.message:
        return None
    for finding in case.rows("findings"):
        if finding.get("name") in ("unexplained loss", "hang"):
            events = numbers(finding.get("events"))
            who = NETWORK if finding.get("name") == "unexplained loss" else FIRMWARE
            return case.fault(who, said(finding.get("text")), case.story.first_of(events), events)
    downloads = case.rows("downloads")
    ended = said(downloads[-1].get("ended"), 20) if downloads else ""
    because, events = _told(case)
    who = NETWORK if ended in ("stalled", "cut") else FIRMWARE
    return case.fault(who, because, case.story.first_of(events[-1:]), events)


def _offline(case: Case) -> Fault | None:
    if case.outcome != "OFFLINE" or case.outcome not in case.message:
        return None
    because, events = _told(case)
    return case.fault(FIRMWARE, because, case.story.first_of(events), events)


def _upgraded(case: Case) -> Fault | None:
    if not re.search(r"\bgot UPGRADED", case.message):
        return None
    report = next(iter(reversed(case.seen("cloud", "report"))), None)
    because = f"it took the image: the test expected {case.wanted}, got UPGRADED"
    return case.fault(FIRMWARE, because, report, [report.seq] if report else [])


def _unclear(case: Case) -> Fault:
    """An assertion of the test's own, or no verdict: nothing is claimed."""
    said_of = f"; the outcome of its last operation is {case.outcome}" if case.outcome else ""
    decided = case.story.first_of(_told(case)[1][-1:])
    because = sentence(case.message or NO_WORD) + said_of
    return Fault(UNCLEAR, None, because, decided.seq if decided else None)


ROWS: Sequence[Callable[[Case], Fault | None]] = (
    _rack,
    _test,
    _finding,
    _of_outcome,
    _injected,
    _offline,
    _download,
    _upgraded,
    _unclear,
)
