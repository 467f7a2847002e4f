"""The decision on one binary: a policy against the evidence. Pure; the time is an argument.

A line passes only on results that show it; what is missing makes it incomplete, never a pass. One
line that fails, fails the whole; what is wrong with the evidence keeps the whole from passing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pytest_blynk_ota.gate.accept import Accepted, Binary, Note, accept
from pytest_blynk_ota.gate.claims import Claim, RunSeen, iso
from pytest_blynk_ota.gate.decision import Decision, RigUsed, RunUsed, Subject, Verdict
from pytest_blynk_ota.gate.decision import Line as DecidedLine
from pytest_blynk_ota.gate.judging import FAILURES_TOLD, Judged, judge_line, worst
from pytest_blynk_ota.gate.policy import Line, Policy, Waiver
from pytest_blynk_ota.gate.properties import PREFIX
from pytest_blynk_ota.gate.statistics import is_worse
from pytest_blynk_ota.gate.words import count, percent

RIG_ERRORS = "errors of the rack"
LAST_RELEASE = "last release"
EVIDENCE = "evidence"
OTHER_FAILURES = "other failures"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision, with all that it was made from.

    Attributes:
        judged: the lines of the policy that are on the binary's chip.
        notes: what was said of the evidence, and of waivers.
        others: lines for other chips, which are not judged.
    """

    decision: Decision
    judged: tuple[Judged, ...]
    notes: tuple[Note, ...]
    others: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Last:
    """The evidence of the last release, to compare with."""

    runs: Sequence[RunSeen]
    binary: Binary


@dataclass(slots=True)
class _Case:
    policy: Policy
    binary: Binary
    now: float
    last: Last | None
    accepted: Accepted
    notes: list[Note] = field(default_factory=list)

    @property
    def blocked(self) -> frozenset[int]:
        paths = self.accepted.blocked
        return frozenset(
            claim.run for run in self.accepted.runs if run.path in paths for claim in run.claims
        )


def decide(
    policy: Policy,
    runs: Sequence[RunSeen],
    binary: Binary,
    now: float,
    last: Last | None = None,
) -> Judgement:
    """Decide on one binary.

    Args:
        now: seconds since the epoch.
        last: the evidence of the last release; None: there is none.
    """
    accepted = accept(runs, binary, now)
    case = _Case(policy, binary, now, last, accepted, list(accepted.notes))
    waivers = list(_in_force(case))
    chip = binary.chip or _chip(accepted)
    judged = [
        judge_line(
            line,
            chip,
            accepted.claims,
            waivers,
            binary,
            blocked=case.blocked,
            now=now,
            barred=accepted.barred,
        )
        for line in policy.lines
        if chip in line.chips
    ]
    case.notes += _idle(waivers, judged)
    lines = [_decided(one) for one in judged] + list(_of_the_whole(case, judged))
    verdict = worst((one.verdict for one in lines), none="incomplete")
    return Judgement(
        _decision(case, verdict, lines, judged),
        tuple(judged),
        tuple(case.notes),
        tuple(line for line in policy.lines if chip not in line.chips),
    )


def _chip(accepted: Accepted) -> str:
    """The chip of a binary of which only the hash is known: that of the boards it ran on."""
    chips = {
        chip for claim in accepted.claims if claim.ran or claim.arrived for chip in claim.chips
    }
    return next(iter(chips)) if len(chips) == 1 else ""


def _in_force(case: _Case) -> Iterator[Waiver]:
    for waiver in case.policy.waivers:
        if waiver.expired(case.now):
            what = f"the waiver of {waiver} has expired, and does not count"
            case.notes.append(Note("policy", what, remedy="meet the line, or renew the waiver"))
        else:
            yield waiver


def _idle(waivers: Sequence[Waiver], judged: Sequence[Judged]) -> Iterator[Note]:
    used = {id(one) for line in judged for one in line.waived}
    for waiver in waivers:
        if id(waiver) not in used:
            yield Note("policy", f"the waiver of {waiver} was not needed here")


def _decided(one: Judged) -> DecidedLine:
    return DecidedLine(one.line.name, one.verdict, one.sentence, one.remedy)


def _of_the_whole(case: _Case, judged: Sequence[Judged]) -> Iterator[DecidedLine]:
    """What no single line says."""
    yield from _any_line(case, judged)
    yield from _sound(case)
    yield from _rack(case)
    yield from _other_failures(case, judged)
    yield from _last(case, judged)


def _any_line(case: _Case, judged: Sequence[Judged]) -> Iterator[DecidedLine]:
    if any(one.used for one in judged):
        return
    if judged and all(not one.shares for one in judged):
        what = "all that the policy asks for is waived, so that nothing was shown"
        yield DecidedLine("policy", "incomplete", what, "meet one line at least")
    if judged:
        return
    chip = case.binary.chip or _chip(case.accepted)
    if chip:
        what = f"the policy asks for nothing on {chip}, the chip of this binary"
        yield DecidedLine("policy", "incomplete", what, f"add a line for {chip}")
    else:
        what = f"no result of {case.binary.sha256[:12]}… says which chip it is for"
        yield DecidedLine("policy", "incomplete", what, "give the file itself, or evidence of it")


def _sound(case: _Case) -> Iterator[DecidedLine]:
    blocking = [note for note in case.notes if note.blocks]
    if blocking:
        first = blocking[0]
        more = f"; {len(blocking) - 1} more below" if len(blocking) > 1 else ""
        yield DecidedLine(EVIDENCE, "incomplete", f"{first.run}: {first.text}{more}", first.remedy)


