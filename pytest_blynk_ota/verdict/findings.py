"""What is worth knowing beside the outcome: one function for each finding, in one table. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from pytest_blynk_ota.verdict.boots import Boot
from pytest_blynk_ota.verdict.crash_told import crash_told
from pytest_blynk_ota.verdict.crashed import crashed_in
from pytest_blynk_ota.verdict.late import late
from pytest_blynk_ota.verdict.losses import unexplained_loss
from pytest_blynk_ota.verdict.otadata_seen import NEW, PENDING, UNDEFINED, top
from pytest_blynk_ota.verdict.outcome import NEW_RUNS, Finding, Outcome, Severity
from pytest_blynk_ota.verdict.rig_faults import unfired
from pytest_blynk_ota.verdict.rows import Case, away, new_first_start
from pytest_blynk_ota.verdict.sightings import Noted
from pytest_blynk_ota.verdict.slot_map import overlap
from pytest_blynk_ota.verdict.story import Story
from pytest_blynk_ota.verdict.trust import certificate_not_checked, digest_not_checked

ERROR, WARN, INFO = Severity.ERROR, Severity.WARN, Severity.INFO

ABOUT_RESETS = (
    Outcome.BRICKED,
    Outcome.BOOT_LOOP,
    Outcome.OFFLINE,
    Outcome.ROLLED_BACK,
    Outcome.REVERTED,
)
"""Outcomes that New's resets lead to: there they are part of the outcome, not survived."""

TOO_LONG_SHARE = 0.25
TOO_LONG_WALL_S = 0.5
"""A wait may take so much more than the profile says: timers are coarse, hosts are busy."""

HEAP = re.compile(r"(?i)\bheap\b[^0-9]{0,16}(\d{3,})")
HEAP_ROWS, HEAP_SHARE = 5, 0.1
"""Free heap printed so often in one boot, each time less, and a tenth gone in all."""

SECRET = re.compile(
    r"\[((?!url |console )[^]]*\b(?:token|passphrase|password|header|secret)\b[^]]*)\]"
)
"""The marks that redaction leaves (evidence/redact.py). Not the token of a download URL, which old
Edgent prints at each update and which is used up by then; not the echo of a typed command."""

CONFIG_MODE = re.compile("WAIT_CONFIG|WAIT CONFIG|Entering config")
"""Words of both Edgents for a board that lost its settings (BlynkState.h, ConfigMode.h)."""

Found = Iterator[Finding]


def hang(case: Case, outcome: Outcome) -> Found:
    """A download open past the device's own stall limit, though the device is there."""
    for one in case.story.downloads:
        quiet = case.story.device(one.moved, case.story.until)
        limit = case.story.operation.ways.stall_s
        if one.ended == "open" and quiet > limit and not away(case.story):
            yield Finding(
                "hang",
                ERROR,
                f"download of {one.offer} is open without a byte for {quiet:.1f} s; "
                f"the firmware's own limit is {limit:g} s",
                one.events,
            )


def false_success(case: Case, outcome: Outcome) -> Found:
    """It printed success and booted Old, whether the file had come or not."""
    if outcome not in (Outcome.REJECTED, Outcome.DOWNLOAD_FAILED):
        return
    for boot in case.story.window:
        for mark in boot.marked("firmware"):
            if mark.data["what"] == "success" and mark.t >= case.story.operation.t:
                yield Finding(
                    "false success",
                    ERROR,
                    "the firmware printed success, but the old image booted",
                    (mark.seq,),
                )


def went_back(case: Case, outcome: Outcome) -> Found:
    """Old, New, Old, New. A test that ends New's trial itself takes New back by that."""
    ran = [one for one in case.images.ran if one.image is not None]
    new = [i for i, one in enumerate(ran) if one.image == case.images.new]
    if (
        outcome in NEW_RUNS
        and new
        and any(one.image != case.images.new for one in ran[new[0] : new[-1]])
    ):
        between = [one.boot.seq for one in ran[new[0] :]]
        text, severity = "New ran, then another image ran, then New again", ERROR
        if all(
            other.boot.by == "test" and not _settled_in(case, one.boot)
            for one, other in pairwise(ran[new[0] :])
            if one.image == case.images.new != other.image
        ):
            text, severity = f"{text}: the test had reset it before it settled", INFO
        yield Finding("went back", severity, text, tuple(between))


def _settled_in(case: Case, boot: Boot) -> bool:
    return case.story.last_settled(boot.until) > boot.start


def fault_not_reached(case: Case, outcome: Outcome) -> Found:
    """A planned fault never fired, and the outcome stands without it."""
    for planned in unfired(case.story):
        if planned.may:
            continue
        yield Finding(
            "fault not reached",
            ERROR,
            f"the fault {planned.text!r} was planned and never fired; {outcome} came first",
            (case.story.operation.seq,),
        )


