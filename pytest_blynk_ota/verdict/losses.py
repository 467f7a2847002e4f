"""Two boards that lose the network at once: the rig's network, not the firmware. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_blynk_ota.verdict.network_seen import network_trouble
from pytest_blynk_ota.verdict.outcome import Finding, Outcome, Severity
from pytest_blynk_ota.verdict.rows import Case
from pytest_blynk_ota.verdict.sightings import LOST_LINK
from pytest_blynk_ota.verdict.story import Story

TOGETHER_S = 10.0
"""Device seconds within which losses on two boards have one cause (docs/reference/outcomes.md)."""

AFTER_S = 90.0
"""Device seconds in which a loss may come of it: a heartbeat of 45 s is missed after 1.5 times."""


def unexplained_loss(case: Case, outcome: Outcome) -> Iterator[Finding]:
    """A stall, cut or link loss here with no fault in force, and a loss on another board."""
    story = case.story
    together = story.operation.wall(TOGETHER_S)
    for t, seq, what in own_losses(story):
        near = [
            (board, other) for board, other in story.seen.other_losses if abs(other - t) <= together
        ]
        if near:
            yield Finding(
                "unexplained loss",
                Severity.WARN,
                f"{what} with no fault in force, and board {near[0][0]} lost the network within "
                f"{TOGETHER_S:g} s of it: rather the rig's network than the firmware",
                (seq,),
            )


def own_losses(story: Story) -> list[tuple[float, int, str]]:
    """When this board lost the network, the event, and what was lost; resets explain theirs."""
    skew = story.operation.skew
    found = []
    for one in story.downloads:
        end = story.until if one.end is None else one.end
        reset = abs(one.boot.until - end) <= skew
        by_test = one.fired or one.network
        if one.ended in ("stalled", "cut", "open") and not by_test and not reset:
            found.append(
                (max(one.moved, one.start), one.seq, f"download of {one.offer}: {one.ended}")
            )
    for visit in story.visits:
        session = visit.session
        lost = session.closed is not None and LOST_LINK.search(session.closed_why)
        recent = visit.end - story.operation.wall(AFTER_S)
        by_test = network_trouble(story.seen, recent, visit.end)
        within = story.operation.t <= visit.end <= story.until and visit.end == session.closed
        if lost and within and not by_test:
            found.append((visit.end, session.closed_seq, "the link to the cloud was lost"))
    return found
