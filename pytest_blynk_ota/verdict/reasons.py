"""The sentences of a verdict: why this outcome, each with the events that it rests on. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_blynk_ota.verdict.crash_told import crash_told
from pytest_blynk_ota.verdict.crashed import crashed_in, image_told
from pytest_blynk_ota.verdict.downloads_seen import DownloadSeen
from pytest_blynk_ota.verdict.images_seen import EARLIER, ONLY_WHOLE, Ran
from pytest_blynk_ota.verdict.network_seen import network_trouble
from pytest_blynk_ota.verdict.outcome import Outcome, Reason
from pytest_blynk_ota.verdict.rows import (
    Case,
    false_reports,
    loop_resets,
    new_reports,
    refusals,
    reset_by_test,
    silent_tail,
    tried_reports,
)
from pytest_blynk_ota.verdict.sightings import LONG_AGO, Noted


def reasons_of(case: Case, outcome: Outcome, *, partial: str) -> tuple[Reason, ...]:
    """The reasons of an outcome, what it rests on, and what was missing."""
    rows = [*BY_OUTCOME[outcome](case)]
    if outcome in OF_CRASHES:
        rows += _crashes(case)
    closed = [note for note in case.story.notes("closed") if note.t <= case.story.until]
    if closed and outcome is not Outcome.DOWNLOAD_LIMIT_REACHED:
        rows.append(Reason(f"the shipment was closed: {closed[-1].data['why']}", (closed[-1].seq,)))
    for ran in case.images.ran:
        rows += [Reason(f"witnesses disagree: {text}", ran.events) for text in ran.conflicts]
    if not case.story.operation.ways.named:
        rows.append(Reason("the rig names no firmware profile: default times were used"))
    if partial:
        rows.append(Reason(f"partial: {partial}"))
    return tuple(rows)


OF_CRASHES = (Outcome.BOOT_LOOP, Outcome.OFFLINE, Outcome.ROLLED_BACK, Outcome.REVERTED)
"""Outcomes that a crash may be the cause of."""


def _crashes(case: Case) -> list[Reason]:
    """Each crash once, with how often it was seen; not of evidence of an earlier version, whose
    stored verdicts have no such sentence."""
    told: dict[str, list[Noted]] = {}
    for crash in case.story.crashes():
        if "kind" not in crash.data:
            continue
        told.setdefault(crash_told(crash.data), []).append(crash)
    return [
        Reason(
            f"crash: {text}{crashed_in(case, crashes)}"
            + (f", {len(crashes)} times" if len(crashes) > 1 else ""),
            tuple(crash.seq for crash in crashes),
        )
        for text, crashes in told.items()
    ]


KNOWN_BY: Mapping[str, str] = {
    "slot hash": "the slot that was booted holds it, by its hash",
    "app_init": "the boot log or the crash names it",
    "slot offset": "the bootloader loaded the slot that holds it",
    "start": "it ran at the start, and the board was not reset since",
    ONLY_WHOLE: "no other image was whole in flash",
    "prints": "its own prints say so",
    "report": "its own report says so",
    EARLIER: "it ran before the board was reset",
    "": "nothing says for certain which it is",
}
"""What is known of the image that runs, by its best witness."""


def in_words_of_today(text: str) -> str:
    """A stored sentence in today's words: verdicts of earlier versions named the witness alone."""
    name, earlier, by = text.partition(" runs; known by: ")
    words = KNOWN_BY.get("" if by == "nothing certain" else by)
    return f"{name} runs: {words}" if earlier and words else text


def _ran(case: Case, ran: Ran) -> Reason:
    return Reason(f"{image_told(case, ran.image)} runs: {KNOWN_BY[ran.by]}", ran.events)


def _final(case: Case) -> Reason:
    return _ran(case, case.images.final)


def _download(one: DownloadSeen | None, number: int) -> Reason:
    if one is None:
        return Reason("there was no download")
    last = one.last
    of = f" of {last.announced}" if last and last.announced is not None else ""
    size = f", {last.acked}{of} bytes acknowledged" if last else ""
    trouble = [*one.fired, *one.network]
    fault = f", with {'; '.join(trouble)}" if trouble else ""
    status = f", HTTP {last.status}" if last and last.status else ""
    return Reason(
        f"download {number} ended: {one.ended}{status}{size}{_how(one)}{fault}", one.events
    )


