"""``judge``: one place decides, over what independent witnesses saw. Pure: no sockets, no clock.

Missing evidence widens, never picks: each outcome that the rest allows stays. One left is given;
more raise :class:`~pytest_blynk_ota.errors.Undecided`, which names the witness to ask. The caller
asks it, adds what it said to the events, and judges again.

=============  =====================================================================
past           from where on the story has to be told
sightings      what each witness saw, as records
story          boots, cloud sessions, downloads; which resets were expected
images_seen    which image ran in each boot
rig_faults     when there is no outcome
rows           the thirteen outcomes in order
findings       what else is worth knowing
=============  =====================================================================
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from pytest_blynk_ota.air import air_status
from pytest_blynk_ota.errors import EvidenceError, RigError, Undecided
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict.crashed import crashes_in_words
from pytest_blynk_ota.verdict.findings import findings_of
from pytest_blynk_ota.verdict.flash_seen import FlashSeen
from pytest_blynk_ota.verdict.images_seen import WEAK, images_of
from pytest_blynk_ota.verdict.metrics import metrics_of
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.outcome import Outcome, Verdict
from pytest_blynk_ota.verdict.past import WHOLE, Begin, Past
from pytest_blynk_ota.verdict.reasons import reasons_of
from pytest_blynk_ota.verdict.rig_faults import AFTER, BEFORE
from pytest_blynk_ota.verdict.rows import Case, Holds, possible
from pytest_blynk_ota.verdict.sightings import Noted, Sightings
from pytest_blynk_ota.verdict.story import tell

STORED_DIGITS = 6
"""Times are stored with so many decimals of a second; live ones are judged with no more."""

AFTER_S = 1e-6


def judge(events: Sequence[Event], operation: int | None = None) -> Verdict:
    """Say what happened in one operation.

    Args:
        events: a timeline, from its beginning on.
        operation: the operation's number; the last one if None.

    Raises:
        Undecided: several outcomes are left; ``wants`` names the witnesses to ask.
        RigError: the rack failed, or the test proved nothing.
        EvidenceError: the events hold no such operation.
    """
    return Judge(events)(operation)


class Judge:
    """The same for several operations of one timeline, which is read once for all of them."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = [_rounded(event) for event in events]
        self._past = Past(self._events)
        later = accumulate((event.t for event in reversed(self._events)), min)
        self._earliest = list(later)[::-1]  # of each event and all behind it
        self._begun: dict[int | None, Event] = {}  # by number; None: the last one
        self._superseding: dict[int, list[Mapping[str, Any]]] = {}
        self._index()

    def _index(self) -> None:
        """Which operations there are, and by the ``seq`` of each the images that took the place of
        the offered one, in their order."""
        now: dict[str | None, list[Mapping[str, Any]]] = {}
        for event in self._events:
            if _is_operation(event):
                self._begun[None] = event
                if type(event.data.get("number")) is int:
                    self._begun[event.data["number"]] = event
                now[event.board] = self._superseding[event.seq] = []
            elif (event.source, event.kind) == ("ota", "superseded"):
                now.get(event.board, []).append(event.data)

    def operation(self, number: int | None = None) -> Operation:
        """The operation with a number; the last one if None. Raises EvidenceError."""
        if number not in self._begun:
            which = "an operation" if number is None else f"operation {number}"
            raise EvidenceError(f"the evidence holds no {which}: there is nothing to judge")
        return Operation.of(self._begun[number])

    def __call__(self, number: int | None = None) -> Verdict:
        """As :func:`judge`."""
        operation = self.operation(number)
        later = [operation]
        for data in self._superseding[operation.seq]:
            later.append(later[-1].superseded(data))
        verdict = self._one(later[-1])
        for before in later[:-1]:  # of several that were offered, New is the one that runs
            if verdict.running_image == before.offered:
                return self._one(later[-1].offering(before.offered))
        return verdict

    def _one(self, operation: Operation) -> Verdict:
        for begin in self._past.begins(operation):
            case, partial = _case(operation, self._events, begin)
            if self._past.may_reach(case.story, begin):
                continue
            end = bisect_right(self._earliest, case.story.until)
            try:
                return _decided(case, partial, self._events[begin.at : end])
            except RigError:
                if begin is WHOLE:
                    raise
        raise AssertionError("all of the past is the last to be told")


def _decided(case: Case, partial: str, events: Sequence[Event]) -> Verdict:
    for check in BEFORE:
        check(case)
    left = possible(case)
    _raise_if_open(case, left)
    outcome = left[0][0]
    for raise_if in AFTER:
        raise_if(case, outcome)
    return _verdict(case, outcome, partial, events)


def _is_operation(event: Event) -> bool:
    return (event.source, event.kind) == ("ota", "operation")


def _rounded(event: Event) -> Event:
    """With the time as it is stored; one that was read back is so already."""
    t = round(event.t, STORED_DIGITS)
    if t == event.t:
        return event
    # replace() takes twice as long, of a board that boots for ever for half a million events
    return Event(event.seq, t, event.wall, event.source, event.kind, event.board, event.data)


