"""A rig file made of the boards that were found, with comments that say what to fill in."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_blynk_ota.board.naming import SHARED_NUMBERS, USB
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.rig.discovery import Found

LETTERS = "abcdefghijklmnopqrstuvwxyz"
GUESSES = {"native USB": "esp32c3"}
"""The chip of a board that was not asked, by what is between it and USB."""
USUAL = "esp32"

HEAD = """\
# Made by {by}. After each change:
#   blynk-ota rig check {file}
# What each key means: docs/reference/rig-file.md
[rig]
name      = {name}
advertise = "auto"              # the address that the boards reach this host at, or one by hand
"""
NOBODY = """\

# No board was found that can be tested. Plug one in and run: blynk-ota rig init --force {file}
# or fill in its port here: blynk-ota rig scan lists what there is.
[[board]]
name      = "board-a"
chip      = "esp32c3"           # fill in
port      = "usb:SERIAL-NUMBER" # fill in
"""
SETTINGS = """\
# How its firmware behaves (docs/reference/profiles.md; blynk-ota profile learns it).
profile   = "edgent-old"
# How it learns its network, cloud and token. Old Edgent keeps them in NVS, where the rig writes
# them; the environment variable WIFI holds "ssid:passphrase".
provision = { kind = "edgent-nvs", wifi = "env:WIFI" }
# Firmware that has its own settings: instead of that line
# token   = "env:BLYNK_TOKEN"
"""


AGAIN = """\
profile   = "edgent-old"
provision = { kind = "edgent-nvs", wifi = "env:WIFI" }
"""
"""The same for each further board."""
POWER = """\
# How its power is switched; without this, tests that cut power are skipped.
# [board.power.command]
# on  = ["uhubctl", "-l", "{hub}", "-p", "{socket}", "-a", "on"]
# off = ["uhubctl", "-l", "{hub}", "-p", "{socket}", "-a", "off"]
"""


def rig_text(
    name: str,
    file: str,
    boards: Sequence[Found],
    settings: str | None = None,
    by: str = "blynk-ota rig init",
) -> str:
    """The rig file.

    Args:
        name: of the rig.
        file: where it will stand, for its comments.
        boards: asked or not. One that did not answer, or has a chip that we cannot test, stands
            in a comment.
        settings: keys of each board; the usual ones, with comments, if None.
        by: the command that makes it.
    """
    text = HEAD.format(by=by, file=_words(file), name=_quoted(name))
    used: Counter[str] = Counter()
    blocks: list[str] = []
    left_out: list[str] = []
    for one in boards:
        if why := _why_left_out(one):
            left_out.append(f"# Left out: {_words(', '.join(_about(one)))}: {_words(why)}\n")
            continue
        usual = _usual(one, AGAIN if blocks else SETTINGS)
        lines = [*_board(one, used), *(usual if settings is None else settings).splitlines()]
        blocks.append("\n" + "\n".join(lines) + "\n")
    if not blocks:
        blocks = [NOBODY.format(file=_words(file)) + SETTINGS + POWER.format(hub="1-1", socket="2")]
    return "".join([text, *blocks, *(["\n", *left_out] if left_out else [])])


def _why_left_out(found: Found) -> str:
    if found.error:
        return found.error
    if found.told is not None and found.told.chip not in CHIPS:
        return f"chips that can be tested: {', '.join(CHIPS)}"
    return ""


def _usual(found: Found, settings: str) -> str:
    """With the hub and the socket that the board is in, as uhubctl counts them."""
    match = re.fullmatch(r"(.+)[.-](\d+)", found.port.place)
    hub, socket = match.groups() if match else ("1-1", "2")
    return settings + POWER.format(hub=hub, socket=socket)


def _board(found: Found, used: Counter[str]) -> Iterator[str]:
    chip = found.told.chip if found.told else GUESSES.get(found.port.bridge, USUAL)
    kind = chip.removeprefix("esp32") or chip
    name = f"{kind}-{_letters(used[kind])}"
    used[kind] += 1
    yield "# " + _words(", ".join(_about(found)))
    if found.port.serial in SHARED_NUMBERS and found.name.startswith(USB):
        yield f"# Many boards have the serial number {found.port.serial}: this one is known by the"
        yield "# socket that it is plugged into. Leave it there."
    yield "[[board]]"
    yield f"name      = {_quoted(name)}"
    guess = (
        "" if found.told else "  # a guess: it was not asked. A wrong one is refused before a write"
    )
    yield f"chip      = {_quoted(chip)}{guess}"
    yield f"port      = {_quoted(found.name)}"


def _about(found: Found) -> Iterator[str]:
    yield found.port.device
    yield from filter(None, [found.port.bridge or found.port.product])
    if found.port.serial:
        yield f"serial number {found.port.serial}"
    if found.port.location:
        yield f"at {found.port.location}"
    if found.told:
        yield f"{found.told.chip} {found.told.revision}"
        yield f"MAC {found.told.mac}"
        yield f"{found.told.flash_bytes >> 20} MB of flash"


def _letters(count: int) -> str:
    """a, b, … z, aa, ab …"""
    more, last = divmod(count, len(LETTERS))
    return (_letters(more - 1) if more else "") + LETTERS[last]


def _quoted(text: str) -> str:
    """A TOML string: as JSON has it, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _words(text: str) -> str:
    """Text that can stand in a comment, whatever a device calls itself."""
    return "".join(one if one.isprintable() else " " for one in text)


def rig_name(file: Path) -> str:
    """The rig's name, from its file's."""
    return file.stem or "lab"
