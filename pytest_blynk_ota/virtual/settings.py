"""What a rig file says of its virtual boards."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_blynk_ota.errors import ConfigError, UsageError
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.virtual.chip.chips import (
    MODELS,
    ChipModel,
    VirtualChip,
    default_mac,
    make_chip,
    parse_mac,
    parse_revision,
)
from pytest_blynk_ota.virtual.chip.operations import FLASH_BYTES, SECTOR_BYTES

VIRTUAL_PORT = "virtual"
NETWORK = "network"
"""What no board may be called: the control port's path of the rack's network."""

DEFAULT_RIG: dict[str, Any] = {
    "board": [
        {"name": "c3-a", "chip": "esp32c3", "port": VIRTUAL_PORT},
        {"name": "esp32-a", "chip": "esp32", "port": VIRTUAL_PORT},
        {"name": "s3-a", "chip": "esp32s3", "port": VIRTUAL_PORT},
    ]
}


@dataclass(frozen=True, slots=True)
class BoardSettings:
    """What the rig file says of one board.

    Attributes:
        hub: whether power-off takes the serial bridge with it.
        wire: how the serial port is reached, ``rfc2217``, ``socket`` or ``pty``.
        usb: what is between the chip and the wire: a ``bridge`` with the classic reset circuit,
            or ``jtag``, the chip's own USB-Serial-JTAG.
        paced: whether bytes take the time that the baud rate gives them.
        flash: file that keeps the flash; ``None``: it is gone with the rack.
        efuse: file that keeps the eFuses; ``None``: they are gone with the rack.
        fixed: what the rig file says of the chip itself, of ``mac`` and ``revision``; the file of
            the eFuses may not say otherwise.
        bad_sectors: offsets of sectors that cannot be erased any more.
        foreign_rollback: what a bootloader that is not ours was built with.
    """

    name: str
    chip: VirtualChip
    hub: bool = False
    wire: str = "rfc2217"
    usb: str = "bridge"
    paced: bool = False
    flash: Path | None = None
    efuse: Path | None = None
    fixed: frozenset[str] = frozenset()
    bad_sectors: tuple[int, ...] = ()
    foreign_rollback: bool | None = None


@dataclass(frozen=True, slots=True)
class RackSettings:
    """The boards to play and how fast their clocks run."""

    boards: tuple[BoardSettings, ...]
    speed: float


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
    numeric = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not numeric or not 0 < rate < math.inf:
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
            except ConfigError as error:
                where_in = f"board {table.get('name', number)}"
                problems += [f"{where_in}: {problem}" for problem in error.problems]
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


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of ``[board.virtual]``: what it may be, and what becomes of it."""

    words: str
    fits: Callable[[Any], bool]
    field: str
    make: Callable[[Any], Any] = lambda value: value


def _choice(field: str, *words: str) -> _Key:
    return _Key(" or ".join(repr(word) for word in words), lambda value: value in words, field)


def _is_sectors(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(one) is int and one in range(0, FLASH_BYTES, SECTOR_BYTES) for one in value
    )


SECTORS = f"a list of sectors' offsets, multiples of 0x{SECTOR_BYTES:x} below 0x{FLASH_BYTES:x}"


KEYS: Mapping[str, _Key] = {
    "outlet": _Key(
        "'bridge' or 'hub'", lambda value: value in ("bridge", "hub"), "hub", lambda v: v == "hub"
    ),
    "wire": _choice("wire", "rfc2217", "socket", "pty"),
    "usb": _choice("usb", "bridge", "jtag"),
    "paced": _Key("true or false", lambda value: isinstance(value, bool), "paced"),
    "flash": _Key("a path", lambda value: isinstance(value, str), "flash", Path),
    "efuse": _Key("a path", lambda value: isinstance(value, str), "efuse", Path),
    "bad_sectors": _Key(SECTORS, _is_sectors, "bad_sectors", tuple),
}
IDENTITY_KEYS = ("mac", "revision")


def board_settings(table: dict[str, Any]) -> BoardSettings:
    """What one ``[[board]]`` says. Raises ConfigError with every mistake."""
    try:
        name, model = _name(table), _model(table)
        own, rollback = _own_tables(table)
    except UsageError as error:
        raise ConfigError("board", [str(error)]) from error
    said, problems = _virtual_keys(own, model)
    problems += _usb_problems(own, model)
    if problems:
        raise ConfigError(name, problems)
    chip = make_chip(model, said.pop("mac", default_mac(name)), said.pop("revision", None))
    return BoardSettings(
        name=name,
        chip=chip,
        foreign_rollback=rollback,
        fixed=frozenset(own) & frozenset(IDENTITY_KEYS),
        **said,
    )


def _name(table: Mapping[str, Any]) -> str:
    name = table.get("name")
    if not isinstance(name, str) or not name or "/" in name:
        raise UsageError(f"name: expected a name without a slash, not {name!r}")
    if name == NETWORK:
        raise UsageError(f"name: {name!r} is the network's at the control port; choose another")
    return name


def _model(table: Mapping[str, Any]) -> ChipModel:
    chip = str(table.get("chip"))
    if chip not in MODELS:
        raise UsageError(f"chip: {chip!r} has no virtual board{hint(chip, list(MODELS))}")
    return MODELS[chip]


def _own_tables(table: Mapping[str, Any]) -> tuple[dict[str, Any], bool | None]:
    """``virtual``, and whether a foreign bootloader rolls back."""
    own, bootloader = table.get("virtual", {}), table.get("bootloader", {})
    if not is_table(own) or not is_table(bootloader):
        raise UsageError("virtual, bootloader: expected tables")
    rollback = bootloader.get("rollback")
    if rollback is not None and not isinstance(rollback, bool):
        raise UsageError(f"bootloader.rollback: expected true or false, not {rollback!r}")
    return own, rollback


def _virtual_keys(own: Mapping[str, Any], model: ChipModel) -> tuple[dict[str, Any], list[str]]:
    """What the keys of ``[board.virtual]`` say, and what is wrong with them."""
    said: dict[str, Any] = {}
    problems = []
    for key, value in own.items():
        try:
            said.update(_virtual_key(key, value, model))
        except UsageError as error:
            problems.append(f"virtual.{key}: {error}")
    return said, problems


def _virtual_key(key: str, value: Any, model: ChipModel) -> dict[str, Any]:
    """Raises UsageError for what cannot be."""
    if key == "mac":
        return {key: parse_mac(str(value))}
    if key == "revision":
        return {key: parse_revision(str(value), model)}
    if key not in KEYS:
        raise UsageError(f"unknown key{hint(key, [*KEYS, *IDENTITY_KEYS])}")
    rule = KEYS[key]
    if not rule.fits(value):
        raise UsageError(f"expected {rule.words}, not {value!r}")
    return {rule.field: rule.make(value)}


def _usb_problems(own: Mapping[str, Any], model: ChipModel) -> Iterator[str]:
    """A USB port that the chip cannot have, or a rate that USB has not."""
    if own.get("usb") != "jtag":
        return
    if not CHIPS[model.name].usb_jtag:
        able = ", ".join(name for name in MODELS if CHIPS[name].usb_jtag)
        yield (
            f"virtual.usb: an {model.name} has no USB port of its own ({able} have); "
            "expected 'bridge'"
        )
    if own.get("paced") is True:
        yield "virtual.paced: usb = 'jtag' has no baud rate; expected false"


def hint(word: str, known: Sequence[str]) -> str:
    """A "did you mean", or what there is."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""
