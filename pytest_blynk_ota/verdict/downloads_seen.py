"""Downloads: requests grouped by boot and offer, and how each ended. Pure.

The endings are asked in order; the first that holds is the word (docs/reference/outcomes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_blynk_ota.verdict.answers import NOTHING_BEYOND, acknowledged, came, is_redirect
from pytest_blynk_ota.verdict.boots import Boot
from pytest_blynk_ota.verdict.fault_kinds import OURS, is_page, kind_of, stalls
from pytest_blynk_ota.verdict.network_seen import network_trouble
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.outcome import Download
from pytest_blynk_ota.verdict.sightings import Connection, Early, Fired, Request

if TYPE_CHECKING:
    from pytest_blynk_ota.verdict.story import Story

FOLLOW_S = 5.0
"""Device seconds for the next request of a redirect, or for the rest of a file that comes in parts:
with none in this time the device has left it there."""


@dataclass(slots=True)
class DownloadSeen:
    """What one boot did with one offer's URL.

    Attributes:
        start: the first connection. Host seconds.
        knocks: its connections that asked for nothing.
        early: the faults in it that need no request.
        end: when it was over; None: it was still going at the end.
        ended: the word.
        image: the name of the image behind the URL.
        network: what the test did to the network meanwhile, in words.
    """

    boot: Boot
    offer: str
    operation: Operation
    start: float
    seq: int
    until: float
    requests: list[Request]
    knocks: list[Connection] = field(default_factory=list)
    early: list[Early] = field(default_factory=list)
    end: float | None = None
    ended: str = ""
    image: str = ""
    network: tuple[str, ...] = ()

    @property
    def gets(self) -> list[Request]:
        """The requests that count: each GET, else all."""
        return [one for one in self.requests if one.method == "GET"] or self.requests

    @property
    def last(self) -> Request | None:
        """The request whose answer counts: the last GET; but not one beyond the end of a file of
        which each part has come."""
        gets = self.gets
        while len(gets) > 1 and gets[-1].status == NOTHING_BEYOND and came(gets[:-1]):
            gets = gets[:-1]
        return gets[-1] if gets else None

    @property
    def attempt(self) -> int:
        """The firmware server's number; 0 if nothing was requested."""
        if self.last is not None:
            return self.last.attempt
        early = [one.attempt for one in self.knocks] + [one.attempt for one in self.early]
        return next((attempt for attempt in early if attempt), 0)

    @property
    def moved(self) -> float:
        """When it was last seen to make progress: that the device knocks anew is some, a redirect
        is none. Host seconds."""
        before: list[Request | None] = [None, *self.requests]
        rows = [
            one.moved
            for one, last in zip(self.requests, before, strict=False)
            if not _leads_nowhere(one, last)
        ]
        return max([self.start, *rows, *(one.t for one in self.knocks)])

    @property
    def fired_in(self) -> list[Fired]:
        """The faults that fired in it, those that need no request first."""
        return [
            *(one.fired for one in self.early),
            *(fault for one in self.requests for fault in one.fired),
        ]

    @property
    def fired(self) -> tuple[str, ...]:
        """Their texts, in order."""
        return tuple(dict.fromkeys(fault.text for fault in self.fired_in))

    @property
    def events(self) -> tuple[int, ...]:
        """The events that tell of it: its begin, its faults, its end."""
        rows = [self.seq, *(one.fired.seq for one in self.early)]
        rows += [one.failed_seq for one in self.knocks if one.failed_seq]
        for one in self.requests:
            rows += [one.seq, *(f.seq for f in one.fired), *([one.ended_seq] * bool(one.ended))]
        return tuple(dict.fromkeys(rows))

    @property
    def good_answer(self) -> bool:
        """Whether the last answer was a 2xx with a body, and not the page of a status fault: how
        much of so short a page was acknowledged before the device closed is chance."""
        last = self.last
        if last is None or last.status is None:
            return last is not None and last.acked > 0
        if any(kind_of(one.text) == "status" and is_page(one.text) for one in last.fired):
            return False
        return 200 <= last.status < 300 and last.announced != 0

    @property
    def whole(self) -> bool:
        """Whether all that its headers announced was acknowledged; of parts, each of them."""
        return self.last is not None and self.good_answer and came(self._up_to_last())

    def _up_to_last(self) -> list[Request]:
        gets = self.gets
        return gets[: next(i for i, one in enumerate(gets, 1) if one is self.last)]

    @property
    def redirects(self) -> int:
        """How many of its requests were redirected before the one that counts."""
        return sum(is_redirect(one) for one in self._up_to_last()[:-1]) if self.last else 0

    @property
    def goes_on(self) -> bool:
        """Whether its last answer asks for another request: a redirect, or a part of the file."""
        last = self.last
        if last is None or last.ended is None:
            return False
        return is_redirect(last) or (
            last.part is not None and acknowledged(last) and not self.whole
        )

    @property
    def asked(self) -> float | None:
        """When the device last followed a redirect, or was asked to; None: it is past that."""
        last = self.last
        if last is None or not (self.goes_on or _leads_nowhere(last, self._before(last))):
            return None
        return last.t if last.ended is None else last.ended

    def _before(self, request: Request) -> Request | None:
        at = next(i for i, one in enumerate(self.requests) if one is request)
        return self.requests[at - 1] if at else None

    def given_up(self, t: float) -> bool:
        """Whether it was over at ``t``; or so that the device may have given it up, whether it said
        so or not: stalled, refused, closed by us, or left lying. That it was over a busy host may
        have noticed late."""
        over = self.last is None or (
            self.last.ended_first is not None and self.last.ended_first <= t
        )
        closed = self.last is not None and any(
            kind_of(fault.text) in OURS and fault.t <= t for fault in self.last.fired
        )
        given = _refused(self) or _stalled(self, min(t, self.until))
        return over or closed or self.whole or given or self.left_lying

    @property
    def left_lying(self) -> bool:
        """Whether the device takes none of what we have for it, though it is there."""
        return self.last is not None and self.last.held_back and self.last.written > self.last.acked

    def told(self, number: int, device: Callable[[float, float], float]) -> Download:
        """As the verdict shows it. ``device``: host times to device seconds."""
        last = self.last
        end = self.until if self.end is None else self.end
        return Download(
            number=number,
            offer=self.offer,
            attempt=self.attempt,
            ended=self.ended,
            status=(last.status or None) if last else None,  # 0: what came was no HTTP
            announced=last.announced if last else None,
            written=last.written if last else 0,
            acked=last.acked if last else 0,
            fault="; ".join(self.fired) or None,
            seconds=round(max(0.0, device(self.start, end)), 3),
        )