def _rack(case: _Case) -> Iterator[DecidedLine]:
    broken = [one for one in case.accepted.claims if one.outcome == "broken"]
    passes = sum(one.outcome == "pass" for one in case.accepted.claims)
    if not broken:
        return
    # Failures are left out: many of them are no sign of a rack that works.
    share, limit = len(broken) / (len(broken) + passes), case.policy.rig_errors
    what = (
        f"{count(len(broken), 'error')} of the rack or of a test beside "
        f"{count(passes, 'pass', 'passes')} ({percent(share)} of them), {percent(limit)} may be"
    )
    if share > limit:
        remedy = f"mend the rack, and run again; the first: {broken[0].id}: {broken[0].message}"
        yield DecidedLine(RIG_ERRORS, "incomplete", what, remedy)
    else:
        yield DecidedLine(RIG_ERRORS, "pass", what)


def _other_failures(case: _Case, judged: Sequence[Judged]) -> Iterator[DecidedLine]:
    """Failures of this binary that no line counts: of other scenarios, or on other boards."""
    used = {id(claim) for one in judged for claim in one.used}
    waived = [waiver.scenario for one in judged for waiver in one.waived]
    others = [
        claim
        for claim in case.accepted.claims
        if claim.outcome == "fail"
        and id(claim) not in used
        and case.now - claim.began <= case.policy.max_age_s
        and not any(claim.of(one) for one in waived)
    ]
    if not others:
        return
    told = "; ".join(f"{one.id}: {one.message or one.word}" for one in others[:FAILURES_TOLD])
    what = f"{count(len(others), 'failure')} of this binary that no line counts: {told}"
    fails = case.policy.other_failures == "fail"
    remedy = 'mend it, or say other_failures = "warn" in the policy' if fails else ""
    yield DecidedLine(OTHER_FAILURES, "fail" if fails else "pass", what, remedy)


def _last(case: _Case, judged: Sequence[Judged]) -> Iterator[DecidedLine]:
    """Whether New fails more often than the last release, line by line."""
    policy = case.policy
    if policy.worse is None:
        if case.last is not None:
            what = "it has no [last_release], so that New was not compared with the last release"
            case.notes.append(Note("policy", what, remedy="add the table, or leave --last out"))
        return
    if case.last is None:
        what = "the policy asks whether it is worse than the last release, and none was given"
        yield DecidedLine(LAST_RELEASE, "incomplete", what, "give its runs with --last")
        return
    before = accept(case.last.runs, case.last.binary, case.now)
    if blocking := [note for note in before.notes if note.blocks]:
        what = f"{blocking[0].run}: {blocking[0].text}"
        yield DecidedLine(LAST_RELEASE, "incomplete", what, blocking[0].remedy)
        return
    for one in judged:
        yield _compared(case, one, before)


def _compared(case: _Case, one: Judged, before: Accepted) -> DecidedLine:
    assert case.last is not None
    line = one.line
    name = f"{LAST_RELEASE}: {line.name}"
    ageless = Line(
        line.name, line.property, line.scenarios, line.chips, line.rig, line.tested_as,
        line.repetitions, line.pool, line.demand, float("inf"), line.findings,
    )  # fmt: skip
    then = judge_line(
        ageless, one.chip, before.claims, one.waived, case.last.binary,
        blocked=frozenset(), now=case.now,
    )  # fmt: skip
    old, new = _tally(then.used), _tally(one.used)
    told = f"on {one.chip}: {new[0]} of {new[1]} failed, {old[0]} of {old[1]} of the last release"
    if not old[1] or not new[1]:
        what = f"{told}: nothing to compare"
        return DecidedLine(name, "incomplete", what, f"give runs of it with {line.name!r}")
    chance, level = is_worse(old, new), 1 - case.policy.worse_confidence
    if chance > level:
        return DecidedLine(name, "pass", f"{told}: not shown to be worse (p = {chance:.3g})")
    verdict: Verdict = "fail" if case.policy.worse == "fail" else "pass"
    what = f"{told}: it fails more often, with {percent(1 - chance)} confidence (p = {chance:.3g})"
    return DecidedLine(name, verdict, what, "look at what fails now and did not then")


def _tally(claims: Sequence[Claim]) -> tuple[int, int]:
    return sum(one.outcome == "fail" for one in claims), len(claims)


def _decision(
    case: _Case, verdict: Verdict, lines: Sequence[DecidedLine], judged: Sequence[Judged]
) -> Decision:
    used = [claim for one in judged for claim in one.used]
    mine = {claim.run for claim in case.accepted.claims}
    runs = [run for run in case.accepted.runs if any(one.run in mine for one in run.claims)]
    return Decision(
        verdict=verdict,
        subject=Subject(case.binary.name, case.binary.sha256),
        stand_ins=tuple(sorted(case.binary.derived & {s for one in used for s in one.arrived})),
        lines=tuple(lines),
        properties=tuple(_properties(judged)),
        policy_sha256=case.policy.sha256,
        rigs=tuple(dict.fromkeys(RigUsed(run.rig, run.kind, run.rig_sha256) for run in runs)),
        runs=tuple(RunUsed(run.path, run.id, run.manifest_sha256) for run in runs),
        since=iso(min(one.began for one in used)) if used else None,
        until=iso(max(one.ended for one in used)) if used else None,
    )


def _properties(judged: Sequence[Judged]) -> Iterator[str]:
    """What was shown: each line that asks for it passed, with nothing waived."""
    asked = dict.fromkeys(one.line.property for one in judged if one.line.property)
    for name in asked:
        lines = [one for one in judged if one.line.property == name]
        if all(one.verdict == "pass" and not one.waived for one in lines):
            yield PREFIX + name
