"""``blynk-ota gate verify``: whether an attestation holds for the binary at hand."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from pytest_blynk_ota.errors import UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.gate.statement import SummaryStatement
    from pytest_blynk_ota.gate.verify import RunSeen, Verified

BAD_SIGNATURE, FAILED, INCOMPLETE = 5, 1, 4
CODES = {"signature": BAD_SIGNATURE, "failed": FAILED}
"""What does not hold to an exit code; whatever else: the evidence says something else."""
WORST_FIRST = (BAD_SIGNATURE, INCOMPLETE, FAILED)
"""That a binary failed is an answer only if all else holds."""
COMPARE_WITH = {"policy": "--policy FILE", "evidence": "--run FOLDER"}
EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("verify")
@click.argument("envelope", type=EXISTING)
@click.option("--key", required=True, type=EXISTING, help="The public key, in PEM.")
@click.option("--image", required=True, type=EXISTING, help="The binary at hand.")
@click.option("--policy", type=EXISTING, help="The policy that the gate must have used.")
@click.option(
    "--run",
    "runs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Evidence that it must rest on, all of it; may be repeated, or a folder of runs.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    envelope: Path,
    key: Path,
    image: Path,
    policy: Path | None,
    runs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check the attestation of a binary: signature, subject, policy and evidence.

    ENVELOPE is IMAGE.intoto.jsonl. Whatever differs is named. The policy and the evidence are
    compared if they are given.

    Exit code 0: it holds, and the gate let this binary pass; 1: it holds, and the firmware failed;
    2: a file or key is none; 4: it is about another binary, policy or evidence, or there is no
    pass; 5: a signature does not hold, or a byte of the file was changed.

    Example: blynk-ota gate verify app.bin.intoto.jsonl --key release.pub.pem --image app.bin
    """
    from pytest_blynk_ota.cli.gate_keys import public_key
    from pytest_blynk_ota.gate.decision import Subject
    from pytest_blynk_ota.gate.envelope import MAX_FILE_BYTES
    from pytest_blynk_ota.gate.verify import verify

    trusted = public_key(key)
    found = verify(
        _read(envelope, MAX_FILE_BYTES + 1),
        trusted,
        Subject(image.name, _sha256(image)),
        _sha256(policy) if policy else None,
        [seen(folder) for given in runs for folder in _runs_in(given)] if runs else None,
    )
    row = _row(envelope, image, trusted.keyid, found)
    if as_json:
        click.echo(json.dumps(row))
    else:
        _tell(row)
    sys.exit(row["code"])


def _read(path: Path, limit: int) -> bytes:
    with _opened(path) as file:
        return file.read(limit)


def _sha256(path: Path) -> str:
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def _runs_in(folder: Path) -> Sequence[Path]:
    from pytest_blynk_ota.evidence.run import find_runs

    return find_runs(folder) or [folder]


def seen(folder: Path) -> RunSeen:
    """A run as it stands. Raises EvidenceError if it is none, or has no manifest."""
    from pytest_blynk_ota.cli.gate_attest import events_of
    from pytest_blynk_ota.evidence.files import read_bytes
    from pytest_blynk_ota.evidence.manifest import MANIFEST
    from pytest_blynk_ota.evidence.run import read_run
    from pytest_blynk_ota.gate.tested import tested
    from pytest_blynk_ota.gate.verify import RunSeen

    run = read_run(folder)
    manifest = hashlib.sha256(read_bytes(folder / MANIFEST)).hexdigest()

    def has(sha256: str) -> bool:
        return tested(run, manifest, sha256, events_of) is not None

    return RunSeen(str(folder), manifest, tuple(str(mark) for mark in run.marks), has)


def code_of(whats: Sequence[str]) -> int:
    """The exit code of what does not hold: the worst."""
    codes = {CODES.get(what, INCOMPLETE) for what in whats}
    return next((code for code in WORST_FIRST if code in codes), 0)


