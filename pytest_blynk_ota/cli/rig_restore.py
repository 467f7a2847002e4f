"""``blynk-ota rig restore``: a board gets back what stood in its flash before our first write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click


@click.command("restore")
@click.argument("board")
@click.option("--rig", required=True, help="The rig: a name, or a file.")
@click.option("--yes", is_flag=True, help="Overwrite its flash without a question.")
@click.option(
    "--backups",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".blynk-ota", "backup"),
    show_default=True,
    help="The folder of the backups.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(board: str, rig: str, yes: bool, backups: Path, as_json: bool) -> None:
    """Put back what stood in the flash of BOARD before the first run wrote there.

    The backup is found by the MAC that the board says, held against its SHA-256, written where
    flash differs from it, and all of it is compared in the end.

    Exit code 0: it stands in flash; 2: there is no such backup, it is damaged, or nobody agreed:
    nothing was written; 3: the rack failed.

    Example: blynk-ota rig restore c3-a --rig lab1
    """
    from pytest_blynk_ota.rig.backup import Backups, Permit
    from pytest_blynk_ota.rig.config import load
    from pytest_blynk_ota.rig.put_back import PutBack
    from pytest_blynk_ota.rig.shipped import find_rig
    from pytest_blynk_ota.terminal.question import answered

    section = load(find_rig(rig, Path.cwd())).pick(board)
    shown = Shown(sys.stderr.isatty())
    work = PutBack(section, Permit(Backups(backups), yes=yes, ask=answered), shown)
    try:
        done = work.run()
    finally:
        shown.end()
    assert work.backup is not None
    said = {
        "board": section.name,
        "mac": work.backup.mac,
        "backup": str(work.backup.path),
        "taken": work.backup.taken,
        "sha256": work.backup.sha256,
        "wrote_bytes": done.wrote_bytes,
        "serial_bytes": done.serial_bytes,
        "seconds": round(done.seconds, 2),
    }
    if as_json:
        click.echo(json.dumps(said))
        return
    click.echo(
        f"board {section.name}: its flash is as it was on {work.backup.taken} "
        f"({work.backup.path}); {done.wrote_bytes} bytes were written in {done.seconds:.1f} s, "
        "and all was compared"
    )


class Shown:
    """Shows how far the work on a flash is: a bar on a terminal, a line a quarter elsewhere.

    Args:
        terminal: whether standard error is one.
    """

    BAR_CELLS = 30

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._drawn = False
        self._said: tuple[str, int] | None = None

    def __call__(
        self,
        source: str,
        kind: str,
        board: str | None = None,
        /,
        *,
        t: float | None = None,
        **data: Any,
    ) -> None:
        """Take an event of the board."""
        if (source, kind) == ("rig", "slower"):
            self.end()
            click.echo(f"{board}: {data['why']}; going on at {data['now']} baud", err=True)
        if (source, kind) != ("flash", "progress"):
            return
        share = data["done"] / max(data["total"], 1)
        if self._terminal:
            bar = "#" * round(share * self.BAR_CELLS)
            text = f"\r{board}: {data['what']} [{bar:<{self.BAR_CELLS}}] {share:4.0%}"
            click.echo(text, nl=False, err=True)
            self._drawn = True
            return
        quarter = int(share * 4)
        if quarter and self._said != (data["what"], quarter):
            self._said = data["what"], quarter
            click.echo(f"{board}: {data['what']}: {share:.0%}", err=True)

    def end(self) -> None:
        """What comes next begins on a line of its own."""
        if self._drawn:
            click.echo("", err=True)
            self._drawn = False
