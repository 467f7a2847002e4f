"""What the board did after the watch had ended, up to the next restore or operation. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_blynk_ota.verdict.boots import NEVER
from pytest_blynk_ota.verdict.outcome import Finding, Outcome, Severity
from pytest_blynk_ota.verdict.rows import Case
from pytest_blynk_ota.verdict.sightings import LOST_LINK
from pytest_blynk_ota.verdict.story import Visit


def late(case: Case, outcome: Outcome) -> Iterator[Finding]:
    """An unexpected reset, going offline, or another image, after the board had settled."""
    story = case.story
    if story.settled_at(story.until) is None:
        return
    found = [*_resets(case), *_images(case), *_offline(case)]
    for text, seq in found:
        yield Finding("late", Severity.ERROR, f"after the watch: {text}", (seq,))


def _resets(case: Case) -> list[tuple[str, int]]:
    return [
        (f"reset 0x{boot.code or 0:x} ({boot.cause}) that nobody asked for", boot.seq)
        for boot in case.story.boots
        if boot.start > case.story.until + case.story.operation.skew
        and not boot.expected
        and not boot.loader
    ]


def _images(case: Case) -> list[tuple[str, int]]:
    """Reports that the image which ran at the end does not make."""
    image = case.images.final.image
    told = [report for report in case.story.reports() if report.version]
    if image is None or not told:
        return []
    last = told[-1]
    return [
        (f"the board reports {report.version} instead of {last.version}", report.seq)
        for visit in case.story.visits
        if visit.boot.by != "rig"  # what our own flash read or control brings up is no news
        for report in visit.reports
        if report.t > case.story.until
        and report.version
        and (report.version, report.build) != (last.version, last.build)
    ]


def _offline(case: Case) -> list[tuple[str, int]]:
    """A session that ended, with no login in the time that the device has."""
    story, ways = case.story, case.story.operation.ways
    limit = ways.boot_s + ways.login_s
    found = []
    for visit in story.visits:
        ended = _ended(case, visit) if story.until < visit.end < NEVER else None
        if ended is None:
            continue
        back = min((v.login for v in story.visits if v.login > visit.end), default=NEVER)
        gone = story.device(visit.end, min(back, story.seen.last_t))
        if gone > limit:
            how, seq = ended
            found.append((f"offline for {gone:.1f} s{how}", seq))
    return found


def _ended(case: Case, visit: Visit) -> tuple[str, int] | None:
    """How a session ended, and the event; None if the device need not come back: we closed it, or
    the test has written into its flash since."""
    story, session = case.story, visit.session
    if visit.end == session.closed:
        own = session.closed_by == "device" or LOST_LINK.search(session.closed_why)
        return ("", session.closed_seq) if own else None
    after = next((b for b in story.boots if b.start >= visit.end and not b.loader), None)
    if after is None or any(one[0] > story.until for one in story.seen.written):
        return None
    return f" after a reset by the {after.by}" if after.by else " after a reset", after.seq
