"""Downloads: requests grouped by boot and offer, and how each ended. Pure.

The endings are asked in order; the first that holds is the word (docs/reference/outcomes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.verdict.boots import Boot
from pytest_blynk_ota.verdict.network_seen import network_trouble
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.outcome import Download
from pytest_blynk_ota.verdict.sightings import Request

if TYPE_CHECKING:
    from pytest_blynk_ota.verdict.story import Story

IN_FORCE_IS_A_STALL = ("stall", "drip")
"""Faults that make a stall of a download that ends under them."""


@dataclass(slots=True)
class DownloadSeen:
    """What one boot did with one offer's URL.

    Attributes:
        start: the first connection. Host seconds.
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
    end: float | None = None
    ended: str = ""
    image: str = ""
    network: tuple[str, ...] = ()

    @property
    def last(self) -> Request | None:
        """The request whose answer counts: the last GET, else the last one."""
        gets = [one for one in self.requests if one.method == "GET"]
        counted = gets or self.requests
        return counted[-1] if counted else None

    @property
    def attempt(self) -> int:
        """The firmware server's number; 0 if nothing was requested."""
        return self.last.attempt if self.last else 0

    @property
    def moved(self) -> float:
        """When it was last seen to make progress. Host seconds."""
        return max([self.start, *(one.moved for one in self.requests)])

    @property
    def fired(self) -> tuple[str, ...]:
        """The faults that fired in it, in order."""
        return tuple(dict.fromkeys(f.text for one in self.requests for f in one.fired))

    @property
    def events(self) -> tuple[int, ...]:
        """The events that tell of it: its begin, its faults, its end."""
        rows = [self.seq]
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
        if any(fault.text.startswith("status") for fault in last.fired):
            return False
        return 200 <= last.status < 300 and last.announced != 0

    @property
    def whole(self) -> bool:
        """Whether all that its headers announced was acknowledged."""
        last = self.last
        if last is None or not self.good_answer:
            return False
        if last.announced is None:
            return last.ended_by == "server" and last.ended_how == "complete"
        return last.announced <= last.acked

    @property
    def corrupted(self) -> bool:
        """Whether the rig changed bytes of it."""
        return any(text.startswith("corrupt") for text in self.fired)

    def given_up(self, t: float) -> bool:
        """Whether it was over at ``t``, or stalled so that the device may have given it up."""
        over = self.last is None or (self.last.ended is not None and self.last.ended <= t)
        return over or self.whole or _stalled(self, min(t, self.until))

    def told(self, number: int, device: Callable[[float, float], float]) -> Download:
        """As the verdict shows it. ``device``: host times to device seconds."""
        last = self.last
        end = self.until if self.end is None else self.end
        return Download(
            number=number,
            offer=self.offer,
            attempt=self.attempt,
            ended=self.ended,
            status=last.status if last else None,
            announced=last.announced if last else None,
            written=last.written if last else 0,
            acked=last.acked if last else 0,
            fault="; ".join(self.fired) or None,
            seconds=round(max(0.0, device(self.start, end)), 3),
        )


def downloads_of(story: Story, *, every: bool = False) -> list[DownloadSeen]:
    """The downloads of the operation, in order; with ``every`` those of earlier ones too."""
    groups: dict[tuple[int, str, int], DownloadSeen] = {}
    operation = story.operation
    opened = {one.conn: one for one in story.seen.connections}
    for request in story.seen.requests:
        if not request.offer or request.t > story.until:
            continue
        if not every and request.operation != operation.seq:
            continue
        boot = _boot_of(story, request)
        key = (request.operation, request.offer, boot.index)
        connection = opened.get(request.conn)
        start = min(request.t, connection.t) if connection else request.t
        if key not in groups:
            groups[key] = DownloadSeen(
                boot, request.offer, operation, start, request.seq, story.until, []
            )
            named = story.seen.files.get((request.operation, request.offer))
            groups[key].image = named or operation.offered
        groups[key].requests.append(request)
    _silent(story, groups)
    found = sorted(groups.values(), key=lambda one: (one.start, one.seq))
    for one in found:
        one.end = _end(one)
        one.ended = next(word for word, holds in ENDINGS if holds(one))
        end = one.until if one.end is None else one.end
        one.network = network_trouble(story.seen, one.start, end)
    return found


