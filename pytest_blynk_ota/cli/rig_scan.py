"""``blynk-ota rig scan`` and ``rig init``: which boards are there, and a rig file of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.discovery import Found

RIG_FAILED = 3
DEFAULT_FILE = Path("rigs") / "lab.toml"
QUESTION = (
    "Ask {boards} for chip, MAC and flash size? Each is reset into its loader and back, "
    "nothing is written"
)
COLUMNS = ("NAME", "PORT", "USB", "SERIAL", "PLACE", "BOARD")


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option for consent."""
    return click.option(
        "--ask/--no-ask",
        default=None,
        help="Reset each board into its loader, ask it who it is, and reset it back. "
        "Default: on a terminal you are asked first, elsewhere no board is touched.",
    )(command)


@click.command("scan")
@click.argument("ports", nargs=-1, metavar="[PORT]...")
@asking
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def scan(ports: Sequence[str], ask: bool | None, as_json: bool) -> None:
    """List the USB serial ports: ids, serial number, place, who holds them, who may open them.

    PORT is a port to look at alone, by any of its names, as /dev/ttyUSB0, usb:5A6B012345 or
    rfc2217://HOST:PORT. The first column is the name to write in a rig file, or after --rig.

    Exit code 0: listed; 3: a board that was to be asked did not answer.

    Example: blynk-ota rig scan --ask
    """
    from pytest_blynk_ota.rig.discovery import NOTHING, look

    found = _asked(look(ports), ask, talk=not as_json, named=bool(ports))
    if as_json:
        click.echo(json.dumps({"ports": [one.to_json() for one in found]}, ensure_ascii=False))
    elif found:
        click.echo("\n".join(_table(found)))
    else:
        click.echo(f"{NOTHING}.")
    if any(one.error for one in found):
        sys.exit(RIG_FAILED)


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_FILE)
@click.option("--port", "ports", multiple=True, help="Only this board; may be repeated.")
@asking
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def init(file: Path, ports: Sequence[str], ask: bool | None, force: bool, as_json: bool) -> None:
    """Write a rig file of the boards that are there; its comments say what to fill in.

    FILE is rigs/lab.toml if none is named: pytest --rig lab finds it. With no board there it has
    one to fill in.

    Exit code 0: written; 2: the file is there already; 3: a board did not answer, and is left out.

    Example: blynk-ota rig init rigs/lab1.toml --ask
    """
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.rig.discovery import look
    from pytest_blynk_ota.rig.rig_text import rig_name, rig_text

    if file.exists() and not force:
        raise UsageError(f"{file} is there already; name another file, or say --force")
    looked = look(ports)
    boards = looked if ports else [one for one in looked if one.port.bridge]
    found = _asked(boards, ask, talk=not as_json, named=bool(ports))
    _write(file, rig_text(rig_name(file), str(file), found))
    if as_json:
        said = {"path": str(file), "boards": [one.to_json() for one in found]}
        click.echo(json.dumps(said, ensure_ascii=False))
    else:
        click.echo("\n".join(_after_init(file, found)))
    if any(one.error for one in found):
        sys.exit(RIG_FAILED)


def _write(file: Path, text: str) -> None:
    """Raises UsageError if it cannot be."""
    import tomllib

    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.rig.config import check

    check(tomllib.loads(text), str(file))  # what we write is what rig check takes
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from error


def _after_init(file: Path, found: Sequence[Found]) -> list[str]:
    from pytest_blynk_ota.rig.discovery import NOTHING

    if not found:
        return [f"{NOTHING}.", f"Wrote {file} with one board to fill in."]
    lines = [*_table(found), f"Wrote {file}. Look through its comments, then:"]
    return [*lines, f"  blynk-ota rig check {file}"]


def _asked(found: list[Found], ask: bool | None, *, talk: bool, named: bool) -> list[Found]:
    """The boards, asked if the user agrees; who named a port means that it is a board."""
    from pytest_blynk_ota.rig import discovery

    boards = [one for one in found if named or one.port.bridge]
    if ask is None:
        free = [one for one in boards if not one.held and not one.denied]
        ask = bool(talk and free and _on_a_terminal()) and click.confirm(
            QUESTION.format(boards=", ".join(one.name for one in free))
        )
        boards = free
    if not ask:
        return found
    asked = {one.name: discovery.ask(one) for one in boards}
    discovery.remember(asked.values())
    return [asked.get(one.name, one) for one in found]


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _table(found: Sequence[Found]) -> list[str]:
    rows = [COLUMNS, *(_row(one) for one in found)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines: list[str] = []
    for row, one in zip(rows, [None, *found], strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if one is not None:
            lines += [f"    {note}" for note in _notes(one)]
    return lines


def _row(one: Found) -> tuple[str, ...]:
    port, told = one.port, one.told
    board = port.bridge or port.product or "-"
    if told is not None:
        kind = f"{told.chip} {told.revision}{' (virtual)' if told.virtual else ''}"
        board = f"{kind}, MAC {told.mac}, {told.flash_bytes >> 20} MB flash"
    return (
        one.name,
        port.device,
        port.ids or "-",
        port.serial or "-",
        port.location or "-",
        board,
    )


def _notes(one: Found) -> list[str]:
    if one.error:
        return [one.error]
    notes = [f"held by {one.held}"] if one.held else []
    return [*notes, *([f"may not be opened: {one.denied}"] if one.denied else [])]
