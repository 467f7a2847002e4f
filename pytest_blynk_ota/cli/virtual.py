"""``blynk-ota virtual``: the virtual rack in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click


@click.command("virtual")
@click.argument("rig", required=False)
@click.option("--board", "boards", multiple=True, metavar="NAME", help="Only this board (repeat).")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="How many times faster the boards' clocks run, instead of the rig file's speed or 1.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(rig: str | None, boards: tuple[str, ...], speed: float | None, as_json: bool) -> None:
    """Start boards made of software and print their URLs; any serial tool can use them.

    RIG is the name or the path of a rig file; without it there are two boards, an ESP32-C3 and an
    ESP32, with empty flash. Ctrl-C ends them; so does the end of the shell that started them.

    Example:

        blynk-ota virtual

    and in another terminal, with a URL that it printed:

        esptool --port rfc2217://127.0.0.1:PORT flash-id
    """
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.shipped import find_rig

    line = [sys.executable, "-m", "pytest_blynk_ota.virtual"]
    if rig:
        path = find_rig(rig, Path.cwd())
        config = load(path)
        for name in boards:
            config.pick(name)
        line.append(str(path))
    for name in boards:
        line += ["--board", name]
    if speed is not None:
        line += ["--speed", str(speed)]
    if as_json:
        line.append("--json")
    # The rack is a program of its own: this process becomes it, and Ctrl-C reaches it directly.
    os.execv(sys.executable, line)
