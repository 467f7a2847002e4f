"""Under which name a board is leased: the same however a rig file calls its port.

Two files may name one board as ``/dev/ttyUSB0`` and as ``usb:5A6B012345``; both runs must meet at
one lock. A board that is not plugged in is leased under the name in the file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pytest_blynk_ota.board.naming import (
    MAC,
    MAC_FORM,
    URLS,
    USB,
    Known,
    Seen,
    best_name,
    locate,
    plain_mac,
)
from pytest_blynk_ota.board.usb import known_boards, seen_ports
from pytest_blynk_ota.errors import ConfigError, PortGone


def leased_as(port: str) -> str:
    """The name to lease a port by, as this host is now."""
    return port if port.startswith(URLS) else name_of(port, seen_ports(), known_boards())


def name_of(port: str, seen: Sequence[Seen], known: Sequence[Known] = ()) -> str:
    """The best name of what a port's name means; the real path of a port that is no USB port."""
    try:
        device = os.path.realpath(locate(port, seen, known))
    except (PortGone, ConfigError):
        word = port.removeprefix(USB)
        return f"{MAC}{plain_mac(word)}" if MAC_FORM.fullmatch(word) else port
    there = next((one for one in seen if os.path.realpath(one.device) == device), None)
    return device if there is None else best_name(there, seen)
