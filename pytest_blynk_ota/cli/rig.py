"""``blynk-ota rig``: rig files."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click


@click.group()
def command() -> None:
    """Work with rig files.

    Example: blynk-ota rig check lab1
    """


@command.command()
@click.argument("rig")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(rig: str, as_json: bool) -> None:
    """Read a rig file as a whole and say every mistake in it, each with its key.

    Example: blynk-ota rig check rigs/lab1.toml
    """
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.shipped import find_rig

    path = find_rig(rig, Path.cwd())
    config = load(path)
    names = [board.name for board in config.board]
    if as_json:
        click.echo(json.dumps({"rig": config.rig.name, "path": str(path), "boards": names}))
    else:
        click.echo(f"{path}: rig {config.rig.name} is fine, with {', '.join(names)}")
