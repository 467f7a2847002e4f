"""The story of one operation: boots, cloud sessions, downloads, what was expected. Pure.

Built from sightings by their times alone. Two witnesses within the skew have no order: where a
session's boot depends on it, the session keeps all boots that it may belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pytest_blynk_ota.verdict.boots import (
    DEEP_SLEEP,
    LATE_WALL_S,
    NEVER,
    PLAIN_CODES,
    Boot,
    boots_of,
    weigh,
)
from pytest_blynk_ota.verdict.downloads_seen import DownloadSeen, downloads_of
from pytest_blynk_ota.verdict.network_seen import network_trouble
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.sightings import LONG_AGO, Fired, Noted, Report, Session, Sightings


@dataclass(slots=True)
class Visit:
    """A session as the device lived it.

    Attributes:
        boot: the boot in which its connection was opened.
        near: all boots in which it may have been opened, where only the skew tells them apart.
        end: when it ended for the device, which TCP may notice later. Host seconds.
    """

    session: Session
    boot: Boot
    near: tuple[Boot, ...]
    end: float = NEVER

    @property
    def login(self) -> float:
        """When it logged in; infinite if it never did."""
        return NEVER if self.session.login is None else self.session.login

    @property
    def reports(self) -> list[Report]:
        """What it reported, in order."""
        return self.session.reports


@dataclass(slots=True)
class Story:
    """One operation up to ``until`` (host seconds), on the background of all that came before.

    Attributes:
        held: when the test or the rig kept the device away.
        uncounted: the same, and when a host too busy for it kept us from seeing and serving it.
    """

    operation: Operation
    seen: Sightings
    until: float
    boots: list[Boot]
    visits: list[Visit]
    held: list[tuple[float, float]]
    uncounted: list[tuple[float, float]]
    downloads: list[DownloadSeen] = field(default_factory=list)
    lines: list[Noted] | None = field(default=None, init=False, repr=False, compare=False)
    """Those of the operation, once somebody has asked for them."""
    _window: list[Boot] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def window(self) -> list[Boot]:
        """The boot that runs when the operation begins, and those that begin in it."""
        if self._window is None:  # asked for at each of its boots, of which a loop makes many
            self._window = self._in_window()
        return self._window

    def _in_window(self) -> list[Boot]:
        app = [boot for boot in self.boots if not boot.loader and boot.start <= self.until]
        first = max((i for i, boot in enumerate(app) if boot.start <= self.operation.t), default=0)
        return app[first:]

    @property
    def started(self) -> list[Boot]:
        """The boots that began in the operation and that somebody saw."""
        return [boot for boot in self.window[1:] if not boot.inferred]

    @property
    def final(self) -> Boot:
        """The boot at the end."""
        return self.window[-1]

    @property
    def last_download(self) -> DownloadSeen | None:
        """The last download of the operation."""
        return self.downloads[-1] if self.downloads else None

    @property
    def watched_uart(self) -> bool:
        """Whether the UART could have seen each reset of the operation."""
        return self.operation.uart and not self.blind(self.operation.t, self.until)

    def blind(self, start: float, end: float) -> bool:
        """Whether the serial port was gone for a time that no power switching explains."""
        offs = [act.t for act in self.seen.acts if act.what == "off"]
        return any(
            lost < end and back > start and not any(abs(lost - off) <= 3.0 for off in offs)
            for lost, back in self.seen.gaps
        )

    def device(self, start: float, end: float) -> float:
        """Device seconds between two host times, without those that the test took away, and those
        in which nobody could see or serve the device."""
        start = self.operation.t if start == LONG_AGO else start
        away = sum(max(0.0, min(end, stop) - max(start, begin)) for begin, stop in self.uncounted)
        return (end - start - away) * self.operation.speed

    def after(self, start: float, device_s: float) -> float:
        """The host time so many device seconds after ``start``, taken-away time left out."""
        return _after(start, self.operation.wall(device_s), self.uncounted)

    def live(self, t: float) -> Visit | None:
        """The visit that is logged in at ``t``."""
        return next((v for v in reversed(self.visits) if v.login <= t < v.end), None)

    def held_at(self, t: float) -> bool:
        """Whether the test keeps the device away at ``t``."""
        return any(begin <= t < stop for begin, stop in self.held)

    def visits_in(self, boot: Boot) -> list[Visit]:
        """The visits of one boot that logged in."""
        return [v for v in self.visits if v.boot is boot and v.login <= self.until]

    def app_signs(self, boot: Boot, until: float = NEVER) -> list[int]:
        """Events up to ``until`` that show that an app ran in this boot."""
        marks = [
            m.seq
            for kind in ("slot", "app", "firmware", "crash")
            for m in boot.marked(kind)
            if m.t <= until
        ]
        visits = [
            v.session.seq for v in self.visits if v.boot is boot and v.session.opened <= until
        ]
        downloads = [d.seq for d in self.downloads if d.boot is boot]
        return marks + visits + downloads

    def reports(self, boot: Boot | None = None) -> list[Report]:
        """Reports of the operation's boots up to its end, in order; of one boot if given."""
        boots = self.window if boot is None else [boot]
        rows = [
            report
            for visit in self.visits
            if any(visit.boot is one for one in boots) and visit.end >= self.operation.t
            for report in visit.reports
            if report.t <= self.until
        ]
        return sorted(rows, key=lambda report: (report.t, report.seq))

    def settled_point(self, visit: Visit) -> float:
        """When this visit made the board settled, if it lasted; host seconds. While the servers
        stood still nobody saw whether it did."""
        ways = self.operation.ways
        if ways.sleeper:
            at = next((i for i, v in enumerate(self.visits) if v is visit), 0)
            before = self.visits[at - 1] if at else None
            same = before is not None and _said(before) == _said(visit)
            return visit.login if same else NEVER
        return _after(visit.login, self.operation.wall(ways.settle), self.seen.late)

    def settled_at(self, t: float) -> Visit | None:
        """The visit that makes the board settled at ``t``."""
        visit = self.live(t)
        if visit is None and self.operation.ways.sleeper:
            visit = next((v for v in reversed(self.visits) if v.login <= t), None)
        return visit if visit is not None and self.settled_point(visit) <= t else None

    def last_settled(self, t: float) -> float:
        """The last moment up to ``t`` at which the board was settled; long ago if never."""
        return max(
            (min(v.end, t) for v in self.visits if self.settled_point(v) <= min(v.end, t)),
            default=LONG_AGO,
        )

    def drops(self, t: float) -> list[Visit]:
        """Visits that ended since the board last settled; our own doings are left out, that the
        board left for a download, and logins that the cloud heard when the board had long begun
        another connection: it waited for us, and we were late."""
        since = self.last_settled(t)
        return [
            v
            for v in self.visits
            if max(since, self.operation.t) < v.end <= t
            and v.login < NEVER
            and not self._ours(v.end)
            and not self._left_for_download(v)
            and not self._heard_late(v)
        ]

    def _heard_late(self, visit: Visit) -> bool:
        """Whether the board had begun its next connection before this one's login was heard."""
        at = next(i for i, one in enumerate(self.visits) if one is visit)
        after = self.visits[at + 1 : at + 2]
        return any(one.session.opened <= visit.login for one in after)

    def _left_for_download(self, visit: Visit) -> bool:
        sent = [o.t for o in self.seen.offers if o.session == visit.session.number]
        limit = self.operation.ways.request_s
        return any(visit.login <= t and self.device(t, visit.end) <= limit for t in sent)

    def _ours(self, t: float) -> bool:
        skew = self.operation.skew
        return any(abs(act.t - t) <= skew for act in self.seen.acts)

    def unexpected(self, since: float = LONG_AGO) -> list[Boot]:
        """Boots of the operation that began with a reset that nobody expected."""
        return [boot for boot in self.started if not boot.expected and boot.start > since]

    def crashes(self) -> list[Noted]:
        """The first crash of each boot of the operation that told of one."""
        found = [boot.crash for boot in self.window]
        return [c for c in found if c is not None and self.operation.t <= c.t <= self.until]

    def notes(self, kind: str) -> list[Noted]:
        """The ``ota`` events of one kind within the operation."""
        begin = self.operation.seq
        return [n for n in self.seen.notes if n.kind == kind and n.seq > begin]

    @property
    def shut_out(self) -> list[Fired]:
        """Each time that a fault let no connection to the firmware server come about."""
        begin = self.operation.seq
        early = [one for one in self.seen.early if one.conn is None and one.operation == begin]
        return [one.fired for one in early if one.fired.t <= self.until]

    def offers(self) -> list[float]:
        """When URLs of this operation were sent."""
        return [o.t for o in self.seen.offers if o.operation == self.operation.seq]


