"""Proof that stored evidence gives the verdict that the run gave: read back, and judged again.

Asked for by the environment variable ``BLYNK_OTA_PROVE``; the project's own tests set it, so that
each run on the virtual rack proves it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import EvidenceError, RigError
from pytest_blynk_ota.evidence.bundle import read_bundle
from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.verdict import judge

VARIABLE = "BLYNK_OTA_PROVE"


def asked_for() -> bool:
    """Whether the environment asks for the proof."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def prove(folder: Path, live: Sequence[Event]) -> None:
    """Judge each operation of a finished test from its folder.

    Args:
        folder: the test's folder, written whole.
        live: the events as they stood in memory.

    Raises:
        EvidenceError: a verdict differs from the one that was stored, or from that of the live
            events.
    """
    events, stored = read_bundle(folder)
    for row in stored:
        verdict = dict(row)
        number = verdict.pop("operation")
        again = said(events, number)
        if again != said(live, number):
            raise EvidenceError(_differs(folder, number, again, said(live, number), "live"))
        if again != verdict and "rig" not in again:  # a rack that failed since leaves what stood
            raise EvidenceError(_differs(folder, number, again, verdict, "stored"))


def said(events: Sequence[Event], number: int) -> dict[str, Any]:
    """The verdict of an operation, or why the rig left none, as it is stored."""
    try:
        told: dict[str, Any] = json.loads(json.dumps(judge(events, number).to_json()))
    except RigError as error:
        return {"rig": f"{type(error).__name__}: {error}"}
    return told


def _differs(
    folder: Path, number: int, again: dict[str, Any], before: dict[str, Any], which: str
) -> str:
    keys = sorted(key for key in again | before if again.get(key) != before.get(key))
    shown = "; ".join(f"{key}: {before.get(key)!r}, now {again.get(key)!r}" for key in keys)
    return (
        f"{folder}: operation {number} is judged otherwise from its folder than its {which} "
        f"verdict: {shown}"
    )
