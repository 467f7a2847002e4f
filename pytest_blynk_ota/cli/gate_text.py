"""What the gate decided, for a release manager and for a script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pytest_blynk_ota.gate.decide import Judgement
from pytest_blynk_ota.gate.judging import Judged, Share, needs
from pytest_blynk_ota.gate.policy import Policy
from pytest_blynk_ota.gate.words import count
from pytest_blynk_ota.report.visible import visible

SHOWN_HASH_CHARS = 12
WORDS = {"pass": "pass", "fail": "FAIL", "incomplete": "incomplete"}
WIDTH = max(map(len, WORDS.values()))


def text_of(judgement: Judgement, policy: Policy, code: int) -> Iterator[str]:
    """The decision in lines."""
    decision = judgement.decision
    subject = decision.subject
    yield (
        f"{WORDS[decision.verdict].upper()}: {subject.name} (sha256 "
        f"{subject.sha256[:SHOWN_HASH_CHARS]}…) by policy {policy.name!r} "
        f"(sha256 {policy.sha256[:SHOWN_HASH_CHARS]}…)"
    )
    rigs = ", ".join(dict.fromkeys(f"{rig.name} ({rig.kind})" for rig in decision.rigs)) or "no rig"
    span = f", {decision.since} to {decision.until}" if decision.since else ""
    yield f"evidence: {count(len(decision.runs), 'run')} on {rigs}{span}"
    for line in decision.lines:
        yield f"  {WORDS[line.verdict]:<{WIDTH}}  {line.name}: {line.sentence}"
        for text in line.remedy.splitlines():
            yield f"  {'':<{WIDTH}}  what to do: {text}"
    for one in judgement.others:
        yield f"  {'not asked':<{WIDTH}}  {one.name}: is for {', '.join(one.chips)}"
    if decision.verdict == "pass":
        yield f"shown: {', '.join(decision.properties) or 'no property by name'}"
    if judgement.notes:
        yield "notes:"
    for note in judgement.notes:
        end = f" ({note.remedy})" if note.remedy else ""
        yield f"  {'! ' if note.blocks else ''}{note.run}: {note.text}{end}"


def plain(line: str) -> str:
    """A line without anything that a terminal obeys: names in evidence come from anywhere."""
    return visible(line)


def data_of(judgement: Judgement, policy: Policy, code: int) -> dict[str, Any]:
    """The decision as JSON values."""
    decision = asdict(judgement.decision)
    details = {id(one): _details(one) for one in judgement.judged}
    return {
        **decision,
        "policy": policy.name,
        "judged": list(details.values()),
        "notes": [asdict(note) for note in judgement.notes],
        "code": code,
    }


def _details(one: Judged) -> dict[str, Any]:
    return {
        "line": one.line.name,
        "chip": one.chip,
        "verdict": one.verdict,
        "shares": [_share(share) for share in one.shares],
        "waived": [str(waiver) for waiver in one.waived],
        "not_counted": dict(one.apart),
        "warnings": list(one.warnings),
    }


def _share(share: Share) -> dict[str, Any]:
    failed = [claim for claim in share.used if claim.outcome == "fail"]
    return {
        "scenarios": share.what.split(", "),
        "verdict": share.verdict,
        "runs": share.runs,
        "failures": share.failures,
        "needed": share.needed,
        "failure_rate": [share.low, share.high],
        "failed": [
            {"test": claim.id, "message": claim.message, "evidence": claim.folder}
            for claim in failed
        ],
    }


def explained(policy: Policy) -> Iterator[str]:
    """What a policy asks for, in advance."""
    yield f"policy {policy.name!r} (sha256 {policy.sha256})"
    for line in policy.lines:
        boards = "any" if line.rig == "any" else line.rig
        part = {"old": ", doing the update", "new": ", being installed", "either": ""}
        yield (
            f"  {line.name}: on {boards} boards, each of {', '.join(line.chips)}"
            f"{part[line.tested_as]}: {needs(line)}"
        )
    for waiver in policy.waivers:
        yield f"  waived: {waiver}"
