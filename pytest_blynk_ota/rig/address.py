"""The address that a rig's boards reach this host at."""

from __future__ import annotations

import socket

from pytest_blynk_ota.errors import UsageError
from pytest_blynk_ota.rig.config import RigConfig

LOOPBACK = "127.0.0.1"


def address_of(config: RigConfig) -> str:
    """What the rig file says, or what can be found out.

    Raises:
        UsageError: this host is in no network.
    """
    if config.rig.advertise != "auto":
        return config.rig.advertise
    if all(board.is_virtual for board in config.board):
        return LOOPBACK
    # A datagram socket that is connected but never sent on tells the outgoing address.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            raise UsageError(
                f"rig {config.rig.name}: no address that boards could reach this host at "
                f"({error}); set rig.advertise"
            ) from error
        return str(probe.getsockname()[0])
