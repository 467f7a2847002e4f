"""The serial console of both Edgents: BlynkConsole.h of blynk-library 1.4.0.

It echoes what is typed, runs a command at the end of a line and prompts with ``>``; a prompt has no
line end, so the firmware's next log line stands behind it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Command
    from pytest_blynk_ota.virtual.machine import Machine

INPUT_BYTES = 255
"""BLYNK_CONSOLE_INPUT_BUFFER, less its end. Typed, the buffer begins anew when it is full, so a
longer line loses its beginning in such pieces; from the cloud it loses its end."""
MOST_WORDS = 15
PROMPT = ">"
ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t"}
ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|.)")


async def serve(machine: Machine, commands: Mapping[str, Command]) -> NoReturn:
    """Answer what is typed until the next reset; a firmware without commands never reads.

    Raises:
        Reset: a command restarts the chip.
    """
    while commands:
        typed = await machine.read_line()
        line = typed[len(typed) // INPUT_BYTES * INPUT_BYTES :]
        if not line.split():
            continue
        machine.print(typed)
        if not await execute(machine, commands, line):
            machine.print("Command not found.\n")
        machine.print(PROMPT)
    await asyncio.Event().wait()
    raise AssertionError("an event that nobody sets was set")


async def execute(machine: Machine, commands: Mapping[str, Command], line: str) -> bool:
    """Run one command; False if there is none of that name (in any case of letters)."""
    words = words_of(line[:INPUT_BYTES])
    if not words:
        return True
    machine.print("\n")
    name = words[0].lower()
    if name in ("help", "?"):
        machine.print(f"Available commands: {', '.join(['help', '?', *commands])}\n")
    elif name in commands:
        await commands[name](words[1:])
    else:
        return False
    return True


def words_of(line: str) -> Sequence[str]:
    """Words between blanks; a backslash makes blanks and signs of it, it does not join words."""
    return [ESCAPE.sub(_unescaped, word) for word in line.split()[:MOST_WORDS]]


def _unescaped(found: re.Match[str]) -> str:
    letter = found[1]
    if letter[0] == "x" and len(letter) > 1:
        return chr(int(letter[1:], 16))
    return ESCAPES.get(letter, letter)
