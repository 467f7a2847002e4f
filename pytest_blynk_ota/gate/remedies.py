"""What would meet a line that is not met, as commands that can be pasted. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_blynk_ota.gate.words import count

if TYPE_CHECKING:
    from pytest_blynk_ota.gate.accept import Binary
    from pytest_blynk_ota.gate.judging import Share
    from pytest_blynk_ota.gate.policy import Line

RIG_OPTION = {"virtual": "", "any": ""}
"""By the kind of rig that a line asks for; of others only the user knows the name."""


def remedy(
    line: Line, chip: str, shares: Sequence[Share], binary: Binary, *, barred: bool, finding: bool
) -> str:
    """What to do about a line on one chip, a thing a line of text; "" where it is met.

    Args:
        barred: whether images made from the binary passed, and may not stand for it.
        finding: whether a finding fails the line.
    """
    return "\n".join(_sentences(line, chip, shares, binary, barred, finding))


def _sentences(
    line: Line, chip: str, shares: Sequence[Share], binary: Binary, barred: bool, finding: bool
) -> Iterator[str]:
    failing = [one for one in shares if one.verdict == "fail"]
    if failing:
        names = ", ".join(one.what for one in failing)
        text = f"mend what makes {names} fail, and test the new binary"
        folders = (used.folder for one in failing for used in one.used if used.outcome == "fail")
        run = next((PurePath(one).parent.parent for one in folders if one), None)
        yield text + (f"; it shows in: blynk-ota report {shlex.quote(str(run))}" if run else "")
    short = [one for one in shares if one.verdict == "incomplete"]
    for missing in dict.fromkeys(one.short for one in short):
        yield _run(line, chip, [one.what for one in short if one.short == missing], missing, binary)
    if short and barred:
        yield (
            "or let images that were made from it under another version stand for it: "
            'derived = ["version"] in the policy'
        )
    if finding and not failing and not short:
        yield "mend what the finding tells of, or have the policy warn of it"


def _run(line: Line, chip: str, whats: Sequence[str], missing: int, binary: Binary) -> str:
    board = f"a {line.rig} {chip}" if line.rig != "any" else f"an {chip}"
    each = " each" if len(whats) > 1 else ""
    ids = ",".join(what.replace(" ", "") for what in whats)
    rig = RIG_OPTION.get(line.rig, "--rig=RIG ")
    file = shlex.quote(binary.given or binary.name)
    part = f"--old {file}" if line.tested_as == "old" else f"--old OLD --new {file}"
    return (
        f"run {', '.join(whats)} on {board}, {count(missing, 'more time')}{each} without a "
        f"failure: pytest hil_tests {rig}{part} --scenarios={ids}"
    )
