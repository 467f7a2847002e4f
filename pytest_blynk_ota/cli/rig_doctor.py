"""``blynk-ota rig doctor``: each board tried end to end, with a remedy for what does not work."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.image import Image
    from pytest_blynk_ota.rig.config import BoardSection
    from pytest_blynk_ota.rig.doctor import Cell
    from pytest_blynk_ota.rig.place import Place
    from pytest_blynk_ota.session import Session

RIG_FAILED = 3
SIGNS = {"ok": "ok", "fail": "FAIL", "skip": "-"}


@click.command("doctor")
@click.argument("rig")
@click.option("--board", "names", multiple=True, help="Only this board; may be repeated.")
@click.option("--old", type=click.Path(path_type=Path, exists=True), help="Your firmware.")
@click.option("--yes", is_flag=True, help="Boards without a backup may be saved and written to.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each board.")
def command(rig: str, names: Sequence[str], old: Path | None, yes: bool, as_json: bool) -> None:
    """Try each board of a rig end to end, and say what to do about what does not work.

    Port, console, loader and back, 4 KB of flash written and put back, power, your firmware with
    the rig's settings, what it will dial and whom it trusts, its login at the rig's cloud, its
    request to the firmware server. Without --old what is on a board is used as it is; virtual
    boards get the recipe. A board in quarantine that works again is let out.

    RIG is a path, or the name of a file in rigs/ here or among the shipped ones. Exit code 0: all
    works; 3: something does not.

    Example: blynk-ota rig doctor lab1 --board c3-a
    """
    from pytest_blynk_ota.rig.doctor import FAIL, Patient

    failed = False
    with _opened(rig, old, yes) as session:
        for section in [session.config.pick(name) for name in names] or session.config.board:
            cells = []
            patient = Patient(session.rig, section, _bringing(session, section))
            for cell in patient.examine():
                cells.append(cell)
                if not as_json:
                    click.echo(_line(section.name, cell))
            failed |= any(cell.state == FAIL for cell in cells)
            if as_json:
                told = {"board": section.name, "checks": [cell.to_json() for cell in cells]}
                click.echo(json.dumps(told, ensure_ascii=False))
    if failed:
        sys.exit(RIG_FAILED)


def _line(board: str, cell: Cell) -> str:
    text = f"{board:<12} {cell.check:<8} {SIGNS[cell.state]:<4} {cell.detail}"
    return f"{text}\n{'':<27}what to do: {cell.remedy}" if cell.remedy else text


@contextmanager
def _opened(name: str, old: Path | None, yes: bool) -> Iterator[Session]:
    """The rig, with its evidence in a folder that goes; closed at the end."""
    from pytest_blynk_ota.session import Options, Session
    from pytest_blynk_ota.terminal.question import answered

    with tempfile.TemporaryDirectory() as scratch:
        options = Options(
            root=Path.cwd(), rig=name, board=None, old=old, new=None, yes=yes, ask=answered
        )
        session = Session(options, lambda: Path(scratch))
        try:
            yield session
        finally:
            session.close()


def _bringing(session: Session, section: BoardSection) -> Callable[[Place], Image] | None:
    """How Old comes onto a board; None where there is none for it."""
    from pytest_blynk_ota.restore import restore

    firmware = session.firmware(section)
    if not section.is_virtual and session.options.old is None:
        return None

    def bring(place: Place) -> Image:
        session.rig.fit(place, firmware)
        restore(session.rig, place, firmware)
        return firmware.old

    return bring
