"""When nothing that could change the outcome is still to come. Pure: the time is an argument.

The watch ends with the first of (docs/explanation/verdict.md):

1. New reported and settled;
2. the shipment closed, or the one try over, and then settled;
3. the deadline, and then the last look: settled, looping, or away for long enough, or a sleeper
   that stays awake for so long. No URL is sent in it.

A try is over when none of the profile's waits runs. Time in which the test kept the device away
does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict.boots import NEVER
from pytest_blynk_ota.verdict.downloads_seen import FOLLOW_S
from pytest_blynk_ota.verdict.images_seen import declares
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.sightings import LONG_AGO, Sightings
from pytest_blynk_ota.verdict.story import Story, Visit, tell

QUIET = frozenset(
    {
        ("uart", "line"),
        ("uart", "app"),
        ("uart", "slot"),
        ("uart", "boot"),
        ("uart", "metric"),
        ("uart", "core_dump"),
        ("delivery", "progress"),
    }
)
"""Events that can only make the watch longer: they may wait for the next look."""

HEARD = ("cloud", "heard")
"""A sign of life; it may wait where it tells nothing anew (:func:`at_home`)."""

UNHEARD = frozenset(
    {("uart", "reset"), ("uart", "crash"), ("uart", "boot_error"), ("uart", "firmware")}
)
"""What a board prints that boots again and again. While its login is awaited that only begins the
wait anew: it may wait for the end of the old one. A loop of boots prints thousands of them, and a
story that is told anew at each is told for longer than the board takes to print it."""

AWAITS_BOOT = "boot and login"
LAST_LOOK = "the last look"


@dataclass(frozen=True, slots=True)
class Watch:
    """The state of the watch.

    Attributes:
        over: whether it has ended.
        why: what ended it; "" before.
        phase: what is awaited, in words.
        wake_in: wall seconds after which time alone may change the answer; infinite: never.
    """

    over: bool
    why: str
    phase: str
    wake_in: float

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed: no URL is sent any more."""
        return self.phase.startswith(LAST_LOOK)


def watch(events: Sequence[Event], now: float) -> Watch:
    """The state of the last operation's watch at ``now``, on the clock of the events.

    Raises:
        ValueError: the events hold no operation.
    """
    return Watcher()(events, now)


class Watcher:
    """The same for a timeline that grows: reads each event once. Give it the whole timeline."""

    def __init__(self) -> None:
        self._read = 0
        self._operation: Operation | None = None
        self._seen = Sightings(None)
        self._last: tuple[Watch, float] | None = None
        self._at_home: frozenset[int] = frozenset()

    def __call__(self, events: Sequence[Event], now: float) -> Watch:
        """As :func:`watch`."""
        new = events[self._read :]
        first = self._operation is None
        for event in new:
            if (event.source, event.kind) == ("ota", "operation"):
                self._operation, self._last = Operation.of(event), None
            elif (event.source, event.kind) == ("ota", "superseded"):
                assert self._operation is not None, "it stands behind its operation"
                self._operation, self._last = self._operation.superseded(event.data), None
        if self._operation is None:
            raise ValueError("the events hold no operation: there is nothing to watch")
        if first or self._seen.board != self._operation.board:
            self._seen = Sightings(self._operation.board)
            new = events
        self._seen.feed(new)
        self._read = len(events)
        if self._last is not None and all(self._is_quiet(event) for event in new):
            state, due = self._last
            if now < due:
                return Watch(False, "", state.phase, due - now)
        story = tell(self._seen, self._operation, now)
        state = look(story)
        self._last = None if state.over else (state, now + state.wake_in)
        self._at_home = at_home(story)
        return state

    def _is_quiet(self, event: Event) -> bool:
        key = (event.source, event.kind)
        if self._last is not None and self._last[0].phase == AWAITS_BOOT and key in UNHEARD:
            return True
        return key in QUIET or (key == HEARD and event.data["session"] in self._at_home)


def at_home(story: Story) -> frozenset[int]:
    """The sessions that are logged in, in the last boot, which has not crashed: that they are heard
    again moves none to another boot, logs none in, and takes none over a crash."""
    last = story.final
    return frozenset(
        visit.session.number
        for visit in story.visits
        if visit.boot is last and last.crash is None and visit.login <= story.until < visit.end
    )


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait of the profile that runs: what for, and until when (host seconds)."""

    phase: str
    until: float


def look(story: Story) -> Watch:
    """The state of the watch at the end of a story."""
    now = story.until
    if story.held_at(now):
        return _kept_away(story)
    settled = story.settled_at(now)
    if settled is not None and _reports_new(story, settled):
        return _over("New reported and settled")
    waits = _waits(story)  # of a URL that went out before the end, too: the device has it
    ended = _closed(story) or ("the one try is over" if _tried(story) else "")
    if ended and not waits and settled is not None:
        return _over(f"{ended}, and the device settled")
    deadline = story.after(story.operation.t, story.operation.deadline_s)
    if now >= deadline:
        return _last_look(story, settled)
    times = [deadline, _settles(story), *(wait.until for wait in waits)]
    phase = waits[0].phase if waits else "settling" if ended else "the next login"
    return _on(phase, now, times)


def _over(why: str) -> Watch:
    return Watch(True, why, "over", 0.0)


def _on(phase: str, now: float, times: Sequence[float]) -> Watch:
    return Watch(False, "", phase, min((t - now for t in times if t > now), default=NEVER))


def _kept_away(story: Story) -> Watch:
    """The test holds the device; nothing is lost in that time, but it is not for ever: neither
    at once nor in all, as by a fault that begins again with each offer."""
    operation = story.operation
    begin = next(begin for begin, stop in story.held if begin <= story.until < stop)
    before = sum(
        stop - max(at, operation.t) for at, stop in story.held if operation.t < stop < begin
    )
    limit = begin + max(operation.wall(operation.deadline_s) - before, 0.0)
    if story.until >= limit:
        return _over("the test kept the device away for longer than the deadline")
    return _on("the test to give the device back", story.until, [limit])


def _reports_new(story: Story, visit: Visit) -> bool:
    """Whether the visit's boot names New, and not Old."""
    operation = story.operation
    first = next((r for v in story.visits for r in v.reports if r.version), None)
    return any(
        declares(operation, operation.offered, report, first)
        and not (operation.running and declares(operation, operation.running, report, first))
        for report in story.reports(visit.boot)
        if report.version
    )