def _row(envelope: Path, image: Path, keyid: str, found: Verified) -> Mapping[str, Any]:
    """What is told. Of a file whose signatures do not hold nothing is told but that."""
    differences = [{"what": str(one.what), "text": one.text} for one in found.differences]
    code = code_of([one["what"] for one in differences])
    row: dict[str, Any] = {
        "envelope": str(envelope),
        "image": str(image),
        "keyid": keyid,
        "verified": code == 0,
        "code": code,
        "differences": differences,
        "unchecked": found.unchecked,
        "others": found.others,
    }
    return row | {"runs": [*_results(found)]} | (_summary(found.summary) if found.summary else {})


def _summary(summary: SummaryStatement) -> dict[str, Any]:
    notes = summary.binary.annotations
    return {
        "subject": {"name": summary.binary.name, "sha256": summary.binary.digest.sha256},
        "derived_from": notes.derived_from,
        "stand_ins": notes.stand_ins or [],
        "tied_by": notes.tied_by.model_dump(),
        "policy_sha256": summary.predicate.policy.digest.sha256,
        "properties": summary.predicate.properties,
        "time": summary.predicate.time,
        "verifier": summary.predicate.verifier.id,
    }


def _results(found: Verified) -> Iterator[Mapping[str, Any]]:
    for one in found.results:
        said = one.predicate
        yield {
            "run": said.evidence.annotations.run,
            "started": said.evidence.annotations.started,
            "rig": said.rig.annotations.rig,
            "rig_kind": said.rig.annotations.kind,
            "result": said.result,
            "passed": len(said.passed),
            "warned": len(said.warned),
            "failed": len(said.failed),
            "manifest_sha256": said.evidence.digest.sha256,
            "sha256": one.binary.digest.sha256,
            "tied_by": one.binary.annotations.tied_by.model_dump(),
        }


def _tell(row: Mapping[str, Any]) -> None:
    from pytest_blynk_ota.report.visible import line

    for one in row["differences"]:
        click.echo(f"blynk-ota: {row['envelope']}: {one['what']}: {line(one['text'])}", err=True)
    if not row["verified"]:
        what = "is no pass of" if row["code"] == FAILED else "does not hold for"
        click.echo(f"blynk-ota: {row['envelope']}: {what} {row['image']}", err=True)
        return
    for text in _lines(row):
        click.echo(line(text))


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    subject = row["subject"]
    yield f"{row['image']}: the gate let it pass, {row['time']}; signed by the key {row['keyid']}"
    yield f"  sha256 {subject['sha256']}"
    if subject["name"] != Path(row["image"]).name:
        yield f"  attested under the name {subject['name']}"
    if row["derived_from"]:
        yield f"  a derived image: made from {row['derived_from']}, for which this is no pass"
    if row["stand_ins"]:
        yield f"  by its policy, images derived from it stand in: {', '.join(row['stand_ins'])}"
    yield f"  {_tie(row['tied_by'])}"
    yield f"  properties: {', '.join(row['properties'])}"
    yield f"  policy {row['policy_sha256']}"
    for run in row["runs"]:
        counts = ", ".join(f"{run[word]} {word}" for word in ("passed", "warned", "failed"))
        yield (
            f"  {run['result']}: run {run['run']} of {run['started']} on rig {run['rig']} "
            f"({run['rig_kind']}): {counts}"
        )
    for path in row["others"]:
        yield f"  {path}: is about other binaries"
    for what in row["unchecked"]:
        yield f"  not compared: the {what}; give {COMPARE_WITH[what]}"


def _tie(tied_by: Mapping[str, int]) -> str:
    if not any(tied_by.values()):
        return "nothing ties it to what ran but the firmware's own word"
    return (
        f"tied to what ran in {tied_by['slot']} tests by the hash of the slot, in "
        f"{tied_by['elf']} by the hash of its ELF file"
    )
