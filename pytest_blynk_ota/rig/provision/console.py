"""Settings typed at Edgent's serial console, of either generation.

Old Edgent (blynk-library 1.4.0, ``Console.h``) takes token and network in one command; host and
port stay those that it was built with. New Edgent (Edgent-Arduino 0.9.0, ``BlynkEdgentConsole.h``)
takes the network by itself, then token and host; its ports are fixed. Which one answers is known by
what ``connect`` without a word after it says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.rig.extensions import Provisioning, Settings
from pytest_blynk_ota.rig.provision.plain import without_nvs
from pytest_blynk_ota.rig.words import near

if TYPE_CHECKING:
    from pytest_blynk_ota.board.board import Board
    from pytest_blynk_ota.firmware.partitions import PartitionTable

OLD, NEW = "old", "new"
GENERATIONS = (OLD, NEW)
AWAKE_S, ASK_AGAIN_S, ANSWER_S = 30.0, 3.0, 10.0
"""Device seconds from the reset to the first answer; between two questions; for a command."""
LEAST_WALL_S = 0.5
"""However fast a virtual board is, its bytes come over a wire of this host."""
MOST_LETTERS = 255
"""BLYNK_CONSOLE_INPUT_BUFFER, less its end."""
ASKED = re.compile(
    r"(?P<old>expected: <auth> <ssid> <pass>)|(?P<new>Usage: connect <auth> \[host\])"
)
DONE = re.compile(
    r'"status":"OK"|Trying to connect|Error: (?P<say>.*)'
    r'|"status":"error","msg":"(?!invalid arguments)(?P<why>[^"]*)"'
)
"""Of ``connect`` with its words; the answer to an earlier one without may come in between."""
NO_COMMAND = "Command not found"
TO_ESCAPE = re.compile(r"[\\\s]")


def typed(word: str) -> str:
    """A word as the console reads it: blanks would end it, a backslash begins a sign."""
    return TO_ESCAPE.sub(lambda found: f"\\x{ord(found[0]):02x}", word)


def commands(generation: str, settings: Settings) -> Sequence[str]:
    """What is typed; the last command has an answer.

    Raises:
        RigError: the console does not take so long a line.
    """
    ssid, passphrase = typed(settings.ssid), typed(settings.passphrase)
    lines = {
        OLD: [f"connect {settings.token} {ssid} {passphrase}"],
        NEW: [f"wifi add {ssid} {passphrase}", f"connect {settings.token} {settings.host}"],
    }[generation]
    longest = max(len(line.encode()) for line in lines)
    if longest >= MOST_LETTERS:
        raise RigError(
            f"a command with this network has {longest} letters, Edgent's console takes "
            f"{MOST_LETTERS - 1}: each blank in it counts as 4"
        )
    return [line.rstrip() for line in lines]


class EdgentConsole(Provisioning):
    """Types network and token, to new Edgent the host too, after each reset into Old.

    Args:
        generation: ``old`` or ``new``, if the firmware must be that one.

    Raises:
        ValueError: it is another word.
    """

    gives = ("token", "ssid", "passphrase")
    built_in = ("host", "port")

    def __init__(self, generation: str = "") -> None:
        if generation not in ("", *GENERATIONS):
            raise ValueError(
                f"generation: expected {' or '.join(GENERATIONS)}, got {generation!r}"
                f"{near(str(generation), GENERATIONS)}"
            )
        self._generation = generation

    def flash(self, settings: Settings, table: PartitionTable) -> Mapping[str, bytes]:
        """No settings in NVS: it waits to be told."""
        return without_nvs(table)

    def tell(self, settings: Settings, board: Board) -> None:
        """Type them. Raises RigError: nobody answers, another console does, or it refuses."""
        found = self._awake(board)
        if self._generation and found != self._generation:
            raise RigError(
                f"the console is that of {found} Edgent, the rig file says {self._generation}: "
                f'expected generation = "{found}", or a firmware of the other'
            )
        cursor = board.console.cursor
        for line in commands(found, settings):
            board.console.write(f"{line}\n")
        answer = board.console.find(DONE, after=cursor, wall_s=_wall(ANSWER_S, board))
        if answer is None:
            raise RigError(
                f"Edgent's console did not answer the connect command within {ANSWER_S:g} s"
            )
        if why := answer["why"] or answer["say"]:
            raise RigError(f"Edgent's console refuses the connect command: {why}")

    def _awake(self, board: Board) -> str:
        """Ask until it answers: what comes before its start is lost."""
        cursor, asked = board.console.cursor, 0
        deadline = time.monotonic() + _wall(AWAKE_S, board)
        while time.monotonic() < deadline:
            board.console.write("\nconnect\n")
            asked += 1
            answer = board.console.find(ASKED, after=cursor, wall_s=_wall(ASK_AGAIN_S, board))
            if answer is not None:
                return OLD if answer["old"] else NEW
        said = board.console.texts(cursor)
        if any(NO_COMMAND in line for line in said):
            raise RigError("there is a console, but without the command connect: not Edgent's")
        lines = " | ".join(said[-3:]) or "none"
        raise RigError(
            f"Edgent's console did not answer: connect was typed {asked} times in {AWAKE_S:g} s. "
            f"Is it Edgent, built with its console on this port (BLYNK_PRINT), and is the "
            f"board's RX wired? Its last lines: {lines}"
        )


def _wall(device_s: float, board: Board) -> float:
    return max(device_s / board.speed, LEAST_WALL_S)
