"""When there is no outcome, because the rack failed or the test proved nothing. Pure.

Two tables: what makes a verdict impossible before any outcome is looked at, and what takes an
outcome back. Each row raises the error or lets pass (docs/reference/outcomes.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota import errors
from pytest_blynk_ota.errors import FaultNotReached, OldNotSettled, RigError
from pytest_blynk_ota.verdict.boots import POWER_ON
from pytest_blynk_ota.verdict.downloads_seen import DownloadSeen
from pytest_blynk_ota.verdict.fault_kinds import kind_of, stalls
from pytest_blynk_ota.verdict.operation import Ways
from pytest_blynk_ota.verdict.outcome import Outcome
from pytest_blynk_ota.verdict.rows import Case, loop_resets, new_first_start
from pytest_blynk_ota.verdict.sightings import Early, Noted, Request, Session
from pytest_blynk_ota.verdict.story import Story, Visit

NEEDS_ITS_FAULT = (
    Outcome.UPGRADED,
    Outcome.DOWNLOAD_LIMIT_REACHED,
    Outcome.STALLED,
    Outcome.DOWNLOAD_FAILED,
)
"""Outcomes 5, 9, 12 and 13: without the fault they prove nothing."""

SETTLE_S = Ways().settle_s

TAKEN = re.compile(r"^replaced by ")
"""Why a session closed, in words of the cloud, where a newer login of its token took its place."""

OFFSET = re.compile(r"\b(?:after|at)=(last )?(\d+(?:\.\d+)?)(%?)")
"""The offset in a fault's text form (delivery/faults.py)."""

SECONDS = re.compile(r"\bseconds=(\d+(?:\.\d+)?)")
"""The time in the text form of a fault of the cloud (cloud/faults.py)."""


def rack_failed(case: Case) -> None:
    """A port, outlet, lease, network or server failed."""
    for note in case.story.seen.rig:
        if case.story.operation.t <= note.t <= case.story.until:
            name = str(note.data.get("error", "RigError"))
            kind = getattr(errors, name, RigError)
            told = f"during the operation: {note.data.get('message', '')}"
            raise kind(told) if kind in _PLAIN else RigError(f"{name} {told}")


_PLAIN = (errors.PortGone, errors.LoaderSilent, errors.FlashFailed, errors.OutletUnreachable)
"""Errors that are made of one message."""


def old_did_not_settle(case: Case) -> None:
    """After a restore, Old has to be up before the operation begins."""
    story, begin = case.story, case.story.operation
    restored = [
        n for n in story.seen.notes if n.kind in ("restored", "operation") and n.seq < begin.seq
    ]
    if not restored or restored[-1].kind != "restored":
        return
    settle = min(begin.ways.settle_s, SETTLE_S)  # the operation's may be New's, with a self-test
    since = _put_back_at(story, restored[-1]) - begin.skew
    if restored[-1].data.get("how") == "snapshot":  # taken when Old had settled: it has to be up
        settle, since = 0.0, restored[-1].t
    wanted = begin.wall(settle) - begin.skew
    for visit in story.visits:
        if since < visit.login < begin.t and min(visit.end, begin.t) - visit.login >= wanted:
            return
    raise OldNotSettled(
        f"board {begin.board}: after the restore, Old was not logged in for "
        f"{settle:g} s before the operation began; look at its log and its settings"
    )


def _put_back_at(story: Story, restored: Noted) -> float:
    """When Old was started: by the last reset of the restore, which enters the loader first. That
    it is done is said when the board has been heard, which on a busy host may be after its login,
    and by more than the restore took."""
    entered = [a.t for a in story.seen.acts if a.what == "loader" and a.t <= restored.t]
    begun = max(entered, default=restored.t - restored.data.get("seconds", 0.0))
    ours = [boot.start for boot in story.boots if boot.by == "rig" and not boot.loader]
    return max((t for t in ours if begun <= t <= restored.t), default=restored.t)