def _case(operation: Operation, events: Sequence[Event], begin: Begin) -> tuple[Case, str]:
    """The case, and why it is partial ("" if it is not)."""
    own, control = _of_one(operation, events, begin)
    until = _until(operation, own)
    seen = Sightings(operation.board).feed(_as_heard(operation, own, until))
    story = tell(seen, operation, until)
    read = next(
        (n for n in seen.flash if n.kind == "read" and n.seq > operation.seq and n.t >= until), None
    )
    tried = any(n.seq > operation.seq and n.t >= until for n in seen.flash)
    askable = operation.flash and not tried
    images = images_of(story, flash=read, believe=not askable)
    cycled = next(iter(story.notes("power_cycled")), None)
    after = tuple(b for b in story.boots if cycled is not None and b.start >= cycled.t)
    case = Case(story, images, cycled, after, control, read, askable)
    return case, _missing(case)


def _missing(case: Case) -> str:
    """Which witness was missing, in words; "" if none was."""
    if not case.story.operation.uart:
        return "the board has no UART"
    if not case.story.watched_uart:
        return "the serial port was gone for a time"
    if case.flash is None and not case.askable and case.images.final.by in WEAK:
        return f"flash cannot be read, so the {case.images.final.by} of the firmware is believed"
    return ""


def _of_one(
    operation: Operation, events: Sequence[Event], begin: Begin
) -> tuple[list[Event], Noted | None]:
    """The events up to the next restore or operation; and the control, which is a restore."""
    own: list[Event] = []
    control = None
    over = False
    for at in range(begin.at, len(events)):  # a slice would copy all that is left
        event = events[at]
        later = event.source == "ota" and event.seq > operation.seq
        if later and event.board in (operation.board, None):
            if event.kind == "operation":
                break
            if event.kind == "control":
                control = Noted(event.t, event.seq, event.kind, event.data)
            over = over or event.kind == "restored"
        if not over:
            own.append(event)
    return own, control


def _as_heard(operation: Operation, events: Sequence[Event], until: float) -> list[Event]:
    """What was told only after the watch had ended came after it, whatever its time: the watch
    ended without it, and a verdict must not depend on how long the judge was waited for."""
    ended = next(
        (
            e.seq
            for e in events
            if e.seq > operation.seq and (e.source, e.kind) == ("ota", "watch_ended")
        ),
        None,
    )
    if ended is None:
        return list(events)
    return [replace(e, t=until + AFTER_S) if e.seq > ended and e.t <= until else e for e in events]


def _until(operation: Operation, events: Sequence[Event]) -> float:
    """The end of the watch; without one, the last event."""
    after = [e for e in events if e.seq >= operation.seq]
    ended = next((e.t for e in after if (e.source, e.kind) == ("ota", "watch_ended")), None)
    return max(e.t for e in after) if ended is None else ended


def _raise_if_open(case: Case, left: list[tuple[Outcome, Holds]]) -> None:
    if len(left) > 1:
        wants = frozenset[str]().union(*(holds.wants for _, holds in left))
        why = next((holds.why for _, holds in left if holds.why), "a witness is missing")
        raise Undecided([str(outcome) for outcome, _ in left], wants, why)
    if left[0][0] is Outcome.OFFLINE and case.control is None:
        raise Undecided(
            [str(Outcome.OFFLINE)],
            {"control"},
            "the board is away; whether Old would log in from here was not tried",
        )


def _verdict(case: Case, outcome: Outcome, partial: str, events: Sequence[Event]) -> Verdict:
    story, final = case.story, case.images.final
    own = [e for e in events if e.seq >= story.operation.seq and e.t <= story.until]
    known = story.operation.images.get(final.image or "", {}).get("version")
    told = [report.version for report in story.reports(final.boot) if report.version]
    starts = outcome is not Outcome.BRICKED
    return Verdict(
        outcome=outcome,
        air_status=air_status(own),
        reasons=reasons_of(case, outcome, partial=partial),
        findings=findings_of(case, outcome),
        partial=bool(partial),
        running=(known or (told[-1] if told else None)) if starts else None,
        running_image=final.image if starts else None,
        versions=_versions(case),
        downloads=tuple(
            one.told(number, story.device) for number, one in enumerate(story.downloads, 1)
        ),
        boots=len(story.started),
        crashes=crashes_in_words(case),
        seconds=round(story.device(story.operation.t, story.until), 3),
        slots=case.images.believed_slots(),
        metrics=metrics_of(story),
        flash=None if case.flash is None else FlashSeen.of(case.flash.data),
    )


def _versions(case: Case) -> tuple[str, ...]:
    """Reported within the operation, repeats in a row left out."""
    found: list[str] = []
    for report in case.story.reports():
        if report.version and report.t >= case.story.operation.t and found[-1:] != [report.version]:
            found.append(report.version)
    return tuple(found)