def _boot_of(story: Story, request: Request) -> Boot:
    """The boot of a request. Within the skew of a reset it is the boot that got the offer."""
    skew = story.operation.skew
    app = [boot for boot in story.boots if not boot.loader and boot.start <= request.t + skew]
    near = [boot for boot in app if boot.until >= request.t - skew] or app[-1:]
    offered = next(
        (
            o.session
            for o in story.seen.offers
            if (o.operation, o.offer) == (request.operation, request.offer)
        ),
        None,
    )
    got = next((v.boot for v in story.visits if v.session.number == offered), None)
    if any(boot is got for boot in near):
        assert got is not None
        return got
    return next((boot for boot in reversed(near) if boot.start <= request.t), near[0])


def _silent(story: Story, groups: dict[tuple[int, str, int], DownloadSeen]) -> None:
    """Connections that never asked for anything (TLS that was not agreed on) are downloads too."""
    asked = {one.conn for one in story.seen.requests}
    operation = story.operation
    for one in story.seen.connections:
        if one.conn in asked or one.operation != operation.seq or one.t > story.until:
            continue
        if one.board is None and story.seen.others:
            continue  # it may be any board's
        offers = [o for o in story.seen.offers if o.operation == operation.seq and o.t <= one.t]
        boot = next((b for b in reversed(story.boots) if b.start <= one.t), None)
        if not offers or boot is None or boot.loader:
            continue
        key = (operation.seq, offers[-1].offer, boot.index)
        if key not in groups:
            groups[key] = DownloadSeen(
                boot, offers[-1].offer, operation, one.t, one.seq, story.until, []
            )
        groups[key].start = min(groups[key].start, one.t)


def _end(one: DownloadSeen) -> float | None:
    """When it was over: its own end, at the latest that of its boot. None: still going."""
    ends = [one.boot.until]
    last = one.last
    if last is None:
        ends.append(one.start + one.operation.wall(one.operation.ways.request_s))
    elif last.ended is not None:
        ends.append(last.ended)
    end = min(ends)
    return end if end <= one.until else None


def _open(one: DownloadSeen) -> bool:
    return one.end is None


def _stalled(one: DownloadSeen, at: float | None = None) -> bool:
    last = one.last
    if last is None:
        return False
    end = at if at is not None else one.end
    in_force = any(
        fault.text.startswith(IN_FORCE_IS_A_STALL) and fault.index not in last.over
        for fault in last.fired
    )
    limit = one.operation.wall(one.operation.ways.in_flight_stall_s)
    return in_force or (
        end is not None and last.written > last.acked and end - last.waiting >= limit
    )


def _refused(one: DownloadSeen) -> bool:
    last = one.last
    return last is None or (last.status is not None and not one.good_answer)


def _abandoned(one: DownloadSeen) -> bool:
    """Closed by the device. A reset board cannot say FIN, so FIN needs no order with a reset."""
    last = one.last
    if last is None or last.ended is None or last.ended_by != "device":
        return False
    skew = one.operation.skew
    if last.ended_how == "fin":
        return last.ended <= one.boot.until + skew
    return last.ended_how == "rst" and last.ended < one.boot.until - skew


ENDINGS: Sequence[tuple[str, Callable[[DownloadSeen], bool]]] = (
    ("open", _open),
    ("stalled", _stalled),
    ("refused", _refused),
    ("complete", lambda one: one.whole),
    ("abandoned", _abandoned),
    ("cut", lambda one: True),
)
"""How a download ended: the first that holds."""
