"""Which boards are there: what USB says of each, and what each says itself when it is asked.

To look touches nothing. To ask resets a board into its loader and back; nothing is written to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_blynk_ota.board import usb
from pytest_blynk_ota.board.board import Board, Identity
from pytest_blynk_ota.board.naming import (
    MAC,
    Known,
    Seen,
    best_name,
    listed,
    locate,
    names_a_port,
    usb_ports,
)
from pytest_blynk_ota.errors import BlynkOtaError, ConfigError, PortGone, Unavailable
from pytest_blynk_ota.rig.lease import Lease

AUTO = "auto"
"""The word for the one board that is there."""
BAUD = 115200
"""The ROM's loader finds the rate by itself; the boot log has this one."""
NOTHING = (
    "no USB serial port is there. Is a board plugged in and powered? Some USB cables only charge: "
    "try another. `sudo dmesg` says what the kernel saw of it. In a container or a virtual machine "
    "the device has to be passed in"
)


@dataclass(frozen=True, slots=True)
class Found:
    """One port, and what is known of the board behind it.

    Attributes:
        port: as the system lists it; of a URL its ``device`` alone.
        name: to write in a rig file.
        held: the program that has it open; "" if none is seen.
        denied: what to do so that this user may open it; "" if he may.
        told: what the board said of itself; None if it was not asked, or did not answer.
        error: why it said nothing though it was asked.
    """

    port: Seen
    name: str
    held: str = ""
    denied: str = ""
    told: Identity | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """One row of ``rig scan --json``."""
        told, port = self.told, self.port
        return {
            "name": self.name,
            "device": port.device,
            "usb": port.ids or None,
            "bridge": port.bridge or None,
            "serial": port.serial or None,
            "location": port.location or None,
            "product": port.product or None,
            "held": self.held or None,
            "denied": self.denied or None,
            "chip": told.chip if told else None,
            "revision": told.revision if told else None,
            "mac": told.mac if told else port.mac or None,
            "flash_bytes": told.flash_bytes if told else None,
            "virtual": told.virtual if told else None,
            "error": self.error or None,
        }


def look(names: Sequence[str] = ()) -> list[Found]:
    """The USB serial ports of this host, or those that are named; opens none.

    Raises:
        PortGone: a name leads to none.
        ConfigError: it names no port.
    """
    seen = usb.seen_ports()
    ports = [_named(one, seen) for one in names] if names else usb_ports(seen)
    held = usb.holders_of([port.device for port in ports])
    return [
        Found(port, best_name(port, seen), held.get(port.device, ""), _denied(port.device))
        for port in ports
    ]


def _named(name: str, seen: Sequence[Seen]) -> Seen:
    if not names_a_port(name):
        locate(name, seen)  # says what is expected
    where = locate(name, seen, usb.known_boards() if name.startswith(MAC) else ())
    real = str(Path(where).resolve()) if where.startswith("/") else where
    if where.startswith("/") and not Path(where).exists():
        raise PortGone(f"there is no {where}; found: {listed(usb_ports(seen), seen)}")
    return next((port for port in seen if port.device == real), Seen(where))


def _denied(device: str) -> str:
    if not Path(device).exists() or usb.may_open(device):
        return ""
    return usb.remedy_for_denied(device)


def ask(found: Found) -> Found:
    """Reset the board into its loader, ask it who it is, and reset it back.

    What goes wrong with it stands in ``error``, so that the others are asked all the same.
    """
    if found.held:
        return replace(found, error=f"not asked: held by {found.held}. Stop it first")
    if found.denied:
        return replace(found, error=f"not asked: {found.denied}")
    try:
        return replace(found, told=identity_of(found.name))
    except BlynkOtaError as error:
        why = error.problems[0] if isinstance(error, ConfigError) else str(error)
        return replace(found, error=why)


def identity_of(name: str) -> Identity:
    """What the board at a port says of itself.

    Raises:
        LeaseHeld: a test run has it.
        PortGone: the port does not open, or goes.
        LoaderSilent: no chip that we know answers.
        ConfigError: its port has no lines to reset it with.
    """
    lease = Lease(name, name)
    try:
        with Board(name, "", name, _unrecorded, baud=BAUD) as board:
            return board.identity()
    finally:
        lease.close()


def _unrecorded(source: str, kind: str, board: str | None = None, /, **data: Any) -> None:
    """Outside of a run there is no evidence to keep."""


def remember(boards: Iterable[Found]) -> None:
    """Keep the MACs of boards behind a bridge: their USB does not say them."""
    usb.remember(
        [
            Known(one.told.mac, one.port.vid, one.port.pid, one.port.serial, one.port.location)
            for one in boards
            if one.told and one.port.vid is not None and one.port.pid is not None
            if not one.port.mac
        ]
    )


def the_board(word: str) -> Found:
    """The board for ``--rig auto``, or for a port that is named; it is not asked.

    Raises:
        Unavailable: ``auto``, and there is none, or more than one.
        PortGone: nothing has that name.
    """
    if word != AUTO:
        return look([word])[0]
    every = look()
    boards = [one for one in every if one.port.bridge and not one.port.is_jtag]
    if len(boards) == 1:
        return boards[0]
    seen = [one.port for one in every]
    if boards:
        raise Unavailable(
            f"--rig auto is for one board, and {len(boards)} are there. Say --rig NAME with one of "
            "these names, or write a rig file of all of them: blynk-ota rig init\n  "
            + listed([one.port for one in boards], seen, "\n  ")
        )
    if every:
        raise Unavailable(
            "--rig auto found no USB bridge that boards with an ESP32 are known to have. If one of "
            f"these ports is a board, name it by --rig: {listed(seen, seen)}"
        )
    raise Unavailable(f"--rig auto: {NOTHING}")
