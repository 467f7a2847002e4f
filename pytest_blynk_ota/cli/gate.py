"""``blynk-ota gate``: pass, fail or incomplete, by a policy, from stored evidence."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from pytest_blynk_ota.cli import gate_verify
from pytest_blynk_ota.errors import FirmwareError, UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.gate.accept import Binary
    from pytest_blynk_ota.gate.claims import RunSeen
    from pytest_blynk_ota.gate.decide import Judgement, Last
    from pytest_blynk_ota.gate.policy import Policy

PASS, FAIL, RIG_FAILED, INCOMPLETE = 0, 1, 3, 4
WORST_FIRST = (FAIL, INCOMPLETE, RIG_FAILED, PASS)
SHA256 = re.compile("[0-9a-f]{64}")
EXISTING = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


class Gate(click.RichGroup):
    """``gate RUN…`` decides; ``gate verify`` and its like are commands of their own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in self.commands and args[0] != DECIDE:
            return super().resolve_command(ctx, args)
        return "", self.commands[DECIDE], args


DECIDE = "RUN"


@click.group(
    "gate",
    cls=Gate,
    add_help_option=False,
    no_args_is_help=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def command() -> None:
    """Decide on a release, and check what was decided."""


@command.command(DECIDE)
@click.argument("runs", nargs=-1, type=FOLDER)
@click.option("--policy", "policy_file", required=True, type=EXISTING, help="What is asked for.")
@click.option(
    "--binary",
    "binaries",
    multiple=True,
    metavar="FILE|SHA256",
    help="The binary to decide on; may be repeated. Default: what the runs were given.",
)
@click.option(
    "--last", multiple=True, type=FOLDER, help="Runs of the last release; may be repeated."
)
@click.option("--last-binary", metavar="FILE|SHA256", help="Its binary. Default: what they had.")
@click.option("--explain", is_flag=True, help="Say how many runs each line takes, and stop.")
@click.option("--sign", type=EXISTING, help="Attest it: the private key, in PEM.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The attestation. Default: FILE.intoto.jsonl beside the binary.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each binary.")
def decide_command(
    runs: tuple[Path, ...],
    policy_file: Path,
    binaries: tuple[str, ...],
    last: tuple[Path, ...],
    last_binary: str | None,
    explain: bool,
    sign: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Decide on a release by a policy: pass, fail or incomplete.

    RUNS are the folders of runs, or folders in which such lie. Whatever does not count is named.
    `blynk-ota gate verify` checks what was attested.

    Exit code 0: pass; 1: fail; 2: wrong usage, or the policy is none; 3: only errors of the rack
    are in the way; 4: incomplete, or something is wrong with the evidence.

    Example: blynk-ota gate .blynk-ota/runs --policy release.toml --binary build/app.bin
    """
    from pytest_blynk_ota.cli import gate_text
    from pytest_blynk_ota.cli.gate_attest import attest
    from pytest_blynk_ota.cli.gate_keys import signing_key
    from pytest_blynk_ota.cli.gate_read import read_runs
    from pytest_blynk_ota.gate.decide import decide
    from pytest_blynk_ota.gate.policy import read_policy

    policy = read_policy(_bytes(policy_file), str(policy_file))
    if explain:
        for line in gate_text.explained(policy):
            click.echo(line)
        sys.exit(PASS)
    if not runs:
        raise UsageError("give the folder of a run, or of several: blynk-ota gate RUN… --policy F")
    key = signing_key(sign)
    outs = _outs(binaries, out) if key is not None else {}
    seen = read_runs(runs, judge_again=policy.judge_again)
    before = _last(last, last_binary, policy)
    now = datetime.now(UTC)
    codes = []
    for binary in _binaries(binaries, seen, policy, "--binary"):
        if before is not None and before.binary.sha256 == binary.sha256:
            raise UsageError(
                f"--last: the last release is {binary.name} itself: nothing to compare"
            )
        judgement = decide(policy, seen, binary, now.timestamp(), before)
        codes.append(_code(judgement))
        if as_json:
            click.echo(json.dumps(gate_text.data_of(judgement, policy, codes[-1])))
        else:
            for line in gate_text.text_of(judgement, policy, codes[-1]):
                click.echo(gate_text.plain(line))
        if key is not None:
            where = outs[binary.sha256]
            number = attest(judgement.decision, key, where, now)
            click.echo(f"blynk-ota: {where}: {_signed(number, judgement)}", err=True)
    sys.exit(min(codes, key=WORST_FIRST.index))


command.add_command(gate_verify.command)


def _signed(number: int, judgement: Judgement) -> str:
    """What was signed, in words: without a pass nobody shall take it for one."""
    from pytest_blynk_ota.gate.words import count

    if judgement.decision.verdict == "pass":
        return f"signed: {count(number - 1, 'test result')} and the summary, which is the last line"
    if number:
        return f"signed: {count(number, 'test result')}, and no summary: there is no pass"
    return "not written: there is no pass, and no sound evidence"


def _code(judgement: Judgement) -> int:
    from pytest_blynk_ota.gate.decide import RIG_ERRORS

    decision = judgement.decision
    if decision.verdict != "incomplete":
        return PASS if decision.verdict == "pass" else FAIL
    open_lines = {line.name for line in decision.lines if line.verdict != "pass"}
    return RIG_FAILED if open_lines == {RIG_ERRORS} else INCOMPLETE


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _binaries(
    said: Sequence[str], runs: Sequence[RunSeen], policy: Policy, option: str
) -> Iterator[Binary]:
    """The binaries to decide on: those named, or the one of each chip that the runs were given."""
    from pytest_blynk_ota.gate.accept import Binary

    if said:
        yield from (_binary(one, runs, policy, option) for one in dict.fromkeys(said))
        return
    found = dict.fromkeys((sha, name) for run in runs for name, sha in run.tested)
    if len(found) != 1:
        names = ", ".join(f"{name} ({sha})" for sha, name in found) or "none that is on record"
        raise UsageError(
            f"the runs are of {len(found)} binaries, so name it with {option}: {names}"
        )
    (sha, name), *_ = found
    yield Binary(name, sha)


def _binary(said: str, runs: Sequence[RunSeen], policy: Policy, option: str) -> Binary:
    from pytest_blynk_ota.firmware.image import parse
    from pytest_blynk_ota.gate.accept import Binary

    if SHA256.fullmatch(said):
        return Binary(said[:12], said)
    path = Path(said)
    if not path.is_file():
        raise UsageError(f"{option}: {said}: expected a file, or a sha256 of 64 hexadecimal digits")
    data = _bytes(path)
    try:
        image = parse(data, said)
    except FirmwareError as error:
        raise UsageError(f"{option}: {error}") from error
    made = frozenset(_derived(data, image.sha256, runs))
    allowed = "version" in policy.derived
    return Binary(
        path.name,
        hashlib.sha256(data).hexdigest(),
        image.chip,
        made if allowed else frozenset(),
        frozenset() if allowed else made,
        said,
    )


def _derived(data: bytes, sha256: str, runs: Sequence[RunSeen]) -> Iterator[str]:
    """Images in the evidence that are this one under another version: made again, to be sure."""
    from pytest_blynk_ota.firmware.derive import restamped

    offered = {(sha, version) for run in runs for sha, version in run.images.items()}
    for version in {version for sha, version in offered if sha != sha256}:
        try:
            made = hashlib.sha256(restamped(data, version)).hexdigest()
        except FirmwareError:
            continue
        if (made, version) in offered:
            yield made


def _last(folders: Sequence[Path], said: str | None, policy: Policy) -> Last | None:
    from pytest_blynk_ota.cli.gate_read import read_runs
    from pytest_blynk_ota.gate.decide import Last

    if not folders:
        if said:
            raise UsageError("--last-binary: give the runs of the last release too, with --last")
        return None
    runs = read_runs(folders, judge_again=policy.judge_again)
    binary = next(_binaries([said] if said else [], runs, policy, "--last-binary"))
    return Last(runs, binary)


def _outs(binaries: Sequence[str], out: Path | None) -> dict[str, Path]:
    """By sha256 of a binary where its attestation goes.

    Raises:
        UsageError: that is not said.
    """
    from pytest_blynk_ota.cli.gate_attest import attestation_of

    if not binaries:
        raise UsageError("to sign, name the binary with --binary: nothing is signed on a guess")
    if out is not None and len(set(binaries)) > 1:
        raise UsageError("--out is one file, and there are several binaries: leave it out")
    found = {}
    for said in binaries:
        if SHA256.fullmatch(said) and out is None:
            raise UsageError(f"{said}: give the file itself, or say with --out where to write")
        sha256 = said if SHA256.fullmatch(said) else hashlib.sha256(_bytes(Path(said))).hexdigest()
        found[sha256] = out or attestation_of(Path(said))
    return found