def _said(visit: Visit) -> tuple[str, str] | None:
    return (visit.reports[-1].version, visit.reports[-1].build) if visit.reports else None


def tell(seen: Sightings, operation: Operation, until: float) -> Story:
    """The story of ``operation`` as it stands at ``until`` (host seconds)."""
    boots = boots_of(seen, operation.skew)
    weigh(boots, seen, operation.skew)
    visits = visits_of(seen, boots, operation.skew)
    if not operation.uart or seen.gaps:
        boots = _infer(seen, operation, boots, visits)
        visits = visits_of(seen, boots, operation.skew)
    held = _held(seen)
    story = Story(operation, seen, until, boots, visits, held, _merged([*held, *seen.late]))
    story.downloads = downloads_of(story)
    _expect(story)
    return story


def visits_of(seen: Sightings, boots: Sequence[Boot], skew: float) -> list[Visit]:
    """The sessions as the device lived them; ``skew`` in host seconds.

    A crash ends them too, unless the device goes on to speak: its core dump may take longer than
    it takes to be settled, and TCP notices nothing.
    """
    app = [boot for boot in boots if not boot.loader]
    own = seen.own_sessions()
    last = {session.number: seen.signs(session)[-1] for session in own}
    visits = [Visit(one, *home(one, app, skew, last[one.number])) for one in own]
    for at, visit in enumerate(visits):
        ends = [visit.boot.until]
        crash = visit.boot.crash
        if crash is not None and last[visit.session.number] <= crash.t + skew:
            ends.append(crash.t)
        if visit.session.closed is not None:
            ends.append(visit.session.closed)
        ends += [later.login for later in visits[at + 1 :]]
        visit.end = min(ends)
    return visits