def two_devices(case: Case) -> None:
    """Two devices spoke in turns on one token; a half-open old link is silent."""
    sessions = case.story.seen.own_sessions()
    skew = case.story.operation.skew
    for at, first in enumerate(sessions):
        for second in sessions[at + 1 :]:
            if _in_turns(first, second, skew) and second.opened <= case.story.until:
                raise RigError(
                    f"two devices use the token of board {case.story.operation.board}: cloud "
                    f"session {first.number} ({first.peer}) still spoke after session "
                    f"{second.number} ({second.peer}) had logged in; give each its own token"
                )


def taken_in_turns(case: Case) -> None:
    """The same where each login ends the other's session: in one boot the device would have run
    another firmware in between, or have gone to and fro between two addresses."""
    story = case.story
    if not story.watched_uart:
        return
    for boot in story.window:
        visits = [visit for visit in story.visits_in(boot) if visit.reports]
        said = [f"{v.reports[-1].version} {v.reports[-1].build}".strip() for v in visits]
        peers = [visit.session.peer.rpartition(":")[0] for visit in visits]
        for told, length in ((said, 3), (peers, 4)):
            for at in range(len(told) - length + 1):
                _raise_if_two(case, visits[at : at + length], told[at : at + length])


def _raise_if_two(case: Case, visits: Sequence[Visit], told: Sequence[str]) -> None:
    """Each took the last one's place, and they differ by turns."""
    places = all(TAKEN.search(visit.session.closed_why) for visit in visits[:-1])
    by_turns = all(one == other for one, other in zip(told, told[2:], strict=False))
    if places and by_turns and told[0] != told[1]:
        pairs = zip(visits, told, strict=True)
        rows = ", then ".join(f"{one} on session {v.session.number}" for v, one in pairs)
        raise RigError(
            f"two devices use the token of board {case.story.operation.board}: in one boot the "
            f"cloud saw {rows}; give each its own token"
        )


def _in_turns(first: Session, second: Session, skew: float) -> bool:
    if second.login is None or not first.said or not second.said:
        return False
    again = [t for t in first.said if t > second.login + skew]
    return bool(again) and any(t > again[0] for t in second.said)


def left_without_power(case: Case) -> None:
    """The test itself kept the device away at the end."""
    if case.story.held_at(case.story.until):
        raise RigError(
            f"board {case.story.operation.board}: the test kept it away (power, loader or network) "
            "up to the end of the watch, so nothing can be said; give it back before the end"
        )


def control_failed(case: Case) -> None:
    """Old does not come back either: it is not New's fault that the board is away."""
    if case.control is not None and not case.control.data["ok"]:
        raise RigError(
            f"board {case.story.operation.board} is away, and so it stays with Old restored: "
            f"{case.control.data.get('detail', '')}"
        )


BEFORE: Sequence[Callable[[Case], None]] = (
    rack_failed,
    old_did_not_settle,
    two_devices,
    taken_in_turns,
    left_without_power,
    control_failed,
)
"""Asked before any outcome is looked at."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault that was planned and never fired, or not where it had to.

    Attributes:
        due: whether its moment has come all the same: then who had to make it has failed.
        by: who that is.
        may: that it never fires is no error.
    """

    text: str
    due: bool
    by: str
    may: bool = False


def fault_not_reached(case: Case, outcome: Outcome) -> None:
    """A planned fault did not fire, though due; or the outcome proves nothing without it."""
    for planned in unfired(case.story):
        if planned.due:
            raise FaultNotReached(
                f"the fault {planned.text!r} was due and did not fire: the {planned.by} failed"
            )
        if planned.may:
            continue
        if outcome in NEEDS_ITS_FAULT and not case.story.unexpected():
            raise FaultNotReached(
                f"the fault {planned.text!r} never fired: the operation ended as {outcome} after "
                f"{len(case.story.downloads)} downloads; plan it for one that takes place, or "
                f"mark it maybe"
            )


