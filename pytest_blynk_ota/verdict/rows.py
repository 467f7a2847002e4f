"""The thirteen outcomes in order, each with when it holds. Pure.

A row answers yes, no, or that the evidence allows both; then it names the witness that would
settle it. Each row may take for granted that no row before it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_blynk_ota.verdict.boots import Boot
from pytest_blynk_ota.verdict.downloads_seen import DownloadSeen, in_time
from pytest_blynk_ota.verdict.images_seen import Images
from pytest_blynk_ota.verdict.outcome import Outcome
from pytest_blynk_ota.verdict.sightings import LONG_AGO, Noted, Report
from pytest_blynk_ota.verdict.slot_map import THIRD
from pytest_blynk_ota.verdict.story import Story


@dataclass(frozen=True, slots=True)
class Case:
    """All that the rows look at.

    Attributes:
        cycled: the extra power cycle of row 1, if it was made.
        after_cycle: the boots after it.
        control: whether Old came back when restored; None: not tried.
        askable: whether flash can still be read.
    """

    story: Story
    images: Images
    cycled: Noted | None
    after_cycle: tuple[Boot, ...]
    control: Noted | None
    flash: Noted | None
    askable: bool


@dataclass(frozen=True, slots=True)
class Holds:
    """A row's answer. ``yes`` is None where the evidence allows both."""

    yes: bool | None
    wants: frozenset[str] = frozenset()
    why: str = ""


YES, NO = Holds(True), Holds(False)


def _maybe(case: Case, why: str, *wants: str) -> Holds:
    """Both are allowed; ``wants`` names what would settle it, flash unless said."""
    asked = set(wants or ({"flash"} if case.askable else ()))
    if not case.askable:
        asked.discard("flash")
    return Holds(None, frozenset(asked), why)


def bricked(case: Case) -> Holds:
    """No app starts, nor after one power cycle; boot errors, or nothing bootable in flash."""
    story = case.story
    if story.live(story.until) is not None or story.held_at(story.until):
        return NO
    dead = silent_tail(story)
    if not dead and story.watched_uart:
        return NO
    if any(story.app_signs(boot) for boot in case.after_cycle):
        return NO
    errors = bool(dead) and all(boot.marked("boot_error") for boot in dead)
    nothing = case.flash is not None and case.flash.data["would_boot"] is None
    if not errors and not nothing:
        if case.flash is not None:
            return NO
        return _maybe(case, "the board is silent and nobody looked what is bootable")
    if case.flash is None and case.askable:
        return _maybe(case, "no app starts; whether the loader answers was not tried", "flash")
    if case.cycled is None:
        return _maybe(case, "no app starts; no power cycle was tried", "power_cycle")
    return YES


def silent_tail(story: Story) -> list[Boot]:
    """The boots at the end in which no app showed itself, though it had the time to."""
    tail: list[Boot] = []
    for boot in reversed(story.window):
        if story.app_signs(boot, story.until) or (
            boot is story.window[0] and story.operation.running
        ):
            break
        young = story.device(boot.start, story.until) < story.operation.ways.boot_s
        if boot is not story.final or not young or boot.marked("boot_error"):
            tail.append(boot)
    return tail


def boot_loop(case: Case) -> Holds:
    """An app starts; so many unexpected resets since it settled, or since New's first start."""
    if not case.story.watched_uart:
        return NO
    return Holds(len(loop_resets(case)) >= case.story.operation.ways.loop)


def loop_resets(case: Case) -> list[Boot]:
    """The unexpected resets since the board last settled, or since New's first start if later."""
    story = case.story
    since = max(story.last_settled(story.until), new_first_start(case) or LONG_AGO)
    return story.unexpected(since)


def new_first_start(case: Case) -> float | None:
    """When New first started, or another image that was on offer, as far as is known: a boot of
    its own, or the first restart after a whole download. Host seconds."""
    for before, ran in pairwise(case.images.ran):
        if ran.image in case.images.tried:
            return ran.boot.start
        delivered = any(d.boot is before.boot and d.whole for d in case.story.downloads)
        if delivered and case.images.tried & ran.options:
            return ran.boot.start
    return None


def offline(case: Case) -> Holds:
    """An app starts; the board is away, and no download is under way within its stall limit."""
    story = case.story
    if not away(story):
        return NO
    return Holds(not any(open_within_limit(story, one) for one in story.downloads))


