"""``blynk-ota init``: the first tests of a project."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from pytest_blynk_ota.errors import UsageError


@click.command("init")
@click.argument("folder", default="tests/ota", type=click.Path(path_type=Path, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(folder: Path, as_json: bool) -> None:
    """Write the first update tests of a project into FOLDER: an upgrade, a stall, the download
    limit, a power cut. A file that is there is never overwritten.

    Exit code 2: there is such a file, or it cannot be written.

    Example: blynk-ota init tests/ota
    """
    from pytest_blynk_ota.starter import TESTS

    path = folder / TESTS.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TESTS.read_text(encoding="utf-8"))
    except FileExistsError:
        raise UsageError(f"{path} is there already; name another folder") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"tests": str(path)}))
        return
    click.echo(
        f"{path} is written. Next:\n"
        f"  pytest {folder}                                     on boards made of software\n"
        f"  pytest {folder} --rig=auto --old build/firmware.bin on the board on USB\n"
        f"  blynk-ota rig init                                  a rig file of all your boards"
    )