def _how(one: DownloadSeen) -> str:
    """What the last answer alone does not tell: a failed handshake, redirects, parts."""
    if one.last is None:
        failed = [knock.failed for knock in one.knocks if knock.failed]
        return f", TLS: {failed[-1]}" if failed else ", nothing was asked for"
    part = one.last.part
    rows = []
    if part is not None:
        rows.append(f"bytes {part.first} to {part.stop - 1} of {part.total or 'a file'}")
    if one.redirects:
        rows.append(f"after {one.redirects} redirects" if one.redirects > 1 else "after a redirect")
    if part is not None and one.goes_on:
        rows.append("and the rest was not asked for")
    return "".join(f", {row}" for row in rows)


def _last(case: Case) -> Reason:
    return _download(case.story.last_download, len(case.story.downloads))


def _bricked(case: Case) -> list[Reason]:
    tail = silent_tail(case.story)
    errors = [mark for boot in tail for mark in boot.marked("boot_error")]
    rows = [
        Reason(f"no app started in the last {len(tail)} boots", tuple(boot.seq for boot in tail))
    ]
    if errors:
        rows.append(
            Reason(
                f"the boot ends with: {errors[-1].data['text']}", tuple(mark.seq for mark in errors)
            )
        )
    if case.flash is not None and case.flash.data["would_boot"] is None:
        rows.append(Reason("by the boot rules nothing in flash starts", (case.flash.seq,)))
    if case.cycled is not None:
        rows.append(Reason("a power cycle changed nothing", (case.cycled.seq,)))
    return rows


def _loop(case: Case) -> list[Reason]:
    resets = loop_resets(case)
    limit = case.story.operation.ways.loop
    return [
        Reason(
            f"{len(resets)} unexpected resets without settling ({limit} make a loop)",
            tuple(boot.seq for boot in resets),
        ),
        _final(case),
    ]


def _offline(case: Case) -> list[Reason]:
    story = case.story
    ended = [v for v in story.visits if v.end <= story.until and v.login <= v.end]
    since = max((v.end for v in ended), default=LONG_AGO)
    long = f"for {story.device(max(since, story.operation.t), story.until):.1f} s"
    rows = [Reason(f"the board is away from the cloud {long} at the end of the watch")]
    if len(story.drops(story.until)) >= story.operation.ways.loop:
        rows.append(
            Reason(
                f"the link dropped {len(story.drops(story.until))} times",
                tuple(v.session.closed_seq for v in story.drops(story.until)),
            )
        )
    if case.control is not None:
        rows.append(Reason("with Old restored it logged in again", (case.control.seq,)))
    return [*rows, _final(case)]


def _misreported(case: Case) -> list[Reason]:
    report = false_reports(case)[-1]
    visit = next(v for v in case.story.visits if report in v.reports)
    ran = case.images.of(visit.boot)
    image = ran.image if ran else None
    facts = case.story.operation.images.get(image or "", {})
    build = f" (built {report.build})" if report.build else ""
    return [
        Reason(
            f"it reported {report.version}{build}, but {image} declares {facts.get('version')} "
            f"(built {facts.get('build')})",
            (report.seq,),
        ),
        *([_ran(case, ran)] if ran else []),
    ]


def _upgraded(case: Case) -> list[Reason]:
    report = new_reports(case, final_too=True)[-1]
    return [_final(case), Reason(f"it reported {report.version}", (report.seq,))]


def _not_reported(case: Case) -> list[Reason]:
    return [_final(case), Reason("no report of it names a version")]


def _rolled_back(case: Case) -> list[Reason]:
    report = tried_reports(case)[-1]
    return [Reason(f"New had reported {report.version}", (report.seq,)), _final(case)]


