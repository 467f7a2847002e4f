"""Whether an attestation holds for a binary, a policy and evidence. Pure: bytes and hashes come in.

First the signatures of all lines. If one does not hold, nothing else of the file is looked at or
told: it is what anybody may have written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from securesystemslib.signer import SSlibKey

from pytest_blynk_ota.errors import BadSignature
from pytest_blynk_ota.gate.attest import digest_of
from pytest_blynk_ota.gate.decision import Subject
from pytest_blynk_ota.gate.envelope import lines_of, opened
from pytest_blynk_ota.gate.statement import (
    Binary,
    Statement,
    SummaryStatement,
    TestResultStatement,
    parsed,
)


class What(StrEnum):
    """What of an attestation does not hold."""

    SIGNATURE = "signature"
    """The file is not, byte for byte, what the key has signed."""
    STATEMENT = "statement"
    """The key has signed it, and it is none of our statements, or they contradict each other."""
    FAILED = "failed"
    """There is no pass, and a test result says that the firmware failed."""
    NO_PASS = "no pass"
    """There is no pass."""
    SUBJECT = "subject"
    """It is about another binary."""
    POLICY = "policy"
    """The gate used another policy."""
    EVIDENCE = "evidence"
    """It rests on other evidence, or the evidence is not what it was."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not hold: what, and in words what was expected and what is there."""

    what: What
    text: str


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A stored run that should be what the attestation rests on.

    Attributes:
        path: its folder.
        manifest_sha256: of its manifest as it stands now.
        flaws: how its files differ from that manifest, and whatever else is wrong with it.
        has: whether a binary, by its SHA-256, took part in one of its tests; asked of a run that
            the attestation does not name.
    """

    path: str
    manifest_sha256: str
    flaws: tuple[str, ...]
    has: Callable[[str], bool]


@dataclass(slots=True)
class Verified:
    """What came out.

    Attributes:
        differences: what does not hold; nothing: it is verified.
        summary: the gate's pass, if there is one and all signatures hold.
        results: the test results, if all signatures hold.
        unchecked: what was not compared, for want of what to compare with.
        others: runs that were given, and are about other binaries.
    """

    differences: list[Difference] = field(default_factory=list)
    summary: SummaryStatement | None = None
    results: list[TestResultStatement] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def verify(
    data: bytes,
    key: SSlibKey,
    image: Subject,
    policy_sha256: str | None = None,
    runs: Sequence[RunSeen] | None = None,
) -> Verified:
    """Check an attestation.

    Args:
        data: the bytes of ``IMAGE.intoto.jsonl``.
        key: the public key that must have signed each line.
        image: the binary at hand.
        policy_sha256: of the policy that must have been used; None: not compared.
        runs: the evidence that it must rest on, all of it; None: not compared. Runs of other
            binaries may be among it.
    """
    found = Verified()
    try:
        texts = _texts(data, key)
    except BadSignature as error:
        found.differences.append(Difference(What.SIGNATURE, str(error)))
        return found
    found.differences += _sort(found, texts)
    if not found.differences:
        found.differences += _about(found, image)
        found.differences += _by(found, policy_sha256)
        found.differences += _resting_on(found, runs)
    return found


def _texts(data: bytes, key: SSlibKey) -> Sequence[bytes]:
    texts = []
    for number, line in enumerate(lines_of(data), 1):
        try:
            texts.append(opened(line, key))
        except BadSignature as error:
            raise BadSignature(f"line {number}: {error}") from error
    return texts


def _sort(found: Verified, texts: Sequence[bytes]) -> Iterator[Difference]:
    """Sort the statements into ``found``; they must make one whole."""
    statements: list[Statement] = []
    for number, text in enumerate(texts, 1):
        try:
            statements.append(parsed(text))
        except ValueError as error:
            yield Difference(What.STATEMENT, f"line {number}: {error}")
    summaries = [one for one in statements if isinstance(one, SummaryStatement)]
    found.results += [one for one in statements if isinstance(one, TestResultStatement)]
    if len(summaries) > 1:
        yield Difference(What.STATEMENT, f"it holds {len(summaries)} summaries, expected one")
    elif summaries:
        found.summary = summaries[0]
        yield from _whole(summaries[0], found.results)
        if statements[-1] is not summaries[0]:
            yield Difference(What.STATEMENT, "the summary is not the last line")


def _whole(
    summary: SummaryStatement, results: Sequence[TestResultStatement]
) -> Iterator[Difference]:
    """The summary's test results must all be there, once, in its order, of its subject and policy:
    so the last line says what each byte of the others is."""
    named = [one.digest.sha256 for one in summary.predicate.inputs]
    there = [digest_of(one) for one in results]
    for number, digest in enumerate(there, 1):
        if digest not in named or digest in there[: number - 1]:
            run = results[number - 1].predicate.evidence.annotations.run
            text = f"the test result of run {run} is none that the summary rests on, or there twice"
            yield Difference(What.STATEMENT, text)
    if lost := [digest for digest in named if digest not in there]:
        text = f"{len(lost)} of {len(named)} test results that the summary rests on are not there"
        yield Difference(What.STATEMENT, text)
    if named != there and sorted(named) == sorted(there):
        yield Difference(What.STATEMENT, "the test results are not in the summary's order")
    for result in results:
        if wrong := _does_not_belong(result, summary):
            run = result.predicate.evidence.annotations.run
            yield Difference(What.STATEMENT, f"the test result of run {run} {wrong}")


def _does_not_belong(result: TestResultStatement, summary: SummaryStatement) -> str:
    mine, its = result.binary, summary.binary
    if result.predicate.policy != summary.predicate.policy:
        return "is by another policy than the summary"
    if mine.digest == its.digest:
        same = mine.annotations.derived_from == its.annotations.derived_from
        return "" if same else "says something else of what its subject was derived from"
    allowed = its.annotations.stand_ins or []
    if mine.digest.sha256 in allowed and mine.annotations.derived_from == its.digest.sha256:
        return ""
    return f"is of {mine.digest.sha256}, not of the summary's {its.digest.sha256}"


def _about(found: Verified, image: Subject) -> Iterator[Difference]:
    """Whether there is a pass, and whether it is about the binary at hand."""
    if found.summary is None:
        failed = [one for one in found.results if one.predicate.result == "FAILED"]
        text = "there is no summary: the gate did not let the binary pass"
        if failed:
            tests = sum(len(one.predicate.failed) for one in failed)
            text += f"; {tests} of its tests failed"
        yield Difference(What.FAILED if failed else What.NO_PASS, text)
    about = found.summary or found.results[0]
    if about.binary.digest.sha256 != image.sha256:
        yield Difference(What.SUBJECT, _another(about.binary, image))


def _another(binary: Binary, image: Subject) -> str:
    there = binary.digest.sha256
    if binary.annotations.derived_from == image.sha256:
        return (
            f"it is about {binary.name}, sha256 {there}, which was derived from {image.name}; what "
            f"holds for a derived image does not hold for its original, sha256 {image.sha256}"
        )
    if image.sha256 in (binary.annotations.stand_ins or []):
        return (
            f"it is about {binary.name}, sha256 {there}; {image.name}, sha256 {image.sha256}, was "
            f"derived from that and only stood in for it"
        )
    return f"it is about {binary.name}, sha256 {there}; {image.name} has the sha256 {image.sha256}"


def _by(found: Verified, policy_sha256: str | None) -> Iterator[Difference]:
    if policy_sha256 is None:
        found.unchecked.append("policy")
        return
    used = {one.predicate.policy.digest.sha256 for one in _all(found)}
    for sha256 in sorted(used - {policy_sha256}):
        text = f"the gate used the policy with sha256 {sha256}; this one has {policy_sha256}"
        yield Difference(What.POLICY, text)


def _resting_on(found: Verified, runs: Sequence[RunSeen] | None) -> Iterator[Difference]:
    if runs is None:
        found.unchecked.append("evidence")
        return
    attested = {one.predicate.evidence.digest.sha256: one for one in found.results}
    images = {one.binary.digest.sha256 for one in _all(found)}
    for run in runs:
        if run.manifest_sha256 in attested:
            pass
        elif not any(run.has(sha256) for sha256 in images):
            found.others.append(run.path)
        else:
            text = f"{run.path}: the attestation does not rest on it: its manifest has the sha256 "
            yield Difference(What.EVIDENCE, text + run.manifest_sha256)
        for flaw in run.flaws:
            yield Difference(What.EVIDENCE, f"{run.path}: {flaw}")
    for sha256 in sorted(attested.keys() - {run.manifest_sha256 for run in runs}):
        notes = attested[sha256].predicate.evidence.annotations
        text = f"run {notes.run}, begun {notes.started}, with the manifest {sha256}: is not given"
        yield Difference(What.EVIDENCE, text)


def _all(found: Verified) -> Sequence[Statement]:
    return [*found.results, *([found.summary] if found.summary else [])]