def _after_crash(session: Session, boot: Boot, after: Boot, skew: float, spoke: float) -> bool:
    """Whether a session was opened by the boot after a crash, whose reset was read late: a device
    that has crashed logs in to nothing, and no session outlives a reset. One alone is not enough:
    a crash may be printed only, and two witnesses within the skew have no order."""
    crashed = boot.crash is not None and boot.crash.t + skew < session.opened
    return crashed and spoke > after.start and after.start - session.opened <= LATE_WALL_S


def home(
    session: Session, app: Sequence[Boot], skew: float, spoke: float
) -> tuple[Boot, tuple[Boot, ...]]:
    """The boot of a session, and all that it may be.

    What was said later than the skew after a reset was said by the boot after it. No session
    outlives a reset: one that speaks on for long was opened after it, be it that the reset was read
    late, by more than the skew, on a host that was busy.

    Args:
        spoke: the last sign of life of the session's boot.
    """
    at = max((i for i, boot in enumerate(app) if boot.start <= session.opened), default=0)
    while at + 1 < len(app) and spoke > app[at + 1].start + max(skew, LATE_WALL_S):
        at += 1
    if at + 1 < len(app) and _after_crash(session, app[at], app[at + 1], skew, spoke):
        return app[at + 1], (app[at + 1],)
    here = app[at]
    if at + 1 < len(app) and app[at + 1].first - session.opened <= skew:
        after = app[at + 1]
        return (after, (after,)) if spoke > after.start + skew else (here, (here, after))
    young = session.came - here.start <= skew
    if at and young and spoke <= here.start + skew and here.until - here.start > skew:
        return here, (here, app[at - 1])
    return here, (here,)


