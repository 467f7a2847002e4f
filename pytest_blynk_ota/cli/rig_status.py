"""``blynk-ota rig status``, ``free`` and ``hold``: who has which board."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from pytest_blynk_ota.cli.lines import FiniteRange

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.config import BoardSection
    from pytest_blynk_ota.rig.ports.state import PortState

MINUTE = 60
MAX_HOLD_MIN = 24 * 60
RIG_HELP = "A path, or the name of a file in rigs/ here or among the shipped ones."


def _boards(rig: str) -> list[BoardSection]:
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.shipped import find_rig

    return list(load(find_rig(rig, Path.cwd())).board)


def _fixed_ports(rig: str) -> list[PortState]:
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.rig.address import address_of
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.ports.messages import Where
    from pytest_blynk_ota.rig.ports.state import state_of_port
    from pytest_blynk_ota.rig.shipped import find_rig

    config = load(find_rig(rig, Path.cwd()))
    found = []
    for kind, ports in config.cloud.ports.items():
        for port in ports:
            try:
                where = Where.of(address_of(config), port)
            except (OSError, UnicodeError) as error:
                raise UsageError(f"rig.advertise: {config.rig.advertise!r}: {error}") from error
            found.append(state_of_port(where, kind))
    return found


def _real(rig: str, name: str) -> BoardSection:
    """A board that can be held. Raises ConfigError or UsageError."""
    from pytest_blynk_ota.errors import UsageError
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.shipped import find_rig

    section = load(find_rig(rig, Path.cwd())).pick(name)
    if section.is_virtual:
        raise UsageError(
            f"board {name} is made of software: each run has one of its own, and nobody else holds "
            f"it"
        )
    return section


def _row(section: BoardSection) -> dict[str, Any]:
    """What is known of a board without touching it."""
    from pytest_blynk_ota.rig.lease import left_behind, state_of
    from pytest_blynk_ota.rig.leased import leased_as
    from pytest_blynk_ota.rig.quarantine import Ward
    from pytest_blynk_ota.rig.queue import waiting

    row: dict[str, Any] = {"board": section.name, "port": section.port, "state": "virtual"}
    if section.is_virtual:
        return row
    name = leased_as(section.port)
    state, wedged = state_of(name), Ward(section.name, name).look()
    row["state"] = "held" if state.held else "free"
    row["waiting"] = sum(name in one.ports for one in waiting())
    if state.held:
        row |= {"holder": str(state), "pid": state.pid}
    elif left_behind(name):
        row["left_by"] = str(state)
    if wedged is not None:
        row["failures"], row["reason"] = wedged.count, wedged.reason
        if wedged.is_refused and not state.held:
            row["state"] = "quarantine"
    return row


def _said(row: dict[str, Any]) -> str:
    parts = {
        "virtual": "made of software: each run has its own",
        "free": "free",
        "held": f"held by {row.get('holder')}",
        "quarantine": f"in quarantine, {row.get('failures')} failures in a row",
    }
    text = parts[row["state"]]
    if row.get("waiting"):
        text += f"; {row['waiting']} waiting"
    if "left_by" in row:
        text += f"; {row['left_by']} had it and was killed"
    if "reason" in row:
        text += f"; its last failure: {row['reason']}"
    return f"{row['board']}  {row['port']}  {text}"


@click.command("status")
@click.argument("rig")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each board and port.")
def status(rig: str, as_json: bool) -> None:
    """Say of each board who holds it, who waits for it, and what is held against it.

    Of each fixed port of the rig's cloud it says who uses it. No board is touched. RIG is a path,
    or the name of a file in rigs/ here or among the shipped ones.

    Example: blynk-ota rig status lab1
    """
    for row in map(_row, _boards(rig)):
        click.echo(json.dumps(row) if as_json else _said(row))
    for port in _fixed_ports(rig):
        click.echo(json.dumps(port.row()) if as_json else str(port))


@click.command("free")
@click.argument("board")
@click.option("--rig", required=True, help=RIG_HELP)
@click.option(
    "--patience",
    type=FiniteRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds in which the holder may come to its end.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def free(board: str, rig: str, patience: float, as_json: bool) -> None:
    """Ask the run that holds BOARD to end, as Ctrl-C in its terminal does, and wait for that.

    Its lock is never broken: a run that does not end keeps the board (exit code 3).

    Example: blynk-ota rig free c3-a --rig lab1
    """
    from pytest_blynk_ota.rig.eviction import ask_to_end
    from pytest_blynk_ota.rig.leased import leased_as

    section = _real(rig, board)
    holder = ask_to_end(section.name, leased_as(section.port), patience_s=patience)
    if as_json:
        click.echo(json.dumps({"board": board, "state": "free", "had": holder and str(holder)}))
    elif holder is None:
        click.echo(f"{board} is free: nobody held it")
    else:
        click.echo(f"{board} is free: it was held by {holder}")


@click.command("hold")
@click.argument("board")
@click.option("--rig", required=True, help=RIG_HELP)
@click.option(
    "--minutes",
    type=FiniteRange(min=0, min_open=True, max=MAX_HOLD_MIN),
    default=30.0,
    show_default=True,
    help="For how long.",
)
def hold(board: str, rig: str, minutes: float) -> None:
    """Keep BOARD from all runs, for work by hand: until Ctrl-C, or until the time is over.

    Example: blynk-ota rig hold c3-a --rig lab1 --minutes 45
    """
    from pytest_blynk_ota.rig.lease import Lease
    from pytest_blynk_ota.rig.leased import leased_as

    section = _real(rig, board)
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    lease = Lease(section.name, leased_as(section.port), until=until)
    try:
        click.echo(f"{board} is yours until {until:%H:%M:%S} UTC; Ctrl-C gives it back")
        threading.Event().wait(minutes * MINUTE)
    except KeyboardInterrupt:
        pass  # the usual way to end it
    finally:
        lease.close()
    click.echo(f"{board} is given back")
