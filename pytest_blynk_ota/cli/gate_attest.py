"""What the gate decided, signed and written: ``attest(decision, …)``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_blynk_ota import __version__
from pytest_blynk_ota.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.evidence.run import StoredTest
    from pytest_blynk_ota.gate.decision import Decision, RunUsed
    from pytest_blynk_ota.gate.keys import SigningKey
    from pytest_blynk_ota.gate.statement import Statement
    from pytest_blynk_ota.gate.tested import TestedRun

SUFFIX = ".intoto.jsonl"


def attestation_of(image: Path) -> Path:
    """Where the attestation of an image stands, if nobody says otherwise: beside it."""
    return image.with_name(image.name + SUFFIX)


def attest(decision: Decision, key: SigningKey, out: Path, now: datetime) -> int:
    """Sign what the gate decided and write it, one envelope a line.

    What stood there goes first, and without a pass only test results are written: no old pass is
    left to be taken for one, whatever happens.

    Args:
        decision: the gate's; its runs are read from where it says they are.
        key: signs.
        out: the file.
        now: with a time zone.

    Returns:
        How many envelopes it holds. 0, and no file: there is no pass, and no sound evidence.

    Raises:
        EvidenceError: of a pass, a run cannot be read, or is not what the decision was made on.
        UsageError: the file cannot be written.
    """
    from pytest_blynk_ota.gate.envelope import seal

    _writing(out, lambda: out.unlink(missing_ok=True))
    try:
        data = b"".join(seal(one.text(), key) + b"\n" for one in _made(decision, now))
    except EvidenceError:
        if decision.verdict == "pass":
            raise
        return 0
    _writing(out, lambda: _write(out, data))
    return data.count(b"\n")


def _made(decision: Decision, now: datetime) -> Sequence[Statement]:
    from pytest_blynk_ota.gate.attest import statements

    runs = {run.manifest_sha256: run for run in decision.runs}  # a copy counts once
    tested = [one for run in runs.values() for one in _tested(decision, run)]
    return statements(decision, tested, now, __version__)


def _writing(out: Path, what: Callable[[], None]) -> None:
    try:
        what()
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror or error}; name another file") from error


def _tested(decision: Decision, used: RunUsed) -> Iterator[tuple[str, TestedRun]]:
    """What a run says of the subject, and of each image that stands in for it."""
    from pytest_blynk_ota.evidence.files import read_bytes
    from pytest_blynk_ota.evidence.manifest import MANIFEST
    from pytest_blynk_ota.evidence.run import read_run
    from pytest_blynk_ota.gate.tested import tested

    folder = Path(used.path)
    sha256 = hashlib.sha256(read_bytes(folder / MANIFEST)).hexdigest()
    if sha256 != used.manifest_sha256:
        raise EvidenceError(
            f"{folder / MANIFEST}: its sha256 is {sha256}, it was {used.manifest_sha256} when the "
            f"gate decided"
        )
    run = read_run(folder, check=True)
    if run.marks:
        raise EvidenceError(f"{folder}: {run.marks[0]}")
    for binary in dict.fromkeys((decision.subject.sha256, *decision.stand_ins)):
        found = tested(run, sha256, binary, events_of)
        if found is not None:
            yield binary, found


def events_of(test: StoredTest) -> bytes:
    """The events of a test; none where it has no folder. Raises EvidenceError."""
    from pytest_blynk_ota.evidence.bundle import EVENTS
    from pytest_blynk_ota.evidence.files import read_bytes

    return read_bytes(test.folder / EVENTS) if test.folder else b""


def _write(out: Path, data: bytes) -> None:
    """Write a file whole: a reader never sees half of it."""
    half = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        with half.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