def unexpected_resets(case: Case, outcome: Outcome) -> Found:
    """Resets that nobody expected, and crashes; survived ones are errors. The same is told once."""
    since = new_first_start(case)
    told: dict[tuple[Severity, str, str], list[tuple[Noted | None, Boot]]] = {}
    before_of = {id(boot): before for before, boot in pairwise(case.story.window)}
    for boot in case.story.unexpected():  # tens of thousands in a loop of boots
        before = before_of[id(boot)]
        blamed = outcome in ABOUT_RESETS and (since is None or boot.start >= since)
        cause = f"reset 0x{boot.code:x} ({boot.cause})" if boot.code is not None else "a reset"
        crash = crash_told(before.crash.data) if before.crash is not None else ""
        told.setdefault((INFO if blamed else ERROR, crash, cause), []).append((before.crash, boot))
    for (level, crash, cause), seen in told.items():
        name, text = "unexpected reset", f"{cause} that nobody asked for"
        if crash:
            where = crashed_in(case, [one for one, _ in seen if one is not None])
            name, text = "crash", f"{crash}{where}; then {cause}"
        times = f" ({len(seen)} times)" if len(seen) > 1 else ""
        events = tuple(one.seq for pair in seen for one in pair if one is not None)
        yield Finding(name, level, text + times, events)


def no_rollback_protection(case: Case, outcome: Outcome) -> Found:
    """New runs and its otadata entry has no state: the bootloader cannot go back."""
    state = _top_state(case)
    if outcome in NEW_RUNS and state == UNDEFINED and case.images.selected():
        level = ERROR if case.story.operation.ways.rollback else INFO
        yield Finding(
            "no rollback protection",
            level,
            "otadata says that the bootloader keeps no state of New: it could not have gone back",
            _flash(case),
        )


def confirmation_not_seen(case: Case, outcome: Outcome) -> Found:
    """New settled and is still unconfirmed: the next reset takes it away."""
    if outcome in NEW_RUNS and _top_state(case) in (NEW, PENDING):
        yield Finding(
            "confirmation not seen",
            ERROR,
            "New settled but never confirmed itself: the next reset brings Old back",
            _flash(case),
        )


def will_not_stay(case: Case, outcome: Outcome) -> Found:
    """New runs and is confirmed, and yet the bootloader would start something else, or nothing.
    Where the test itself wrote into the flash, that may be the cause."""
    flash, new = case.flash, case.images.new
    if flash is None or outcome not in NEW_RUNS or case.images.final.image != new:
        return
    if _top_state(case) in (NEW, PENDING) or case.story.seen.written:
        return
    label = flash.data["would_boot"]
    image = flash.data["slots"].get(label, {}).get("image")
    if image != new:
        what = f"slot {label} ({image or 'no known image'})" if label else "nothing"
        yield Finding(
            "will not stay",
            ERROR,
            f"New runs, but by the boot rules {what} would start at the next reset",
            _flash(case),
        )


def confirmed_early(case: Case, outcome: Outcome) -> Found:
    """A reset inside New's self-test, and New came back: it had been confirmed before."""
    ways = case.story.operation.ways
    if not ways.self_test_s or not ways.rollback:
        return
    for first, second in pairwise(case.images.ran):
        if first.image == second.image == case.images.new and not second.boot.inferred:
            age = case.story.device(first.boot.start, second.boot.start)
            if age < ways.self_test_s:
                yield Finding(
                    "confirmed before self-test",
                    ERROR,
                    f"New was reset {age:.1f} s after its start, inside its self-test of "
                    f"{ways.self_test_s:g} s, and was not taken back",
                    (first.boot.seq, second.boot.seq),
                )
            return


def _top_state(case: Case) -> int | None:
    newest = top(case.flash.data["otadata"]) if case.flash is not None else None
    return newest[1] if newest else None


def _flash(case: Case) -> tuple[int, ...]:
    return (case.flash.seq,) if case.flash is not None else ()


def _slack(story: Story, limit: float) -> float:
    """A limit of the profile in device seconds, with what a measurement may add to it."""
    more = max(TOO_LONG_SHARE * limit, TOO_LONG_WALL_S * story.operation.speed)
    return limit + more + story.operation.skew_s


def stall_too_long(case: Case, outcome: Outcome) -> Found:
    """The device sat on a stalled download longer than its profile says. One that closes nothing
    (new Edgent) ends it by its restart, after its time in the error state."""
    ways = case.story.operation.ways
    for one in case.story.downloads:
        if one.ended != "stalled" or one.end is None:
            continue
        limit = ways.stall_s + (ways.error_restart_s if one.end == one.boot.until else 0.0)
        quiet = case.story.device(one.moved, one.end)
        if quiet > _slack(case.story, limit):
            yield Finding(
                "stall too long",
                ERROR,
                f"it took {quiet:.1f} s without a byte to give up the download of "
                f"{one.offer}; its profile says {limit:g} s",
                one.events,
            )


