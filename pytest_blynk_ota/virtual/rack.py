"""A rack of virtual boards: which ones, started and stopped together."""

from __future__ import annotations

import asyncio
import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.virtual.board import Board, BoardSettings, Execute
from pytest_blynk_ota.virtual.chips import (
    MODELS,
    default_mac,
    make_chip,
    parse_mac,
    parse_revision,
)
from pytest_blynk_ota.virtual.outlet import Outlets

VIRTUAL_PORT = "virtual"
OUTLETS = ("bridge", "hub")

DEFAULT_RIG: dict[str, Any] = {
    "board": [
        {"name": "c3-a", "chip": "esp32c3", "port": VIRTUAL_PORT},
        {"name": "esp32-a", "chip": "esp32", "port": VIRTUAL_PORT},
    ]
}


@dataclass(frozen=True, slots=True)
class RackSettings:
    """The boards to play and how fast their clocks run."""

    boards: tuple[BoardSettings, ...]
    speed: float


class Rack:
    """Boards and outlets on one event loop.

    Args:
        execute: the software of every board.

    Raises:
        UsageError: a flash file does not fit.
    """

    def __init__(self, settings: RackSettings, execute: Execute) -> None:
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.boards = {
            one.name: Board(one, execute, speed=settings.speed, failed=self._fail)
            for one in settings.boards
        }
        self.outlets = Outlets(self.boards)

    def _fail(self, error: BaseException) -> None:
        """A board's software broke: the rack must not go on as if it were firmware."""
        if not self.broken.done():
            self.broken.set_exception(error)

    async def start(self) -> None:
        """Open every port and switch every board on."""
        await self.outlets.start()
        for board in self.boards.values():
            await board.start()

    async def stop(self) -> None:
        """Switch everything off and close every port."""
        await self.outlets.stop()
        for board in self.boards.values():
            await board.stop()

    def announcement(self) -> dict[str, Any]:
        """Where everything is; the first line of ``--json``."""
        boards = [
            {
                "name": board.name,
                "chip": board.chip.name,
                "mac": board.chip.mac_text,
                "url": board.uart.url,
            }
            for board in self.boards.values()
        ]
        return {"event": "ready", "boards": boards, "outlet": self.outlets.url}


def load(path: Path | None, names: Sequence[str] = (), speed: float | None = None) -> RackSettings:
    """Read the virtual boards of a rig file; ``None``: one board of each chip.

    Args:
        names: only these boards.
        speed: instead of the file's.

    Raises:
        ConfigError: with every mistake found.
    """
    where = str(path) if path else "the default rack"
    data = read_toml(path) if path else DEFAULT_RIG
    problems: list[str] = []
    section = data.get("rig", {})
    rate = speed if speed is not None else section.get("speed", 1) if is_table(section) else 1
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate <= 0:
        problems.append(f"rig.speed: expected a number above 0, not {rate!r}")
    listed = data.get("board", [])
    tables = [one for one in listed if is_table(one)] if isinstance(listed, list) else []
    played = [one for one in tables if one.get("port") == VIRTUAL_PORT]
    known = [str(one.get("name")) for one in played]
    problems += [f"no virtual board {one!r}{hint(one, known)}" for one in names if one not in known]
    boards = []
    for number, table in enumerate(played):
        if not names or table.get("name") in names:
            try:
                boards.append(board_settings(table))
            except UsageError as error:
                problems.append(f"board {table.get('name', number)}: {error}")
    if not played:
        problems.append(f'no board has port = "{VIRTUAL_PORT}"')
    if len(set(known)) < len(known):
        problems.append(f"two boards have the same name: {', '.join(sorted(known))}")
    if problems:
        raise ConfigError(where, problems)
    return RackSettings(tuple(boards), float(rate))


def is_table(value: object) -> bool:
    """Whether a TOML value is a table."""
    return isinstance(value, dict)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a rig file. Raises ConfigError if it cannot be read as TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), [f"cannot be read: {error}"]) from error


def board_settings(table: dict[str, Any]) -> BoardSettings:
    """What one ``[[board]]`` says. Raises UsageError with the first mistake."""
    name = table.get("name")
    if not isinstance(name, str) or not name or "/" in name:
        raise UsageError(f"name: expected a name without a slash, not {name!r}")
    model = MODELS.get(str(table.get("chip")))
    if model is None:
        chip = str(table.get("chip"))
        raise UsageError(f"chip: {chip!r} has no virtual board{hint(chip, list(MODELS))}")
    own, bootloader = table.get("virtual", {}), table.get("bootloader", {})
    if not is_table(own) or not is_table(bootloader):
        raise UsageError("virtual, bootloader: expected tables")
    outlet = own.get("outlet", OUTLETS[0])
    if outlet not in OUTLETS:
        raise UsageError(f"virtual.outlet: {outlet!r} is none of {', '.join(OUTLETS)}")
    rollback = bootloader.get("rollback")
    if rollback is not None and not isinstance(rollback, bool):
        raise UsageError(f"bootloader.rollback: expected true or false, not {rollback!r}")
    mac = parse_mac(str(own["mac"])) if "mac" in own else default_mac(name)
    revision = parse_revision(str(own["revision"]), model) if "revision" in own else None
    return BoardSettings(
        name=name,
        chip=make_chip(model, mac, revision),
        hub=outlet == "hub",
        flash=Path(cast(str, own["flash"])) if own.get("flash") else None,
        foreign_rollback=rollback,
    )


def hint(word: str, known: Sequence[str]) -> str:
    """A "did you mean", or what there is."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""