def away(story: Story) -> bool:
    """Not logged in at the end, or only between link drops."""
    live = story.live(story.until)
    ways = story.operation.ways
    if ways.sleeper and live is None:
        live = story.settled_at(story.until)
    return live is None or (
        len(story.drops(story.until)) >= ways.loop and story.settled_point(live) > story.until
    )


def open_within_limit(story: Story, download: DownloadSeen) -> bool:
    """Whether it is still going and its last byte is no older than the device's stall limit."""
    quiet = story.device(download.moved, story.until)
    return download.ended == "open" and quiet <= story.operation.ways.stall_s


def misreported(case: Case) -> Holds:
    """In any boot the report names what the image running there does not declare."""
    if false_reports(case):
        return YES
    final = case.images.final
    unsure = final.independent is None and case.askable
    if unsure and any(
        case.images.declares(name, report) is False
        for report in case.story.reports(final.boot)
        if report.version
        for name in final.options
    ):
        return _maybe(case, "only the report says which image runs, and it can lie")
    if _last_word_unsure(case):
        return _maybe(case, "whether the last report was made before the last reset or after it")
    return NO


def _last_word_unsure(case: Case) -> bool:
    """Whether all that the last boot reported, if it was that boot, is false: two witnesses within
    the skew have no order, so it says neither that it lied nor that it was silent."""
    final = case.images.final
    said = [v for v in case.story.visits if any(boot is final.boot for boot in v.near)]
    reports = [one for v in said for one in v.reports if one.version and one.t <= case.story.until]
    return (
        final.independent is not None
        and bool(reports)
        and any(len(v.near) > 1 for v in said if v.reports)
        and all(case.images.declares(final.independent, one) is False for one in reports)
    )


def false_reports(case: Case) -> list[Report]:
    """Reports that are false in every boot in which they may have been made."""
    found = []
    window = {id(boot) for boot in case.story.window}
    for visit in case.story.visits:
        ran = [case.images.of(boot) for boot in visit.near]
        if id(visit.boot) not in window or visit.end < case.story.operation.t:
            continue  # what it said before the operation is of an earlier one
        for report in visit.reports:
            if (
                report.version
                and report.t <= case.story.until
                and all(
                    one is not None
                    and one.independent is not None
                    and case.images.declares(one.independent, report) is False
                    for one in ran
                )
            ):
                found.append(report)
    return found


def _new_runs(case: Case) -> bool | None:
    final = case.images.final
    if case.images.new not in final.options:
        return False
    return True if final.image else None


def _unsure(case: Case) -> Holds:
    return _maybe(
        case, f"the image that runs may be {' or '.join(sorted(case.images.final.options))}"
    )


def upgraded(case: Case) -> Holds:
    """New runs and reported."""
    runs = _new_runs(case)
    if runs is False or not new_reports(case, final_too=True):
        return NO
    return YES if runs else _unsure(case)


def not_reported(case: Case) -> Holds:
    """New runs; no report of it names a version."""
    runs = _new_runs(case)
    if runs is False:
        return NO
    return YES if runs else _unsure(case)


def new_reports(case: Case, *, final_too: bool = False) -> list[Report]:
    """Reports that name New, from boots that may have run it."""
    return reports_of(case, case.images.new, final_too=final_too)


def tried_reports(case: Case) -> list[Report]:
    """The same of each image that was on offer, up to the last boot."""
    found = [report for name in case.images.tried for report in reports_of(case, name)]
    return sorted(set(found), key=lambda report: (report.t, report.seq))


def reports_of(case: Case, image: str, *, final_too: bool = False) -> list[Report]:
    """Reports that name an image, from boots that may have run it."""
    found = []
    window = {id(boot) for boot in case.story.window}
    for visit in case.story.visits:
        boots = [
            boot
            for boot in visit.near
            if id(boot) in window and (final_too or boot is not case.images.final.boot)
        ]
        may = [
            ran for ran in map(case.images.of, boots) if ran is not None and image in ran.options
        ]
        if may:
            found += [
                report
                for report in visit.reports
                if report.version
                and report.t <= case.story.until
                and case.images.declares(image, report) is not False
            ]
    return found


def rolled_back(case: Case) -> Holds:
    """New does not run, but had reported."""
    return Holds(bool(tried_reports(case)))