def _leads_nowhere(one: Request, before: Request | None) -> bool:
    """Whether a request is redirected, or follows a redirect and has no answer yet."""
    follows = before is not None and is_redirect(before)
    return is_redirect(one) or (follows and one.status is None and not one.acked)


Groups = dict[tuple[int, str, int], DownloadSeen]


def downloads_of(story: Story, *, every: bool = False) -> list[DownloadSeen]:
    """The downloads of the operation, in order; with ``every`` those of earlier ones too."""
    groups: Groups = {}
    opened = {one.conn: one for one in story.seen.connections}
    for request in story.seen.requests:
        if not request.offer or request.t > story.until:
            continue
        if not every and request.operation != story.operation.seq:
            continue
        connection = opened.get(request.conn)
        start = min(request.t, connection.t) if connection else request.t
        when = (request.came, request.t)
        boot = _boot_of(story, when, request.operation, request.offer)
        key = (request.operation, request.offer, boot.index)
        _group(story, groups, key, boot, start, request.seq).requests.append(request)
    _knocks(story, groups)
    _early(story, groups)
    found = sorted(groups.values(), key=lambda one: (one.start, one.seq))
    for one in found:
        one.end = _end(one)
        one.ended = next(word for word, holds in ENDINGS if holds(one))
        end = one.until if one.end is None else one.end
        one.network = network_trouble(story.seen, one.start, end)
    return found


def _group(
    story: Story, groups: Groups, key: tuple[int, str, int], boot: Boot, start: float, seq: int
) -> DownloadSeen:
    """The download of a boot and an offer; begun here if it is new."""
    if key not in groups:
        one = DownloadSeen(boot, key[1], story.operation, start, seq, story.until, [])
        one.image = story.seen.files.get(key[:2]) or story.operation.offered
        groups[key] = one
    groups[key].start = min(groups[key].start, start)
    return groups[key]


def _boot_of(story: Story, when: tuple[float, float], operation: int, offer: str) -> Boot:
    """The boot of a request that came at the first of two times at the earliest and was noticed at
    the second. Within the skew of a reset it is the boot that got the offer."""
    came, t = when
    skew = story.operation.skew
    app = [boot for boot in story.boots if not boot.loader and boot.first <= t + skew]
    near = [boot for boot in app if boot.until >= came - skew] or app[-1:]
    offered = next(
        (o.session for o in story.seen.offers if (o.operation, o.offer) == (operation, offer)), None
    )
    got = next((v.boot for v in story.visits if v.session.number == offered), None)
    if any(boot is got for boot in near):
        assert got is not None
        return got
    return next((boot for boot in reversed(near) if boot.start <= t), near[0])


def _knocks(story: Story, groups: Groups) -> None:
    """Connections that never asked for anything (TLS that was not agreed on) are downloads too."""
    asked = {one.conn for one in story.seen.requests}
    operation = story.operation
    for one in story.seen.connections:
        if one.conn in asked or one.operation != operation.seq or one.t > story.until:
            continue
        if not _is_own(story, one):
            continue
        offers = [o for o in story.seen.offers if o.operation == operation.seq and o.t <= one.t]
        offer = one.offer or (offers[-1].offer if offers else "")
        boot = next((b for b in reversed(story.boots) if b.start <= one.t), None)
        if not offer or boot is None or boot.loader:
            continue
        key = (operation.seq, offer, boot.index)
        _group(story, groups, key, boot, one.t, one.seq).knocks.append(one)


