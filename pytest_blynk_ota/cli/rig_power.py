"""``blynk-ota rig power``: the power of boards that no run holds, as at the end of a job."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.config import BoardSection, RigConfig

RIG_FAILED = 3
STATES = ("on", "off", "cycle")


@click.command("power")
@click.argument("state", type=click.Choice(STATES))
@click.argument("boards", nargs=-1)
@click.option("--rig", required=True, help="The rig: a name, or a file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each board.")
def command(state: str, boards: Sequence[str], rig: str, as_json: bool) -> None:
    """Switch the power of BOARDS, or of each board of the rig that has an outlet.

    For the end of a CI job that was killed: nothing stays on. A board that a run holds is left
    alone. That an outlet obeyed is not proved here: `rig doctor` does that.

    Exit code 3: an outlet did not answer, or a board is held; the others are switched all the same.

    Example: blynk-ota rig power off --rig lab1
    """
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.one_board import is_one_board
    from pytest_blynk_ota.rig.shipped import find_rig

    if is_one_board(rig):
        raise UsageError(f"{rig} is one board, of no rig file: nobody knows its outlet")
    config = load(find_rig(rig, Path.cwd()))
    failed, chosen = False, _chosen(config, boards)
    if not chosen:
        click.echo(f"no real board of rig {config.rig.name} has an outlet", err=True)
    for section in chosen:
        row = _switched(config.rig.name, section, state)
        failed |= "error" in row
        click.echo(json.dumps(row) if as_json else _said(row), err="error" in row and not as_json)
    if failed:
        sys.exit(RIG_FAILED)


def _chosen(config: RigConfig, names: Sequence[str]) -> list[BoardSection]:
    """The boards to switch. Raises ConfigError for an unknown name, UsageError for one with no
    outlet."""
    from pytest_blynk_ota.errors import UsageError

    chosen = [config.pick(name) for name in names]
    for section in chosen:
        if section.is_virtual:
            raise UsageError(f"board {section.name} is made of software: it has power in runs only")
        if section.power is None:
            raise UsageError(f"board {section.name} has no outlet: the rig file names no power")
    return chosen or [one for one in config.board if one.power and not one.is_virtual]


def _switched(rig: str, section: BoardSection, state: str) -> dict[str, Any]:
    """What came of it."""
    from pytest_blynk_ota.errors import RigError
    from pytest_blynk_ota.evidence.redact import Redactor
    from pytest_blynk_ota.rig.lease import Lease
    from pytest_blynk_ota.rig.leased import leased_as
    from pytest_blynk_ota.rig.outlets import outlet_of
    from pytest_blynk_ota.rig.power import Power

    row: dict[str, Any] = {"board": section.name, "power": "on" if state == "cycle" else state}
    redactor = Redactor()
    try:
        lease = Lease(section.name, leased_as(section.port))
    except RigError as error:
        return row | {"power": None, "error": str(error)}
    try:
        outlet = outlet_of(section, rig, redactor.learn, redactor.text)
        assert outlet is not None
        if state == "cycle":
            Power(section.name, outlet, lambda *_, **__: None, speed=1.0).cycle()
        else:
            outlet.switch(state == "on")
    except RigError as error:
        return row | {"power": None, "error": redactor.text(str(error))}
    finally:
        lease.close()
    return row


def _said(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['board']}: not switched: {row['error']}"
    return f"{row['board']} is {row['power']}"
