"""From a decision to the statements that are signed. Pure: the time comes in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pytest_blynk_ota.errors import EvidenceError
from pytest_blynk_ota.gate.decision import Decision
from pytest_blynk_ota.gate.envelope import canonical
from pytest_blynk_ota.gate.statement import (
    PASSED,
    STATEMENT,
    SUMMARY,
    TEST_RESULT,
    Statement,
    parsed,
)
from pytest_blynk_ota.gate.tested import TestedRun

VERIFIER = "pkg:pypi/pytest-blynk-ota@{version}"
UNKNOWN_RIG = "urn:x-blynk-ota:rig:{name}"
"""Stands for a rig whose file's digest is not on record: in-toto wants one or the other."""
MAX_NAME_CHARS = 4096
Tested = Sequence[tuple[str, TestedRun]]
"""What runs say of binaries, each with the SHA-256 of the binary."""


def statements(
    decision: Decision, tested: Tested, now: datetime, version: str
) -> Sequence[Statement]:
    """A test result for each run and binary; behind them the summary, if the gate let it pass.

    Args:
        decision: the gate's.
        tested: what the decision's runs say of its subject, and of the images that stand in for
            it. A run that says nothing of them is in none.
        now: with a time zone.
        version: of this package.

    Raises:
        EvidenceError: no run of the decision says anything of its subject.
    """
    decision = replace(decision, derived_from=_original(decision, tested))
    _must_belong(decision, tested)
    results = [_test_result(decision, sha256, run) for sha256, run in tested]
    if decision.verdict != "pass":
        return results
    return [*results, _summary(decision, tested, results, now, version)]


def _must_belong(decision: Decision, tested: Tested) -> None:
    known = {decision.subject.sha256, *decision.stand_ins}
    runs = {run.manifest_sha256 for run in decision.runs}
    if any(sha256 not in known or run.manifest_sha256 not in runs for sha256, run in tested):
        raise EvidenceError("the evidence to attest is not that of the decision")
    if not tested:
        raise EvidenceError(
            f"no test of the evidence had {decision.subject.name}, sha256 "
            f"{decision.subject.sha256}: there is nothing to attest"
        )


def _original(decision: Decision, tested: Tested) -> str | None:
    """What the subject was made from, by the decision or by a run that made it."""
    made = [run.derived_from for sha256, run in tested if sha256 == decision.subject.sha256]
    return decision.derived_from or next((one for one in made if one), None)


def _statement(kind: str, binary: Mapping[str, Any], predicate: Mapping[str, Any]) -> Statement:
    """One statement, read back as any reader does."""
    row = {"_type": STATEMENT, "subject": [binary], "predicateType": kind, "predicate": predicate}
    try:
        return parsed(canonical(row))
    except ValueError as error:
        raise EvidenceError(f"{binary['name']}: nothing can be attested: {error}") from error


def _test_result(decision: Decision, sha256: str, run: TestedRun) -> Statement:
    stands_in = sha256 != decision.subject.sha256
    notes: dict[str, Any] = {"blynkOtaTiedBy": {"slot": run.slot, "elf": run.elf}}
    original = decision.subject.sha256 if stands_in else decision.derived_from
    if original is not None:
        notes["blynkOtaDerivedFrom"] = original
    predicate = {
        "result": run.result,
        "configuration": [
            _rig(decision, run),
            {"name": "policy", "digest": {"sha256": decision.policy_sha256}},
            {
                "name": "evidence",
                "digest": {"sha256": run.manifest_sha256},
                "annotations": {
                    "blynkOtaRun": _text(run.run),
                    "blynkOtaStarted": _text(run.started),
                    "blynkOtaFinished": _text(run.finished),
                    "blynkOtaAs": list(run.roles),
                },
            },
        ],
        "passedTests": [_text(name) for name in run.passed],
        "warnedTests": [_text(name) for name in run.warned],
        "failedTests": [_text(name) for name in run.failed],
    }
    name = f"derived from {decision.subject.name}" if stands_in else decision.subject.name
    binary = {"name": _text(name), "digest": {"sha256": sha256}, "annotations": notes}
    return _statement(TEST_RESULT, binary, predicate)


def _rig(decision: Decision, run: TestedRun) -> Mapping[str, Any]:
    """The rig of a run, with the digest of its file by the run, or else by the decision. Where the
    decision knows several files of that name, none of them is claimed."""
    used = {rig.sha256 for rig in decision.rigs if (rig.name, rig.kind) == (run.rig, run.rig_kind)}
    if not used:
        raise EvidenceError(
            f"run {run.run}: its rig {run.rig} ({run.rig_kind}) is not among those of the decision"
        )
    notes = {"blynkOtaRig": _text(run.rig), "blynkOtaKind": _text(run.rig_kind)}
    sha256 = run.rig_sha256 or (next(iter(used)) if len(used) == 1 else None)
    if sha256 is not None:
        return {"name": "rig", "digest": {"sha256": sha256}, "annotations": notes}
    uri = UNKNOWN_RIG.format(name=quote(_text(run.rig), safe=""))
    return {"name": "rig", "uri": uri, "annotations": notes}


def _summary(
    decision: Decision,
    tested: Tested,
    results: Sequence[Statement],
    now: datetime,
    version: str,
) -> Statement:
    runs = [run for sha256, run in tested if sha256 == decision.subject.sha256]
    notes: dict[str, Any] = {
        "blynkOtaTiedBy": {
            "slot": sum(run.slot for run in runs),
            "elf": sum(run.elf for run in runs),
        }
    }
    if decision.derived_from is not None:
        notes["blynkOtaDerivedFrom"] = decision.derived_from
    if decision.stand_ins:
        notes["blynkOtaStandIns"] = sorted(decision.stand_ins)
    binary = {
        "name": _text(decision.subject.name),
        "digest": {"sha256": decision.subject.sha256},
        "annotations": notes,
    }
    predicate = {
        "verifier": {
            "id": VERIFIER.format(version=version),
            "policies": [{"name": "policy", "digest": {"sha256": decision.policy_sha256}}],
        },
        "timeCreated": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "properties": [PASSED, *(one for one in decision.properties if one != PASSED)],
        "blynkOtaInputs": [
            {"name": "test-result", "digest": {"sha256": digest_of(one)}} for one in results
        ],
    }
    return _statement(SUMMARY, binary, predicate)


def digest_of(statement: Statement) -> str:
    """SHA-256 of a statement's text."""
    return hashlib.sha256(statement.text()).hexdigest()


def _text(value: str) -> str:
    """Text as a statement takes it: of UTF-8, not empty, not endless."""
    whole = value.encode("utf-8", "backslashreplace").decode("utf-8") or "unnamed"
    return whole[:MAX_NAME_CHARS]