def unfired(story: Story) -> list[Planned]:
    """The planned faults that never fired, and those that did not where they had to."""
    return [*_unfired_downloads(story), *_unfired_cloud(story)]


def _unfired_downloads(story: Story) -> list[Planned]:
    own = [one for one in story.seen.requests if one.operation == story.operation.seq]
    early = [one for one in story.seen.early if one.operation == story.operation.seq]
    fired = {one.fired.index for one in early}
    fired |= {fault.index for request in own for fault in request.fired}
    rows = []
    for index, fault in enumerate(story.operation.faults):
        due = any(_late(request, index, early) for request in own)
        if index in fired and not due:
            continue
        due = due or any(_passed(fault, download) for download in story.downloads)
        text, may = str(fault["text"]), bool(fault.get("maybe"))
        rows.append(Planned(text, due, "firmware server", may))
    return rows


def _late(request: Request, index: int, early: Sequence[Early]) -> bool:
    """Whether an answer went beyond the byte at which the server said that a fault was due."""
    byte = request.due.get(index)
    if byte is None or request.acked <= byte:
        return False
    fired = [fault.index for fault in request.fired]
    fired += [one.fired.index for one in early if one.conn == request.conn]
    return index not in fired


def _unfired_cloud(story: Story) -> list[Planned]:
    """Those of the cloud. With an offer that went out, what is not for a later phase is due."""
    operation = story.operation.seq
    offers = {offer.offer for offer in story.seen.offers if offer.operation == operation}
    rows = []
    for index, fault in enumerate(story.operation.cloud_faults):
        if (operation, index) in story.seen.cloud_faults:
            continue
        numbers = fault["offers"]
        met = {f"o{number}" for number in numbers} & offers if numbers else offers
        due, may = bool(met) and not fault["later"], bool(fault.get("maybe"))
        rows.append(Planned(str(fault["text"]), due, "cloud", may))
    return rows


def _passed(fault: Mapping[str, Any], download: DownloadSeen) -> bool:
    """Whether a download of its attempts took place without it, whatever the server says of it."""
    last = download.last
    if last is None or (fault["attempts"] and download.attempt not in fault["attempts"]):
        return False
    if "sure" not in fault:
        return _went_beyond(str(fault["text"]), download, last)
    bare = last.part is None and last.method == "GET" and not download.fired
    whole = download.whole and last.ended_how == "complete"
    return bool(fault["sure"]) and fault["kind"] in NEVER_MISSED and bare and whole


NEVER_MISSED = frozenset(
    {
        "stall",
        "latency",
        "drip",
        "bandwidth",
        "slow_headers",
        "truncate",
        "reset",
        "half_close",
        "vanish",
        "status",
        "garbage",
        "page",
        "redirect",
        "corrupt",
    }
)
"""No file comes whole and undisturbed where one of these is due."""


def _went_beyond(text: str, download: DownloadSeen, last: Request) -> bool:
    """The same for evidence in which the server did not say yet what was due where."""
    if text.startswith("status"):
        return last.status is not None
    if download.whole and last.ended_how == "complete":
        return True
    found = OFFSET.search(text)
    if not download.good_answer or last.announced is None or not found:
        return False
    number = float(found[2])
    offset = last.announced * number / 100 if found[3] else number
    return last.acked > (last.announced - number if found[1] else offset) + 1


def rests_on_a_power_on(case: Case, outcome: Outcome) -> None:
    """A power-on reset that neither test nor outlet made: a cable, a supply, a hand."""
    if outcome is Outcome.BOOT_LOOP:
        resets = loop_resets(case)
    elif outcome in (Outcome.ROLLED_BACK, Outcome.REVERTED):
        since = new_first_start(case)
        resets = case.story.unexpected(since) if since is not None else []
    else:
        return
    for boot in resets:
        if boot.code == POWER_ON:
            raise RigError(
                f"board {case.story.operation.board}: {outcome} would rest on a power-on reset "
                f"(event #{boot.seq}) that neither the test nor the outlet made; look at its "
                "supply and its reset line"
            )


