"""``python -m pytest_blynk_ota.virtual``: a rack of virtual boards as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.virtual.lifeline import Lifeline
from pytest_blynk_ota.virtual.rack import Rack
from pytest_blynk_ota.virtual.settings import RackSettings, load
from pytest_blynk_ota.virtual.usbip.devices import BUSID
from pytest_blynk_ota.virtual.wire.usbip import USBIP

USAGE = 2
BROKEN = 3

EXAMPLE = """example:
  python -m pytest_blynk_ota.virtual rigs/virtual.toml --speed 20
  esptool --port rfc2217://127.0.0.1:PORT flash-id
"""


def positive(text: str) -> float:
    """An argument that must be a number above 0, and one that clocks can be multiplied by."""
    number = float(text)
    if not (number > 0 and math.isfinite(number)):
        raise ValueError(text)
    return number


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="blynk-ota virtual",
        description="Run ESP32 boards made of software; any serial tool can use them.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("rig", nargs="?", type=Path, help="rig file (default: one board per chip)")
    made.add_argument("--json", action="store_true", help="announce the boards as one JSON line")
    made.add_argument(
        "--speed", type=positive, help="device seconds per second, instead of the file's"
    )
    made.add_argument(
        "--board", action="append", default=[], metavar="NAME", help="only this board"
    )
    made.add_argument(
        "--usbip",
        action="store_true",
        help="serve the boards as USB devices, for usbip attach: a kernel makes ports of them",
    )
    made.add_argument("--lifeline", action="store_true", help="end when standard input closes")
    made.add_argument(
        "--check", action="store_true", help="only say what is wrong, as a JSON list, and end"
    )
    return made


def check(options: argparse.Namespace) -> int:
    """Say what is wrong with the rig file, on standard output."""
    problems: Sequence[str] = ()
    try:
        load(options.rig, options.board, options.speed)
    except ConfigError as error:
        problems = error.problems
    print(json.dumps(problems))
    return 0


def announce(ready: dict[str, Any], *, as_json: bool) -> None:
    """Say where everything is, on standard output."""
    if as_json:
        print(json.dumps(ready), flush=True)
        return
    for board in ready["boards"]:
        print(f"{board['name']:<12} {board['chip']:<8} {board['mac']}  {board['url']}")
        if board["url"].startswith("usbip"):
            port = board["url"].rpartition(":")[2]
            print(f"{'':<12} sudo usbip --tcp-port {port} attach -r 127.0.0.1 -b {BUSID}")
        print(f"{'':<12} power: {ready['outlet']}/{board['name']}  (PUT 0 or 1)")
    first = ready["boards"][0]["name"]
    print(f"look and poke: blynk-ota virtual --at {ready['outlet']} --flash {first}")
    print("Ctrl-C ends it.", flush=True)


async def serve(settings: RackSettings, *, as_json: bool, lifeline: bool) -> None:
    """Run a rack until it is time to end.

    Raises:
        UsageError: a flash file does not fit.
        Exception: a board's software broke.
    """
    # Only here: whoever asks for --help or has a wrong rig file need not wait for the firmware.
    from pytest_blynk_ota.virtual.boot.run import execute

    life = Lifeline(stdin=lifeline)
    rack = Rack(settings, execute)
    try:
        await rack.start()
        announce(rack.announcement(), as_json=as_json)
        ended = asyncio.ensure_future(life.ended())
        await asyncio.wait([ended, rack.broken], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if rack.broken.done():
            rack.broken.result()
    finally:
        life.close()
        await rack.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 ended as asked, 2 the rig file or an option is wrong, 3 the rack broke."""
    options = parser().parse_args(arguments)
    if options.check:
        return check(options)
    try:
        settings = load(options.rig, options.board, options.speed)
        if options.usbip:
            boards = tuple(replace(one, wire=USBIP) for one in settings.boards)
            settings = replace(settings, boards=boards)
        asyncio.run(serve(settings, as_json=options.json, lifeline=options.lifeline))
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    except Exception:
        traceback.print_exc()
        return BROKEN
    return 0


if __name__ == "__main__":
    sys.exit(main())