def _infer(
    seen: Sightings, operation: Operation, boots: list[Boot], visits: Sequence[Visit]
) -> list[Boot]:
    """Where the UART saw nothing, each new session may be a boot of its own."""
    extra = []
    for before, visit in pairwise(visits):
        opened = visit.session.opened
        unseen = not operation.uart or any(
            lost < opened and back > before.session.opened for lost, back in seen.gaps
        )
        known = any(before.session.opened < b.start <= opened for b in boots)
        if unseen and not known and visit.boot is before.boot:
            extra.append(
                Boot(
                    opened, visit.session.seq, inferred=True, seen_from=(opened, visit.session.seq)
                )
            )
    if not extra:
        return boots
    merged = sorted([*boots, *extra], key=lambda boot: (boot.start, boot.seq))
    result = []
    for at, boot in enumerate(merged):
        after = merged[at + 1] if at + 1 < len(merged) else None
        until = min(boot.until, after.start) if after else boot.until
        first = min(boot.until_first, after.first) if after else boot.until_first
        result.append(replace(boot, until=until, until_first=first, index=at))
    return result


def _held(seen: Sightings) -> list[tuple[float, float]]:
    """Times in which the test or the rig kept the device away, merged."""
    spans: list[tuple[float, float]] = []
    begun: dict[str, float] = {}
    switched = [act for act in seen.acts if act.what in ("on", "off")]
    changes = [(act.t, "power", act.what == "off") for act in switched]
    changes += [(act.t, "loader", act.what == "loader") for act in seen.acts if act.what != "off"]
    for t, where, holds in sorted([*changes, *seen.held]):
        if holds:
            begun.setdefault(where, t)
        elif where in begun:
            spans.append((begun.pop(where), t))
    return _merged([*spans, *((t, NEVER) for t in begun.values())])


def _after(start: float, wall_s: float, spans: Sequence[tuple[float, float]]) -> float:
    """The host time so many host seconds after ``start``, those of the spans left out, which are in
    order and apart."""
    due = start + wall_s
    for begin, stop in spans:
        if begin < due and stop > start:
            due += stop - max(begin, start)
    return due


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same times without overlaps, in order."""
    merged: list[tuple[float, float]] = []
    for begin, stop in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((begin, stop))
    return merged


def _expect(story: Story) -> None:
    """Say of each boot why its reset was to be expected; "" if it was not."""
    app = [boot for boot in story.boots if not boot.loader]
    downloads = downloads_of(story, every=True)
    skew = story.operation.skew
    for before, boot in pairwise(app):
        if boot.own:
            boot.expected = f"reset by the {boot.by}"
        elif boot.inferred:
            boot.expected = "nobody saw a reset"
        elif story.operation.ways.sleeper and boot.code == DEEP_SLEEP:
            boot.expected = "wake of a sleeper"
        elif (
            boot.code in PLAIN_CODES
            and before.crash is None
            and any(one.boot is before and one.given_up(boot.start + skew) for one in downloads)
        ):
            boot.expected = "restart after a download"
        elif (
            boot.code in PLAIN_CODES
            and before.crash is None
            and any(before.start <= t <= boot.start + skew for t in story.seen.bad_urls)
        ):
            boot.expected = "restart after a URL that was none"
        elif (
            boot.code in PLAIN_CODES
            and before.crash is None
            and any(before.start <= one.t <= boot.start + skew for one in story.shut_out)
        ):
            boot.expected = "restart after a firmware server that let nobody in"
        elif (
            boot.code in PLAIN_CODES
            and before.crash is None
            and any(
                before.start <= offer.t <= boot.start
                and network_trouble(story.seen, offer.t, boot.start)
                for offer in story.seen.offers
            )
        ):
            boot.expected = "restart after an offer whose network the test had made bad"