def _is_own(story: Story, one: Connection) -> bool:
    """Whether a connection is this board's: it may be any board's of the rig, unless its port or
    its address tells."""
    if one.offer or one.board is not None or not story.seen.others:
        return True
    where = {True: set[str](), False: set[str]()}
    for session in story.seen.sessions.values():
        where[session.mine].add(_host(session.peer))
    return _host(one.peer) in where[True] - where[False]


def _host(peer: str) -> str:
    return peer.rpartition(":")[0]


def _early(story: Story, groups: Groups) -> None:
    """Faults that need no request belong to the download that they were in the way of."""
    known = {one.conn: key for key, seen in groups.items() for one in seen.knocks}
    known |= {one.conn: key for key, seen in groups.items() for one in seen.requests}
    for early in story.seen.early:
        if early.operation != story.operation.seq or early.fired.t > story.until:
            continue
        if early.conn is not None:
            key = known.get(early.conn)
        else:
            when = (early.fired.t, early.fired.t)
            boot = _boot_of(story, when, early.operation, early.offer)
            key = (early.operation, early.offer, boot.index)
        if key in groups:
            groups[key].early.append(early)


def _end(one: DownloadSeen) -> float | None:
    """When it was over: its own end, at the latest that of its boot. None: still going."""
    ends = [one.boot.until, *_own_end(one)]
    end = min(ends)
    return end if end <= one.until else None


def _own_end(one: DownloadSeen) -> Iterable[float]:
    last = one.last
    if last is None:
        yield from _knocked(one)
    elif last.ended is not None:
        follow = one.operation.wall(FOLLOW_S) if one.goes_on else 0.0
        if last.ended + follow <= one.until:
            yield last.ended


def _knocked(one: DownloadSeen) -> Iterable[float]:
    """When connections that asked for nothing were over: a stalled handshake is not by itself."""
    gone = [knock.gone for knock in one.knocks if knock.gone is not None]
    if len(gone) == len(one.knocks):
        yield max(gone)
    elif not _early_stall(one):
        yield one.moved + one.operation.wall(one.operation.ways.request_s)


def _early_stall(one: DownloadSeen) -> bool:
    return any(stalls(early.fired.text) and early.over is None for early in one.early)


def _open(one: DownloadSeen) -> bool:
    return one.end is None


def _stalled(one: DownloadSeen, at: float | None = None) -> bool:
    """In force, or in flight. A server that vanished is never back: such an answer ends when the
    device gives it up, and knocks once more. Of what lies beyond the announced length nobody has to
    take a byte."""
    last = one.last
    if last is None:
        return _early_stall(one)
    end = at if at is not None else one.end
    in_force = any(
        kind_of(fault.text) == "vanish" or (stalls(fault.text) and fault.index not in last.over)
        for fault in last.fired
    )
    limit = one.operation.wall(one.operation.ways.in_flight_stall_s)
    owed = last.written if last.announced is None else min(last.written, last.announced)
    flying = owed > last.acked and not one.left_lying
    if end is not None and end == last.ended and last.ended_first is not None:
        end = last.ended_first
    return in_force or (end is not None and flying and end - last.waiting >= limit)


def _refused(one: DownloadSeen) -> bool:
    last = one.last
    return last is None or (last.status is not None and not one.good_answer)


def _abandoned(one: DownloadSeen) -> bool:
    """Closed by the device, before the server did. A reset board cannot say FIN, so FIN needs no
    order with a reset. A part without the rest was left by a board that runs on.

    With RST it may have been: what :func:`in_time` does not vouch for is not decided by it."""
    last = one.last
    if last is None or last.ended is None or any(kind_of(f.text) in OURS for f in last.fired):
        return False
    assert last.ended_first is not None, "it goes with the end"
    skew = one.operation.skew
    if one.goes_on:
        return last.ended_first < one.boot.until - skew
    if last.ended_by != "device":
        return False
    if last.ended_how == "fin":
        return last.ended_first <= one.boot.until + skew
    crashed = one.boot.crash is not None and one.boot.crash.t <= last.ended + skew
    return last.ended_how == "rst" and last.ended_first < one.boot.until - skew and not crashed


def in_time(one: DownloadSeen) -> bool:
    """Whether it ended before the next reset for sure, however late a busy host noticed both."""
    last = one.last
    assert last is not None, "it asks of a download that was abandoned"
    assert last.ended is not None
    return last.ended < one.boot.until_first - one.operation.skew


ENDINGS: Sequence[tuple[str, Callable[[DownloadSeen], bool]]] = (
    ("open", _open),
    ("stalled", _stalled),
    ("refused", _refused),
    ("complete", lambda one: one.whole),
    ("abandoned", _abandoned),
    ("cut", lambda one: True),
)
"""How a download ended: the first that holds."""
