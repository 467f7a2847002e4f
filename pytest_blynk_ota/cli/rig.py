"""``blynk-ota rig``: rig files and their boards."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from pytest_blynk_ota.cli import rig_doctor, rig_power, rig_restore
from pytest_blynk_ota.cli.rig_scan import init, scan
from pytest_blynk_ota.cli.rig_status import free, hold, status


@click.group("rig")
def command() -> None:
    """Work with rig files and the boards in them.

    Example: blynk-ota rig check lab1
    """


@command.command("check")
@click.argument("rig")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(rig: str, as_json: bool) -> None:
    """Read a rig file as a whole and say every mistake in it, each with its key.

    RIG is a path, or the name of a file in rigs/ here or among the shipped ones.

    Example: blynk-ota rig check rigs/lab1.toml
    """
    from pytest_blynk_ota.errors import ConfigError
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.shipped import find_rig
    from pytest_blynk_ota.rig.virtual_rack import problems_of

    path = find_rig(rig, Path.cwd())
    try:
        config = load(path)
        if any(board.is_virtual for board in config.board) and (wrong := problems_of(path)):
            raise ConfigError(str(path), wrong)
    except ConfigError as error:
        if as_json:
            click.echo(json.dumps({"path": str(path), "problems": error.problems}))
        raise
    names = [board.name for board in config.board]
    if as_json:
        said = {"path": str(path), "problems": [], "rig": config.rig.name, "boards": names}
        click.echo(json.dumps(said))
    else:
        click.echo(f"{path}: rig {config.rig.name} is fine, with {', '.join(names)}")


for one in (
    scan,
    init,
    status,
    free,
    hold,
    rig_doctor.command,
    rig_power.command,
    rig_restore.command,
):
    command.add_command(one)