def answered_too_late(case: Case, outcome: Outcome) -> None:
    """Each link ended before the answer that a fault of the cloud held back: Old, restored as a
    control, was answered at once, so it does not show that New is to blame."""
    story = case.story
    late = max(_slow_s(story), default=0.0)
    links = [visit for visit in story.drops(story.until) if visit.boot is story.final]
    if outcome is not Outcome.OFFLINE or not late or not links:
        return
    if all(story.device(v.login, v.end) < late + story.operation.skew_s for v in links):
        raise RigError(
            f"board {story.operation.board}: the test had the cloud answer {late:g} s late, and "
            "the board waited for no answer so long; whether it would have stayed is not known: "
            "ask for a shorter time"
        )


def _slow_s(story: Story) -> list[float]:
    """Device seconds by which faults that have begun made the cloud's answers late."""
    texts = [
        str(fault["text"])
        for index, fault in enumerate(story.operation.cloud_faults)
        if (story.operation.seq, index) in story.seen.cloud_faults
    ]
    found = [SECONDS.search(text) for text in texts if text.startswith("slow")]
    return [float(one[1]) for one in found if one]


def stood_still(case: Case, outcome: Outcome) -> None:
    """The rig's own servers stood still for so long that a boot may have settled meanwhile: what
    came in that time came at once, and in which order it had happened nobody has seen. That nothing
    boots rests on no order."""
    story = case.story
    if outcome is Outcome.BRICKED:
        return
    begin, end = story.operation.t, story.until
    longest = max(
        (min(end, stop) - max(begin, start) for start, stop in story.seen.late), default=0
    )
    seconds = longest * story.operation.speed
    if seconds >= story.operation.ways.settle:
        raise RigError(
            f"board {story.operation.board}: the rig's servers stood still for {seconds:.0f} s of "
            "its time, on a host too busy for them, and nobody saw what it did meanwhile: run "
            "fewer tests at once, or a slower rig"
        )


def given_up_on_a_late_rig(case: Case, outcome: Outcome) -> None:
    """The device gave its download up while the rig's own servers stood still: it was not served,
    and what it would have made of the file is not known."""
    story = case.story
    last = story.downloads[-1] if story.downloads else None
    if outcome not in GIVEN_UP or last is None or last.whole or _has_cause(last):
        return
    sent = [t for t in story.offers() if t <= last.start]
    begin, end = (sent or [last.start])[-1], last.end if last.end is not None else story.until
    late = sum(max(0.0, min(end, stop) - max(begin, start)) for start, stop in story.seen.late)
    if late * story.operation.speed >= LATE_S:
        raise RigError(
            f"board {story.operation.board}: it gave up a download in which the rig's servers "
            f"stood still for {late * story.operation.speed:.1f} s of its time, on a host too busy "
            "for them: run fewer tests at once, or a slower rig"
        )


def _has_cause(download: DownloadSeen) -> bool:
    """Whether a fault may be why a device gave its download up. A bad certificate with which the
    handshake came about is none: the device took it."""
    taken = not any(knock.failed for knock in download.knocks)
    return any(not taken or kind_of(text) != "tls" or stalls(text) for text in download.fired)


GIVEN_UP = (Outcome.REJECTED, Outcome.DOWNLOAD_FAILED, Outcome.STALLED)
LATE_S = 2.0
"""Device seconds of a rig that stands still; the shortest limit of a stock firmware is 5."""


AFTER: Sequence[Callable[[Case, Outcome], None]] = (
    fault_not_reached,
    rests_on_a_power_on,
    answered_too_late,
    stood_still,
    given_up_on_a_late_rig,
)
"""Asked of an outcome that stands."""