def offline_too_long(case: Case, outcome: Outcome) -> Found:
    """The device came back, but later than its profile says."""
    story, ways = case.story, case.story.operation.ways
    limit = _slack(story, ways.boot_s + ways.login_s)
    after_download = max(ways.apply_s, ways.error_restart_s)
    for before, visit in pairwise(story.visits):
        if not story.operation.t < visit.login <= story.until:
            continue
        begin = max(before.end, story.operation.t)
        ends = [d.end for d in story.downloads if d.end and begin <= d.end <= visit.login]
        ends += [one.t for one in story.shut_out if begin <= one.t <= visit.login]
        away_s = story.device(max([begin, *ends]), visit.login)
        allowed = limit + (after_download if ends else ways.request_s)
        if away_s > allowed:
            yield Finding(
                "offline too long",
                ERROR,
                f"away for {away_s:.1f} s; its profile allows {allowed:.1f} s",
                (visit.session.seq,),
            )


def config_lost(case: Case, outcome: Outcome) -> Found:
    """The board asks to be configured."""
    for line in _lines(case.story):
        if CONFIG_MODE.search(line.data["text"]):
            yield Finding(
                "config lost",
                ERROR,
                f"the board waits to be configured: {line.data['text']}",
                (line.seq,),
            )
            return


def heap_falling(case: Case, outcome: Outcome) -> Found:
    """The free heap falls with each print of it in one boot."""
    for boot in case.story.window:
        rows = _free_heap(case.story, boot)
        sizes = [size for size, _ in rows]
        falling = all(b < a for a, b in pairwise(sizes))
        if len(rows) >= HEAP_ROWS and falling and sizes[-1] <= sizes[0] * (1 - HEAP_SHARE):
            yield Finding(
                "heap falling",
                ERROR,
                f"free heap fell from {sizes[0]} to {sizes[-1]} bytes in one boot",
                (rows[0][1], rows[-1][1]),
            )


def _free_heap(story: Story, boot: Boot) -> list[tuple[float, int]]:
    """The free heap that one boot printed, with its events; out of the lines themselves, where
    evidence of an earlier version holds no metrics."""
    if any(mark.kind == "metric" for mark in story.seen.marks):
        return [
            (mark.data["value"], mark.seq)
            for mark in boot.marked("metric")
            if mark.data["name"] == "free heap" and story.operation.t <= mark.t <= story.until
        ]
    return [
        (int(found[1]), line.seq)
        for line in _lines(story)
        if "heap" in (text := str(line.data["text"]).lower())
        and boot.tells(line.t, line.seq)
        and (found := HEAP.search(text))
    ]


def other_slot_damaged(case: Case, outcome: Outcome) -> Found:
    """The slot that Old ran from does not hold it any more, and no second update wrote it."""
    label, old = case.images.labels.get(case.story.window[0].index), case.images.old
    if case.flash is None or label is None or old is None:
        return
    slot = case.story.operation.slots.get(label)
    written = [one[2:] for one in case.story.seen.written]
    if slot is not None and any(overlap(slot, span) for span in written):
        return  # by the test
    others = [one.boot for one in case.images.ran if one.image != old]
    if any(d.boot is boot for d in case.story.downloads for boot in others):
        return
    now = case.flash.data["slots"].get(label, {}).get("image")
    if now != old:
        yield Finding(
            "other slot damaged",
            ERROR,
            f"slot {label} held the image that ran at the start, and now holds "
            f"{now or 'no known image'}",
            _flash(case),
        )


def secret_in_log(case: Case, outcome: Outcome) -> Found:
    """The board printed a secret; redaction took it out of the evidence."""
    lines = [line for line in _lines(case.story) if SECRET.search(line.data["text"])]
    if lines:
        found = SECRET.search(lines[0].data["text"])
        assert found is not None
        yield Finding(
            "secret in the log",
            ERROR,
            f"the board printed a secret ({found[1]}) on its UART",
            tuple(line.seq for line in lines),
        )


def _lines(story: Story) -> list[Noted]:
    """What the board printed in the operation."""
    if story.lines is None:  # several findings look at all of them
        begin, end = story.operation.t, story.until
        story.lines = [line for line in story.seen.lines if begin <= line.t <= end]
    return story.lines


Rule = Callable[[Case, Outcome], Found]

RULES: Sequence[Rule] = (
    hang,
    false_success,
    went_back,
    fault_not_reached,
    unexpected_resets,
    no_rollback_protection,
    confirmation_not_seen,
    will_not_stay,
    confirmed_early,
    stall_too_long,
    offline_too_long,
    config_lost,
    heap_falling,
    other_slot_damaged,
    secret_in_log,
    digest_not_checked,
    certificate_not_checked,
    unexplained_loss,
    late,
)
"""Every finding; ``late`` looks at what came after the watch."""


def findings_of(case: Case, outcome: Outcome) -> tuple[Finding, ...]:
    """All findings, errors first."""
    order = list(Severity)
    found = [finding for rule in RULES for finding in rule(case, outcome)]
    return tuple(sorted(found, key=lambda one: -order.index(one.severity)))