def reverted(case: Case) -> Holds:
    """New does not run, never reported, was selected; or a Third runs."""
    options = case.images.final.options
    old = case.images.old
    third = (
        {name for name in options if name not in case.images.tried | {old}}
        if old
        else (options & {THIRD})
    )
    selected = case.images.selected()
    if selected or (third and third == options):
        return YES
    if third:
        return _unsure(case)
    if selected is None:
        return _maybe(case, "whether New was ever selected is not known")
    return NO


def limit_reached(case: Case) -> Holds:
    """The shipment ended at its limit."""
    return Holds(any(note.data["why"] == "limit" for note in case.story.notes("closed")))


def not_started(case: Case) -> Holds:
    """No connection to an offered URL."""
    return Holds(not case.story.downloads)


def rejected(case: Case) -> Holds:
    """The last download came whole and was not cut short by the test, or the device left it."""
    last = case.story.last_download
    if last is None:
        return NO
    if last.ended == "complete":
        return Holds(not reset_by_test(case.story, last))
    if last.ended != "abandoned" or last.fired or last.network:
        return NO
    if may_be_cut(case.story, last):
        return Holds(None, why="the device left the download, or was reset where nobody saw it")
    return YES


REFUSALS = ("update_error", "hash_mismatch", "no_space", "no_length", "short_body")
"""``uart/firmware`` words by which a device says that it refuses a file."""


def refusals(download: DownloadSeen) -> list[Noted]:
    """What the device printed from the begin of a download on about refusing its file."""
    prints = download.boot.marked("firmware")
    return [m for m in prints if m.t >= download.start and m.data["what"] in REFUSALS]


def may_be_cut(story: Story, download: DownloadSeen) -> bool:
    """Whether a reset that no witness could see, or one that was seen late, may have ended what
    looks left by the device: a board that starts anew answers the bytes of a connection that it
    does not know with RST."""
    last = download.last
    if last is None or last.ended is None or last.ended_how == "fin" or refusals(download):
        return False
    if not in_time(download):
        return True
    back = min((v.session.opened for v in story.visits if v.session.opened > last.ended), default=0)
    unseen = not story.operation.uart or story.blind(last.heard, back or story.until)
    lived_on = any(
        v.session.opened <= last.heard and v.session.spoke > last.ended + story.operation.skew
        for v in story.visits
    )
    return unseen and not lived_on


def reset_by_test(story: Story, download: DownloadSeen) -> bool:
    """Whether the test reset the board between a download and the next login."""
    begin = download.end if download.end is not None else story.until
    login = min((v.login for v in story.visits if v.login > begin), default=story.until)
    return any(
        act.by == "test" and begin <= act.t <= min(login, story.until) for act in story.seen.acts
    )


def stalled(case: Case) -> Holds:
    """The last download stalled, or is still open."""
    last = case.story.last_download
    return Holds(last is not None and last.ended in ("stalled", "open"))


def download_failed(case: Case) -> Holds:
    """Any other end of the last download."""
    return YES


ROWS: Sequence[tuple[Outcome, Callable[[Case], Holds], str]] = (
    (Outcome.BRICKED, bricked, "loader, UART or flash"),
    (Outcome.BOOT_LOOP, boot_loop, "UART"),
    (Outcome.OFFLINE, offline, "control"),
    (Outcome.MISREPORTED, misreported, "image known without the report"),
    (Outcome.UPGRADED, upgraded, "image"),
    (Outcome.NOT_REPORTED, not_reported, "image known without the report"),
    (Outcome.ROLLED_BACK, rolled_back, "Cloud"),
    (Outcome.REVERTED, reverted, "UART or flash"),
    (Outcome.DOWNLOAD_LIMIT_REACHED, limit_reached, "Delivery"),
    (Outcome.NOT_STARTED, not_started, "Delivery"),
    (Outcome.REJECTED, rejected, "Delivery; UART or flash"),
    (Outcome.STALLED, stalled, "Delivery"),
    (Outcome.DOWNLOAD_FAILED, download_failed, "Delivery"),
)
"""Outcome, when it holds, and the witnesses that it needs (docs/reference/outcomes.md)."""


def possible(case: Case) -> list[tuple[Outcome, Holds]]:
    """The outcomes that the evidence allows, in order; the last holds if no earlier one does."""
    found = []
    for outcome, holds, _ in ROWS:
        answer = holds(case)
        if answer.yes is not False:
            found.append((outcome, answer))
        if answer.yes:
            return found
    raise AssertionError("the last row always holds")
