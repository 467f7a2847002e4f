"""What ``blynk-ota virtual`` does to a rack that runs already: one row for each action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.cli.flashtext import flash_text
from pytest_blynk_ota.errors import UsageError

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.control import RackControl

JOURNAL_LINES = 40


@dataclass(frozen=True, slots=True)
class Action:
    """One option of ``blynk-ota virtual`` that needs a running rack.

    Attributes:
        takes: names of the option's values; none for a flag.
        help: for ``--help``.
        do: called with the rack, the values and the options that go with it; what it returns is
            printed as JSON.
        say: the same for people.
    """

    takes: tuple[str, ...]
    help: str
    do: Callable[..., Any]
    say: Callable[[Any], str]


def _list(rack: RackControl) -> dict[str, Any]:
    return {"boards": rack.boards()}


def _boards_text(done: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{one['name']:<12} {one['chip']:<8} {one['mac']}  {one['url']}  {one['state']}"
        + ("" if one["wifi"] else ", out of Wi-Fi range")
        for one in done["boards"]
    )


def _flash(rack: RackControl, board: str) -> dict[str, Any]:
    return rack.flash(board)


def _switch(on: bool) -> Callable[[RackControl, str], dict[str, Any]]:
    def switch(rack: RackControl, board: str) -> dict[str, Any]:
        rack.power(board, on=on)
        return {"board": board, "power": on}

    return switch


def _power_text(done: Mapping[str, Any]) -> str:
    return f"{done['board']}: power {'on' if done['power'] else 'off'}"


def _reset(rack: RackControl, board: str, *, download: bool) -> dict[str, Any]:
    rack.reset(board, download=download)
    return {"board": board, "reset": "download" if download else "run"}


def _reset_text(done: Mapping[str, Any]) -> str:
    mode = " into download mode" if done["reset"] == "download" else ""
    return f"{done['board']}: reset{mode}"


def _dip(rack: RackControl, board: str, *, ms: float) -> dict[str, Any]:
    return {"board": board, "ms": ms, "effect": rack.dip(board, ms)}


def _dip_text(done: Mapping[str, Any]) -> str:
    effects = {
        "nothing": "its capacitors held",
        "brownout": "a brownout reset",
        "power-on": "a power-on reset",
    }
    return f"{done['board']}: {done['ms']:g} ms without power: {effects[done['effect']]}"


def _wifi(on: bool) -> Callable[[RackControl, str], dict[str, Any]]:
    def switch(rack: RackControl, board: str) -> dict[str, Any]:
        rack.wifi(board, on=on)
        return {"board": board, "wifi": on}

    return switch


def _wifi_text(done: Mapping[str, Any]) -> str:
    return f"{done['board']}: {'in' if done['wifi'] else 'out of'} range of its access point"


def _save(rack: RackControl, board: str, file: str) -> dict[str, Any]:
    dump = rack.save(board)
    try:
        Path(file).write_bytes(dump)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from error
    return {"board": board, "saved": file, "bytes": len(dump)}


def _save_text(done: Mapping[str, Any]) -> str:
    return f"{done['board']}: {done['bytes']:,} bytes of flash in {done['saved']}"


def _load(rack: RackControl, board: str, file: str) -> dict[str, Any]:
    try:
        dump = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    try:
        changed = rack.load(board, dump)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    return {"board": board, "loaded": file, "changed_sectors": changed}


def _load_text(done: Mapping[str, Any]) -> str:
    changed = done["changed_sectors"]
    return f"{done['board']}: flash loaded from {done['loaded']}, {changed} sectors changed"


def _journal(rack: RackControl, board: str) -> dict[str, Any]:
    return rack.journal(board, JOURNAL_LINES)


def _journal_text(done: Mapping[str, Any]) -> str:
    rows = [
        f"{one['boot']:>5} {one['author']:<10} {one['kind']:<12} "
        f"{one['offset']:#09x} {one['length']:>6}"
        for one in done["last"]
    ]
    head = f"{done['operations']} flash operations; of them the last {len(rows)}"
    return "\n".join([head, " boot by         what            offset  bytes", *rows])


ONE = ("BOARD",)
FILE = ("BOARD", "FILE")
ACTIONS: Mapping[str, Action] = {
    "list": Action((), "What each board is doing.", _list, _boards_text),
    "flash": Action(ONE, "What is in its flash, and what would boot.", _flash, flash_text),
    "journal": Action(ONE, "The last things done to its flash.", _journal, _journal_text),
    "cut": Action(ONE, "Take its power away.", _switch(False), _power_text),
    "on": Action(ONE, "Give its power back.", _switch(True), _power_text),
    "reset": Action(ONE, "Press its reset button.", _reset, _reset_text),
    "dip": Action(ONE, "Take its power away for --ms.", _dip, _dip_text),
    "wifi-off": Action(ONE, "Take it out of Wi-Fi range.", _wifi(False), _wifi_text),
    "wifi-on": Action(ONE, "Bring it back into range.", _wifi(True), _wifi_text),
    "save": Action(FILE, "Save its flash to a file.", _save, _save_text),
    "load": Action(FILE, "Load its flash from a file; it restarts.", _load, _load_text),
}
MODIFIERS: Mapping[str, tuple[str, ...]] = {"reset": ("download",), "dip": ("ms",)}
"""Options that go with one action only."""