def _closed(story: Story) -> str:
    since = max((note.seq for note in story.notes("superseded")), default=0)
    for kind in ("closed", "cancelled", "withheld"):
        notes = [note for note in story.notes(kind) if note.seq > since]
        if notes and (kind == "closed" or story.operation.op == "offer" or kind == "cancelled"):
            return f"the operation was {kind}: {notes[0].data.get('why', '')}"
    return ""


def _tried(story: Story) -> bool:
    return story.operation.op == "offer" and bool(story.offers())


def _settles(story: Story) -> float:
    visit = story.live(story.until)
    return NEVER if visit is None else story.settled_point(visit)


def _waits(story: Story) -> list[Wait]:
    """The profile's waits that run now, the nearest cause first."""
    offers = story.offers()
    if not offers:
        return []
    now, slack = story.until, story.operation.skew
    found = [
        _request_wait(story, offers[-1]),
        _download_wait(story),
        _follow_wait(story),
        _login_wait(story),
    ]
    return [Wait(w.phase, w.until + slack) for w in found if w and w.until + slack > now]


def _request_wait(story: Story, offered: float) -> Wait | None:
    """Of the request, after the last URL that was sent."""
    last = story.last_download
    if last is not None and last.start >= offered - story.operation.skew:
        return None
    if any(boot.start > offered for boot in story.window):
        return None
    ways = story.operation.ways
    tried = max((one.t for one in story.shut_out), default=LONG_AGO)
    if tried > offered:
        seconds = ways.stall_s + ways.error_restart_s
        return Wait("the connection or its failure", story.after(tried, seconds))
    return Wait("the request", story.after(offered, ways.request_s))


def _download_wait(story: Story) -> Wait | None:
    """Of the download, and what follows it in the same boot: a URL that is sent meanwhile, as one
    that is sent twice, ends neither."""
    ways, last = story.operation.ways, story.last_download
    if last is None or any(boot.start > last.start for boot in story.window):
        return None
    if last.end is None:
        limit = story.after(last.moved, ways.stall_s)
        if limit > story.until:
            return Wait("the download", limit)
        return Wait("the restart after an error", story.after(limit, ways.error_restart_s))
    if last.whole:
        return Wait("the restart into New", story.after(last.end, ways.apply_s))
    # A device may take our FIN for silence (Edgent reads on): its stall limit runs first.
    ours = last.last is not None and last.last.ended_by == "server" and last.ended == "cut"
    seconds = ways.error_restart_s + (ways.stall_s if ours else 0.0)
    return Wait("the restart after an error", story.after(last.end, seconds))


def _follow_wait(story: Story) -> Wait | None:
    """Of the next request, where an answer asks for one; of a chain of redirects to its end."""
    last = story.last_download
    if last is None or last.end is not None or last.asked is None:
        return None
    return Wait("the next request", story.after(last.asked, FOLLOW_S))


def _login_wait(story: Story) -> Wait | None:
    """After a reset: boot and login. After a lost link: login."""
    if story.live(story.until) is not None:
        return None
    ways, boot = story.operation.ways, story.final
    ended = max(
        (v.end for v in story.visits if v.boot is boot and v.end <= story.until), default=LONG_AGO
    )
    if ended > LONG_AGO:
        return Wait("the login", story.after(ended, ways.login_s))
    if boot.start == LONG_AGO:
        return Wait("the login", story.after(story.operation.t, ways.login_s))
    return Wait(AWAITS_BOOT, story.after(boot.start, ways.boot_s + ways.login_s))


def _last_look(story: Story, settled: Visit | None) -> Watch:
    """After the deadline: settled, looping, or away."""
    now, ways = story.until, story.operation.ways
    if settled is not None:
        return _over("the deadline passed, and the device is settled")
    since = story.last_settled(now)
    resets = story.unexpected(since)
    if len(resets) >= ways.loop:
        return _over(f"the deadline passed, and the device resets in a loop ({len(resets)} times)")
    drops = story.drops(now)
    if len(drops) >= ways.loop:
        return _over(f"the deadline passed, and the link drops in a loop ({len(drops)} times)")
    deadline = story.after(story.operation.t, story.operation.deadline_s)
    if (visit := story.live(now)) is not None:
        if since >= deadline:  # and was reset since: it may go on like that for ever
            return _over("the deadline passed, and the device had settled since")
        times = [_settles(story)]
        if ways.sleeper:  # only its next wake settles it, and it need not sleep ever again
            times.append(story.after(max(visit.login, deadline), ways.login_s))
            if now >= times[-1]:
                return _over(f"the deadline passed, and it has not slept for {ways.login_s:g} s")
        return _on(f"{LAST_LOOK}: settling", now, times)
    left = max((v.end for v in story.visits if v.end <= now), default=LONG_AGO)
    limit = story.after(max(left, story.operation.t), ways.login_s)
    if now >= limit:
        return _over(f"the deadline passed, and the device was away for {ways.login_s:g} s")
    return _on(f"{LAST_LOOK}: login", now, [limit])
