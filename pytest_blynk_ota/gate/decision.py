"""What the gate decided, as data: judged from evidence and a policy, and what is attested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "fail", "incomplete"]
"""``incomplete``: the evidence does not say; neither a pass nor a failure of the firmware."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The binary that was decided on.

    Attributes:
        name: of its file, without folders.
        sha256: of its bytes, 64 hexadecimal digits.
    """

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the policy, judged.

    Attributes:
        name: the line's, as the policy calls it.
        verdict: what it came to.
        sentence: why.
        remedy: what would meet it, a thing a line of text; "" where it is met.
    """

    name: str
    verdict: Verdict
    sentence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class RigUsed:
    """A rig that evidence came from.

    Attributes:
        name: as its file calls it.
        kind: ``real``, ``virtual``, ``emulated``, ``mixed`` or ``unknown``, as its boards say.
        sha256: of the rig file; None where that is not on record.
    """

    name: str
    kind: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class RunUsed:
    """A run that the decision rests on.

    Attributes:
        path: its folder.
        id: told apart from any other run by it; None for runs of schema 1.
        manifest_sha256: of its ``manifest.json``.
    """

    path: str
    id: str | None
    manifest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate decided on one binary.

    Attributes:
        verdict: the whole.
        subject: the binary.
        derived_from: sha256 of the original, where the subject was made from one; None where not.
        stand_ins: sha256 of images derived from the subject whose evidence the policy lets count
            for it.
        lines: the judged lines of the policy, in its order.
        properties: names of what passed, as ``BLYNKOTA_UPGRADE``.
        policy_sha256: of the policy file's bytes.
        rigs: all that evidence came from.
        runs: all that was judged.
        since: when the oldest evidence began, ISO 8601 in UTC; None if there is none.
        until: when the newest evidence ended, likewise.
    """

    verdict: Verdict
    subject: Subject
    derived_from: str | None = None
    stand_ins: tuple[str, ...] = ()
    lines: tuple[Line, ...]
    properties: tuple[str, ...]
    policy_sha256: str
    rigs: tuple[RigUsed, ...]
    runs: tuple[RunUsed, ...]
    since: str | None = None
    until: str | None = None
