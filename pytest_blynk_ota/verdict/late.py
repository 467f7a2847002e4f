"""What the board did after the watch had ended, up to the next restore or operation. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_blynk_ota.verdict.outcome import Finding, Outcome, Severity
from pytest_blynk_ota.verdict.rows import Case
from pytest_blynk_ota.verdict.sightings import LOST_LINK


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
    """A session that the device or its silence ended, with no login in the time it has."""
    story, ways = case.story, case.story.operation.ways
    limit = ways.boot_s + ways.login_s
    found = []
    for visit in story.visits:
        session = visit.session
        if session.closed is None or not story.until < visit.end == session.closed:
            continue
        if session.closed_by != "device" and not LOST_LINK.search(session.closed_why):
            continue
        back = min((v.login for v in story.visits if v.login > visit.end), default=None)
        gone = story.device(visit.end, story.seen.last_t if back is None else back)
        if gone > limit:
            found.append((f"offline for {gone:.1f} s", session.closed_seq))
    return found