def _reverted(case: Case) -> list[Reason]:
    rows = [_final(case)]
    if case.images.final.image not in {None, case.images.old} | case.images.tried:
        rows.append(Reason("that is neither the image that ran before nor one that was offered"))
    if case.images.selected():
        started = [ran for ran in case.images.ran[1:] if ran.image in case.images.tried]
        rows.append(
            Reason(
                f"New was started {len(started)} times and never reported",
                tuple(ran.boot.seq for ran in started),
            )
            if started
            else Reason(
                "otadata holds a sequence number above those at the start: New was selected",
                (case.flash.seq,) if case.flash else (),
            )
        )
    limit = [note for note in case.story.notes("closed") if note.data["why"] == "limit"]
    if limit:
        rows.append(
            Reason(
                f"the download limit of {case.story.operation.limit} was reached", (limit[0].seq,)
            )
        )
    if any(one.ended == "complete" for one in case.story.downloads):
        rows.append(Reason("Air cannot see this: it shows a file downloaded, then sent again"))
    return rows


def _limit(case: Case) -> list[Reason]:
    closed = [note.seq for note in case.story.notes("closed") if note.data["why"] == "limit"]
    return [
        Reason(f"the download limit of {case.story.operation.limit} was reached", tuple(closed)),
        *(_download(one, number) for number, one in enumerate(case.story.downloads, 1)),
        _final(case),
    ]


def _not_started(case: Case) -> list[Reason]:
    offers = [o for o in case.story.seen.offers if o.operation == case.story.operation.seq]
    shut = case.story.shut_out
    rows = [
        Reason(
            f"{len(offers)} URLs were sent, and no connection to one came",
            tuple(o.seq for o in offers),
        )
        if offers
        else Reason("no URL was sent")
    ]
    story = case.story
    trouble = network_trouble(story.seen, story.operation.t, story.until)
    rows += [Reason(f"the test had {one}") for one in trouble]
    rows += [
        Reason(
            f"the firmware server let no connection come about: {text}",
            tuple(one.seq for one in shut if one.text == text),
        )
        for text in dict.fromkeys(one.text for one in shut)
    ]
    rows += [
        Reason(f"{kind}: {note.data.get('why', '')}", (note.seq,))
        for kind in ("withheld", "cancelled")
        for note in case.story.notes(kind)
    ]
    return [*rows, _final(case)]


def _rejected(case: Case) -> list[Reason]:
    last = case.story.last_download
    assert last is not None
    rows = [_last(case)]
    end = last.end if last.end is not None else case.story.until
    restarts = [boot for boot in case.story.window if boot.start >= end]
    success = [m for m in last.boot.marked("firmware") if m.data["what"] == "success"]
    refused = refusals(last)
    if success:
        rows.append(Reason("it claimed success, but booted Old", (success[-1].seq,)))
    elif refused:
        rows.append(Reason(f"it refused the file: {refused[0].data['text']}", (refused[0].seq,)))
    elif last.ended == "complete" and not restarts:
        apply = case.story.operation.ways.apply_s
        rows.append(Reason(f"it did not restart within {apply:g} s of the whole file"))
    else:
        rows.append(Reason("it refused the file, or never started it"))
    return [*rows, _final(case)]


def _stalled(case: Case) -> list[Reason]:
    return [_last(case), _final(case)]


def _failed(case: Case) -> list[Reason]:
    rows = [_last(case), _final(case)]
    last = case.story.last_download
    if last is not None and last.ended == "complete" and reset_by_test(case.story, last):
        rows.insert(1, Reason("the test reset the board before it logged in again"))
    return rows


BY_OUTCOME: Mapping[Outcome, Callable[[Case], list[Reason]]] = {
    Outcome.BRICKED: _bricked,
    Outcome.BOOT_LOOP: _loop,
    Outcome.OFFLINE: _offline,
    Outcome.MISREPORTED: _misreported,
    Outcome.UPGRADED: _upgraded,
    Outcome.NOT_REPORTED: _not_reported,
    Outcome.ROLLED_BACK: _rolled_back,
    Outcome.REVERTED: _reverted,
    Outcome.DOWNLOAD_LIMIT_REACHED: _limit,
    Outcome.NOT_STARTED: _not_started,
    Outcome.REJECTED: _rejected,
    Outcome.STALLED: _stalled,
    Outcome.DOWNLOAD_FAILED: _failed,
}
