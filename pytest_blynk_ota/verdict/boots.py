"""Boots out of resets: which reset was ours, where each boot begins and ends. Pure.

A reset by the test or the rig is one event of ours and, where the UART was listening, one ROM
banner; both together are one boot. A hub-powered board may lose the banner: the power event
stands for it. Leaving download mode takes a reset of ours, said or not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_blynk_ota.verdict.sightings import LONG_AGO, Act, Banner, Noted, Sightings

OWN_CODES = frozenset({0x1, 0xF, 0x15})
"""Reset codes that an EN pin, a power switch or a USB reset give (ESP-IDF rom/rtc.h)."""

POWER_ON = 0x1
DEEP_SLEEP = 0x5
BROWNOUT = 0xF
PLAIN_CODES = frozenset({0xC, 0x3})
"""``esp_restart``: 0xc; some C3 builds say 0x3."""

CLAIM_WALL_S = 3.0
"""A banner this long after our own reset is still its banner: the lines are held for 0.1 s, a
switched hub takes 1 to 2 s."""

LATE_WALL_S = 1.0
"""Host seconds: what is heard so long after a reset was not said before it, and read late."""

NEVER = float("inf")


@dataclass(slots=True)
class Boot:
    """From one reset to the next. Times are host seconds.

    Attributes:
        by: ``test`` or ``rig`` where it was ours; "" where the board did it itself.
        loader: it is download mode, no boot of an app.
        inferred: nobody saw the reset; a login suggests that there may have been one.
        doubted: a cloud session that was open before it spoke on long after it, and no session
            outlives a reset: a line printed it, or it was read very late.
        early: by how much it may have begun before ``start``, where a busy host read it late.
        seen_from: time and ``seq`` from which on its UART text comes.
        until: when the next reset or a power cut ended it.
        until_first: the same at the earliest.
    """

    start: float
    seq: int
    code: int | None = None
    cause: str = ""
    by: str = ""
    loader: bool = False
    inferred: bool = False
    doubted: bool = False
    early: float = 0.0
    seen_from: tuple[float, int] = (LONG_AGO, 0)
    until: float = NEVER
    until_first: float = NEVER
    index: int = 0
    powered_off: bool = False
    expected: str = ""
    marks: list[Noted] = field(default_factory=list)

    @property
    def first(self) -> float:
        """When it began at the earliest."""
        return self.start - self.early

    @property
    def own(self) -> bool:
        """Whether the test or the rig began it."""
        return bool(self.by)

    def tells(self, t: float, seq: int) -> bool:
        """Whether UART text of this moment is of this boot."""
        return self.seen_from <= (t, seq) and t < self.until

    def marked(self, kind: str) -> list[Noted]:
        """Its marks of one kind."""
        return [mark for mark in self.marks if mark.kind == kind]

    @property
    def crash(self) -> Noted | None:
        """The crash that it told of first. A task watchdog's warning kills only as last word,
        but for the ELF hash that the panic handler prints behind it."""
        told = self.marked("crash")
        fatal = next((m for m in told if m.data["what"] != "task_wdt" or m.data.get("fatal")), None)
        words = [mark for mark in self.marks if mark.data.get("field") != "elf_sha256"]
        last_word = self.until < NEVER and bool(told) and words[-1] is told[-1]
        return fatal or (told[-1] if last_word else None)


def boots_of(seen: Sightings, skew: float) -> list[Boot]:
    """All boots, download mode included, in order; the first began before the evidence."""
    found = [Boot(LONG_AGO, 0), *_from_resets(seen, skew)]
    found.sort(key=lambda boot: (boot.start, boot.seq))
    offs = sorted(act.t for act in seen.acts if act.what == "off")
    for boot, after in zip(found, [*found[1:], None], strict=True):
        boot.until = after.start if after else NEVER
        boot.until_first = after.first if after else NEVER
        cut = next((t for t in offs if boot.start <= t < boot.until), None)
        if cut is not None:
            boot.until, boot.until_first, boot.powered_off = cut, cut, True
    for index, boot in enumerate(found):
        boot.index = index
    _hand_out(found, seen)
    return found


def weigh(found: Sequence[Boot], seen: Sightings, skew: float) -> None:
    """Hold the resets that only the UART tells of against the cloud: no session outlives a reset,
    and no app runs in download mode. Firmware can print what it likes."""
    grace = max(skew, LATE_WALL_S)
    starts = [boot.start for boot in found]
    for session in seen.own_sessions():
        signs = seen.signs(session)
        first = max(bisect_right(starts, session.opened) - 1, 0)
        for boot in found[first : bisect_left(starts, signs[-1] - grace)]:
            at = bisect_right(signs, boot.start + grace)
            spoke = at < len(signs) and signs[at] < boot.until
            if spoke and not boot.own and boot.start > LONG_AGO:
                boot.loader = False
                boot.doubted = boot.doubted or session.opened < boot.start - skew


def _hand_out(found: list[Boot], seen: Sightings) -> None:
    """Each mark belongs to the last boot whose text had begun."""
    at = 0
    order = sorted(found, key=lambda boot: boot.seen_from)
    for mark in sorted(seen.marks, key=lambda mark: (mark.t, mark.seq)):
        while at + 1 < len(order) and order[at + 1].seen_from <= (mark.t, mark.seq):
            at += 1
        order[at].marks.append(mark)


def _from_resets(seen: Sightings, skew: float) -> list[Boot]:
    """Boots of banners and of our own acts; a banner that an act explains makes one with it."""
    claims = _claims(seen, skew)
    found = []
    claimed = {id(act): banner for banner, act in claims if act is not None}
    for own in seen.acts:
        if own.what == "off":
            continue
        told = claimed.get(id(own))
        boot = Boot(
            own.t, own.seq, by=own.by, loader=own.what == "loader", seen_from=(own.t, own.seq)
        )
        if told is not None:
            boot.start, boot.seen_from = min(own.t, told.t), (told.t, told.seq)
            boot.code, boot.cause, boot.loader = told.code, told.cause, told.download
        found.append(boot)
    before = _Before(seen.banners)
    for banner, act in claims:
        if act is None:
            found.append(_own_boot(banner, _ours(banner, seen, skew, before)))
    return found


def _own_boot(banner: Banner, by: str) -> Boot:
    return Boot(
        banner.t,
        banner.seq,
        banner.code,
        banner.cause,
        by,
        banner.download,
        early=banner.t - banner.came,
        seen_from=(banner.t, banner.seq),
    )


def _claims(seen: Sightings, skew: float) -> list[tuple[Banner, Act | None]]:
    """Each banner with the act that explains it, if one does; an act explains one banner."""
    free = sorted((act for act in seen.acts if act.what != "off"), key=lambda act: act.t)
    claims: list[tuple[Banner, Act | None]] = []
    for banner in sorted(seen.banners, key=lambda banner: (banner.t, banner.seq)):
        near = [act for act in free if act.t - skew <= banner.t <= act.t + max(CLAIM_WALL_S, skew)]
        fits = banner.code is None or banner.code in OWN_CODES
        act = max(near, key=lambda act: _fitness(act, banner), default=None) if fits else None
        if act is not None:
            free.remove(act)
        claims.append((banner, act))
    return claims


def _fitness(act: Act, banner: Banner) -> tuple[bool, bool, float]:
    """The act of the same mode, not later than the banner, the nearest of these."""
    return (act.what == "loader") == banner.download, act.t <= banner.t, act.t


class _Before:
    """Finds the newest banner before a time: in a loop of boots there are tens of thousands."""

    def __init__(self, banners: Sequence[Banner]) -> None:
        self._order = sorted(banners, key=lambda banner: banner.t)
        self._times = [banner.t for banner in self._order]

    def __call__(self, t: float) -> Banner | None:
        """The newest; of several at one time the first that was seen."""
        at = bisect_left(self._times, t) - 1
        return None if at < 0 else self._order[bisect_left(self._times, self._times[at])]


def _ours(banner: Banner, seen: Sightings, skew: float, newest_before: _Before) -> str:
    """Who made a reset that no single act explains: the loader's own pulses, a power slope.

    A download mode that nobody asked for, which a board may fall into or only print, is not ours,
    and explains no reset after it.
    """
    acts = [act for act in seen.acts if act.t <= banner.t + skew]
    last = max(acts, key=lambda act: (act.t, act.seq), default=None)
    held = last is not None and last.what in ("off", "loader")
    if banner.download:
        near = last is not None and banner.t - last.t <= max(CLAIM_WALL_S, skew)
        return "rig" if held or near else ""
    if banner.code is not None and banner.code not in OWN_CODES:
        return ""
    newest = newest_before(banner.t)
    if newest is not None and newest.download and _ours(newest, seen, skew, newest_before):
        return "rig"
    return last.by if last is not None and held else ""
