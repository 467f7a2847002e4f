"""How much of what came before an operation its verdict rests on. Pure.

With each operation of a long test the past grows; to read and tell all of it for each costs the
square of their number. The story of an operation may as well be told from an earlier operation on,
if the board was reset between the two and nothing reaches over from before: no hold or bad link
that the test left, no reset still to be explained, no session that goes on to speak. Where
something does, or might, more of the past is told, in the end all of it.

Two looks decide: :meth:`Past.begins` at the timeline alone, :meth:`Past.may_reach` at the story
that was told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict.boots import CLAIM_WALL_S, NEVER, OWN_CODES
from pytest_blynk_ota.verdict.losses import AFTER_S
from pytest_blynk_ota.verdict.operation import Operation
from pytest_blynk_ota.verdict.sightings import (
    HOLDS,
    LONG_AGO,
    RELEASES,
    SPOKEN,
    SURROUNDINGS,
    TROUBLES,
    Session,
    Sightings,
)
from pytest_blynk_ota.verdict.story import Story

MAX_TRIES = 3
"""Places that are tried before all of the past is told."""

EXPLAINED_WALL_S = 3 * CLAIM_WALL_S
"""Host seconds after which a reset of ours explains no banner any more, with room for the skew."""


@dataclass(frozen=True, slots=True)
class Begin:
    """An operation's event from which on the story of a later one may be told.

    Attributes:
        at: its place among the events.
        t: host seconds.
    """

    at: int
    t: float


WHOLE = Begin(0, LONG_AGO)
"""The begin of the timeline: nothing lies before it."""


@dataclass(slots=True)
class _Board:
    """What is known of one board, while its events are passed.

    Attributes:
        begins: what :class:`Begin` says.
        reaching: what was begun and has not ended yet.
        unexplained: when it was reset by us with no banner since. Host seconds.
        newest: the session that logged in last, by the order of their opening.
        unopened: the sessions that spoke and of whose opening nothing was said.
        broken: the number of the first event that reaches over all that follows; infinite: none.
        metric: the place of the first number that the firmware printed; infinite: none.
    """

    begins: list[Begin] = field(default_factory=list)
    reaching: set[str] = field(default_factory=set)
    unexplained: list[float] = field(default_factory=list)
    newest: int = -1
    unopened: set[int] = field(default_factory=set)
    broken: float = NEVER
    metric: float = NEVER

    def now(self, what: str, begun: bool) -> None:
        """Something began, or ended."""
        (self.reaching.add if begun else self.reaching.discard)(what)

    def breaks(self, seq: int) -> None:
        """From here on all of the past is told."""
        self.broken = min(self.broken, seq)


class Past:
    """What reaches over the operations of a timeline, which is read once.

    Args:
        events: the timeline, from its beginning on.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._boards: defaultdict[str | None, _Board] = defaultdict(_Board)
        self._opened: dict[tuple[str | None, int], int] = {}
        try:
            self._read(events)
        except (LookupError, TypeError, AttributeError):  # no rig of ours wrote that
            self._boards.clear()

    def _read(self, events: Sequence[Event]) -> None:
        latest, seq = LONG_AGO, 0
        for at, event in enumerate(events):
            if event.seq <= seq:
                raise LookupError(f"event #{event.seq} comes after #{seq}: the order is not known")
            seq, latest = event.seq, max(latest, event.t)
            look = _LOOKS.get((event.source, event.kind))
            if look is not None:
                look(self, self._boards[event.board], at, event)
            elif (event.source, event.kind) == ("ota", "operation") and latest <= event.t:
                self._operation(at, event)

    def _operation(self, at: int, event: Event) -> None:
        for board in (self._boards[event.board], self._boards[None]):
            explained = all(t < event.t - EXPLAINED_WALL_S for t in board.unexplained)
            if board.reaching or not explained:
                return
        self._boards[event.board].begins.append(Begin(at, event.t))

    def begins(self, operation: Operation) -> Iterator[Begin]:
        """The places from which on its story may be told, the nearest first; the last is the
        begin of the timeline."""
        board, shared = (self._boards.get(name, _Board()) for name in (operation.board, None))
        plain = operation.uart and not operation.ways.sleeper and operation.skew < CLAIM_WALL_S
        if plain and operation.seq < min(board.broken, shared.broken):
            far = operation.t - operation.wall(AFTER_S) - operation.skew
            before = (begin for begin in reversed(board.begins) if begin.t <= far)
            yield from islice(before, MAX_TRIES)
        yield WHOLE

    def may_reach(self, story: Story, begin: Begin) -> bool:
        """Whether something before ``begin`` may matter to a story that was told from there on."""
        if begin is WHOLE:
            return False
        seen, since = story.seen, story.window[0].start - story.operation.skew
        return (
            since <= begin.t  # in the boot that ran when the operation began
            or bool(seen.gaps)
            or seen.strange
            or any(_lives_on(seen, one, since) for one in seen.sessions.values())
            or _knocks(seen)
            or self._has_numbers(seen, begin)
        )

    def _has_numbers(self, seen: Sightings, begin: Begin) -> bool:
        """Whether the firmware has printed numbers only before: then its lines are not searched."""
        first = min(self._boards[name].metric for name in (seen.board, None))
        return first < begin.at and not any(mark.kind == "metric" for mark in seen.marks)

    def _act(self, board: _Board, at: int, event: Event) -> None:
        """A reset or a switching by us."""
        if event.source == "rig":
            board.now("loader", event.data.get("mode") == "loader")
        elif event.kind == "on":
            board.now("loader", False)
        if event.source == "power":
            board.now("power", event.kind == "off")
        if event.kind != "off":
            board.unexplained.append(event.t)

    def _banner(self, board: _Board, at: int, event: Event) -> None:
        code = event.data["code"]
        if board.unexplained and (code is None or code in OWN_CODES):
            board.unexplained.pop()
        board.now("download mode", bool(event.data["download"]))

    def _lost(self, board: _Board, at: int, event: Event) -> None:
        board.breaks(event.seq)

    def _metric(self, board: _Board, at: int, event: Event) -> None:
        board.metric = min(board.metric, at)

    def _test(self, board: _Board, at: int, event: Event) -> None:
        word = str(event.data.get("what", ""))
        where, _, what = word.partition(".")
        if where in SURROUNDINGS and what in HOLDS | RELEASES:
            board.now(where, what in HOLDS)
        if word in TROUBLES:
            board.now(word, bool(event.data["text"]))

    def _connected(self, board: _Board, at: int, event: Event) -> None:
        self._opened[event.board, event.data["session"]] = at

    def _spoke(self, board: _Board, at: int, event: Event) -> None:
        """A session that speaks after a later one of its board had logged in; of two that were
        opened before the evidence nobody knows which is the later."""
        session = event.data["session"]
        opened = self._opened.get((event.board, session), self._opened.get((None, session), -1))
        if opened < 0:
            board.unopened.add(session)
        if opened < board.newest or len(board.unopened) > 1:
            board.breaks(event.seq)
        board.newest = max(opened, board.newest)


def _lives_on(seen: Sightings, session: Session, since: float) -> bool:
    """Whether a session whose opening was not told gave a sign of life from then on."""
    return session.opened == LONG_AGO and seen.signs(session)[-1] >= since


def _knocks(seen: Sightings) -> bool:
    """Whether somebody connected who asked for nothing, and whose port does not tell who: then the
    addresses of all sessions ever count."""
    asked = {one.conn for one in seen.requests}
    return any(
        not one.offer and one.board is None and one.conn not in asked for one in seen.connections
    )


Look = Callable[[Past, _Board, int, Event], None]

_LOOKS: Mapping[tuple[str, str], Look] = {
    ("rig", "reset"): Past._act,
    ("power", "on"): Past._act,
    ("power", "off"): Past._act,
    ("uart", "reset"): Past._banner,
    ("uart", "port_lost"): Past._lost,
    ("uart", "metric"): Past._metric,
    ("test", "action"): Past._test,
    ("cloud", "connected"): Past._connected,
    **{("cloud", kind): Past._spoke for kind in SPOKEN},
}
"""The events that may reach over an operation's begin."""
