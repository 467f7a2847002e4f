"""``blynk-ota virtual``: the virtual rack in the foreground, or a hand at one that runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import rich_click as click
from click.core import ParameterSource
from click.globals import get_current_context

from pytest_blynk_ota.cli.lines import FiniteRange
from pytest_blynk_ota.cli.poke import ACTIONS, MODIFIERS

RACK = "BLYNK_OTA_RACK"
DIP_MS = 50.0
MAX_SPEED = 1000
"""As in a rig file."""


def _key(action: str) -> str:
    """Under which name click hands over an action's option."""
    return f"poke_{action.replace('-', '_')}"


def _pokes(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each action at a running rack."""
    for name, action in reversed(tuple(ACTIONS.items())):
        kind: dict[str, Any] = {"is_flag": True}
        if action.takes:
            kind = {"nargs": len(action.takes), "metavar": " ".join(action.takes)}
        command = click.option(f"--{name}", _key(name), help=action.help, **kind)(command)
    return command


@click.command("virtual")
@click.argument("rig", required=False)
@click.option("--board", "boards", multiple=True, metavar="NAME", help="Only this board (repeat).")
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True, max=MAX_SPEED),
    help="How many times faster the boards' clocks run, instead of the rig file's speed or 1.",
)
@click.option(
    "--usbip", is_flag=True, help="Serve the boards as USB devices, for usbip attach on any Linux."
)
@click.option("--at", metavar="URL", envvar=RACK, help=f"The rack that runs already; or {RACK}.")
@_pokes
@click.option("--download", is_flag=True, help="With --reset: into download mode.")
@click.option(
    "--ms",
    type=FiniteRange(min=0, min_open=True, max=MAX_SPEED),
    metavar="MS",
    help="With --dip: device milliseconds; 50.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    rig: str | None,
    boards: tuple[str, ...],
    speed: float | None,
    usbip: bool,
    at: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Start boards made of software and print their URLs; any serial tool can use them.

    RIG is the name or the path of a rig file; without it there is one board of each chip, with
    empty flash. Ctrl-C ends them; so does the end of the shell that started them.

    With one of --list, --flash, --cut and so on it starts nothing, but does that at the rack that
    --at names.

    Example:

        blynk-ota virtual

    and in another terminal, with URLs that it printed:

        esptool --port rfc2217://127.0.0.1:PORT flash-id

        blynk-ota virtual --at http://127.0.0.1:PORT --flash c3-a

        blynk-ota virtual --at http://127.0.0.1:PORT --dip c3-a --ms 50
    """
    wanted = [name for name in ACTIONS if options[_key(name)]]
    _check(wanted, rig or boards or speed or usbip, options)
    if wanted:
        _poke(wanted[0], at, options, as_json)
    elif at and _is_typed("at"):
        raise click.UsageError(f"--at: say what to do there: {_named(ACTIONS)}")
    else:
        _become_rack(rig, boards, speed, ["--usbip"] * usbip + ["--json"] * as_json)


def _is_typed(option: str) -> bool:
    """Whether an option stands in the command line, not in the environment."""
    return get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _check(wanted: list[str], start: Any, options: dict[str, Any]) -> None:
    """Refuse options that do not go together."""
    if len(wanted) > 1:
        raise click.UsageError(f"one thing at a time, not {_named(wanted)}")
    if wanted and start:
        raise click.UsageError(
            f"--{wanted[0]} is for a rack that runs; RIG, --board, --speed and --usbip start one"
        )
    for action, names in MODIFIERS.items():
        for name in names:
            if options[name] and wanted != [action]:
                raise click.UsageError(f"--{name} goes with --{action}")


def _poke(name: str, at: str | None, options: dict[str, Any], as_json: bool) -> None:
    from urllib.parse import urlsplit

    from pytest_blynk_ota.rig.control import RackControl

    if not at:
        raise click.UsageError(
            f"--{name}: at which rack? Give --at URL as `blynk-ota virtual` prints, or set {RACK}"
        )
    if urlsplit(at).scheme != "http" or not urlsplit(at).netloc:
        raise click.UsageError(f"--at: expected http://HOST:PORT, not {at!r}")
    action, given = ACTIONS[name], options[_key(name)]
    values = (given,) if isinstance(given, str) else () if given is True else given
    more = {one: options[one] for one in MODIFIERS.get(name, ())}
    if "ms" in more and more["ms"] is None:
        more["ms"] = DIP_MS
    done = action.do(RackControl(at), *values, **more)
    click.echo(json.dumps(done) if as_json else action.say(done))


def _become_rack(
    rig: str | None, boards: tuple[str, ...], speed: float | None, flags: list[str]
) -> None:
    """The rack is a program of its own: this process becomes it, and Ctrl-C reaches it directly."""
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
    os.execv(sys.executable, line + flags)
