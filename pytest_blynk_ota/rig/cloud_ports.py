"""Which ports a rig's cloud opens, by the rig file and by what the boards' firmware dials."""

from __future__ import annotations

from pathlib import Path

from pytest_blynk_ota.cloud.doors import Door
from pytest_blynk_ota.cloud.relay import Upstream
from pytest_blynk_ota.cloud.tls import Authority
from pytest_blynk_ota.rig.config import BoardSection, CloudSection, RigConfig


def dials(board: BoardSection) -> str:
    """The kind of port that a board's firmware speaks to."""
    return board.dials or board.profile.dials


def cloud_doors(config: RigConfig) -> list[Door]:
    """Those of the rig file, and a free one of each other kind that a board dials."""
    asked = [Door(kind, port) for kind, ports in config.cloud.ports.items() for port in ports]
    open_kinds = {door.kind for door in asked}
    needed = dict.fromkeys(map(dials, config.board))
    return [*asked, *(Door(kind) for kind in needed if kind not in open_kinds)]


def authority(cloud: CloudSection) -> Authority | None:
    """The certificate that the rig file names; None: the cloud makes a CA of its own.

    Raises:
        UsageError: a file cannot be read, or they do not belong together.
    """
    if cloud.certificate is None or cloud.key is None:
        return None
    return Authority.given(Path(cloud.certificate), Path(cloud.key))


def upstream(cloud: CloudSection) -> Upstream | None:
    """The server that the rig file has relayed to.

    Raises:
        UsageError: its CA cannot be read.
    """
    if cloud.relay is None:
        return None
    return Upstream.parse(cloud.relay, Path(cloud.relay_ca) if cloud.relay_ca else None)
