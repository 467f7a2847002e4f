"""What a rig file says of its virtual boards."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of ``[board.virtual]``: what it may be, and what becomes of it."""

    words: str
    fits: Callable[[Any], bool]
    field: str
    make: Callable[[Any], Any] = lambda value: value


def _choice(field: str, *words: str) -> _Key:
    return _Key(" or ".join(repr(word) for word in words), lambda value: value in words, field)


def _is_offsets(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)


KEYS: Mapping[str, _Key] = {
    "outlet": _Key(
        "'bridge' or 'hub'", lambda value: value in ("bridge", "hub"), "hub", lambda v: v == "hub"
    ),
    "wire": _choice("wire", "rfc2217", "socket", "pty"),
    "usb": _choice("usb", "bridge", "jtag"),
    "paced": _Key("true or false", lambda value: isinstance(value, bool), "paced"),
    "flash": _Key("a path", lambda value: isinstance(value, str), "flash", Path),
    "efuse": _Key("a path", lambda value: isinstance(value, str), "efuse", Path),
    "bad_sectors": _Key("a list of flash offsets", _is_offsets, "bad_sectors", tuple),
}
IDENTITY_KEYS = ("mac", "revision")


def board_settings(table: dict[str, Any]) -> BoardSettings:
    """What one ``[[board]]`` says. Raises UsageError with the first mistake."""
    name = table.get("name")
    if not isinstance(name, str) or not name or "/" in name:
        raise UsageError(f"name: expected a name without a slash, not {name!r}")
    if name == NETWORK:
        raise UsageError(f"name: {name!r} is the network's at the control port; choose another")
    model = MODELS.get(str(table.get("chip")))
    if model is None:
        chip = str(table.get("chip"))
        raise UsageError(f"chip: {chip!r} has no virtual board{hint(chip, list(MODELS))}")
    own, bootloader = table.get("virtual", {}), table.get("bootloader", {})
    if not is_table(own) or not is_table(bootloader):
        raise UsageError("virtual, bootloader: expected tables")
    rollback = bootloader.get("rollback")
    if rollback is not None and not isinstance(rollback, bool):
        raise UsageError(f"bootloader.rollback: expected true or false, not {rollback!r}")
    mac = parse_mac(str(own["mac"])) if "mac" in own else default_mac(name)
    revision = parse_revision(str(own["revision"]), model) if "revision" in own else None
    _check_usb(own, model)
    return BoardSettings(
        name=name,
        chip=make_chip(model, mac, revision),
        foreign_rollback=rollback,
        fixed=frozenset(own) & frozenset(IDENTITY_KEYS),
        **_virtual_keys(own),
    )


def _virtual_keys(own: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for key, value in own.items():
        if key in IDENTITY_KEYS:
            continue
        if key not in KEYS:
            raise UsageError(f"virtual: unknown key {key!r}{hint(key, [*KEYS, *IDENTITY_KEYS])}")
        rule = KEYS[key]
        if not rule.fits(value):
            raise UsageError(f"virtual.{key}: expected {rule.words}, not {value!r}")
        made[rule.field] = rule.make(value)
    return made


def _check_usb(own: Mapping[str, Any], model: ChipModel) -> None:
    """Raises UsageError for a USB port that the chip cannot have, or a rate that USB has not."""
    if own.get("usb") != "jtag":
        return
    if not CHIPS[model.name].usb_jtag:
        able = ", ".join(name for name in MODELS if CHIPS[name].usb_jtag)
        raise UsageError(
            f"virtual.usb: an {model.name} has no USB port of its own ({able} have); "
            "expected 'bridge'"
        )
    if own.get("paced") is True:
        raise UsageError("virtual.paced: usb = 'jtag' has no baud rate; expected false")


def hint(word: str, known: Sequence[str]) -> str:
    """A "did you mean", or what there is."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""
