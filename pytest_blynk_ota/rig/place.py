"""One board of a session with all that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_blynk_ota.board.board import Board
from pytest_blynk_ota.rig.config import BoardSection
from pytest_blynk_ota.rig.foreign import Told
from pytest_blynk_ota.rig.lease import Lease
from pytest_blynk_ota.rig.network.network import Network
from pytest_blynk_ota.rig.power import Power
from pytest_blynk_ota.rig.profiles import Profile


@dataclass
class Place:
    """One board with all that belongs to it, held by this session.

    Attributes:
        token: "" while it is still to be learned.
        busy: whether a shipment or an offer is under way on it.
        told: the way by which it learns its settings, if it has one.
    """

    config: BoardSection
    board: Board
    power: Power | None
    network: Network
    profile: Profile
    token: str = field(repr=False)  # a failed assert shows its parts in the JUnit file, too
    ssid: str = ""
    passphrase: str = field(default="", repr=False)
    lease: Lease | None = field(default=None, repr=False)
    busy: bool = False
    told: Told | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The board's name in the rig file."""
        return self.config.name

    def close(self) -> None:
        """Close the port and give the lease back."""
        try:
            self.board.close()
        finally:
            if self.lease:
                self.lease.close()
