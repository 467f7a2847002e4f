"""Which link and which access point a rig has, by its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_blynk_ota.evidence.timeline import Record
from pytest_blynk_ota.rig.across import LOOPBACK
from pytest_blynk_ota.rig.config import NetworkSection, RigConfig
from pytest_blynk_ota.rig.control import RackControl
from pytest_blynk_ota.rig.network.access_point import (
    AccessPoint,
    CommandAccessPoint,
    VirtualAccessPoint,
)
from pytest_blynk_ota.rig.network.link import Link
from pytest_blynk_ota.rig.network.name_service import DOMAIN, NameService


def link_of(config: RigConfig) -> Callable[[], Link] | str:
    """The interface that leads to the boards; a text: why there is none."""
    network = config.network or NetworkSection()
    interface = network.interface or (LOOPBACK if is_virtual(config) else None)
    if interface is None:
        return (
            f"rig {config.rig.name} names no interface that leads to its boards; its file would "
            f'say: [network] interface = "wlan1"'
        )
    return lambda: Link(interface, config.rig.speed, network.prefix)


def access_point_of(
    config: RigConfig,
    record: Record,
    hand: Callable[[], RackControl],
    in_use: Callable[[], Sequence[str]],
) -> Callable[[], AccessPoint] | str:
    """Whoever switches the access point; a text: why nobody does.

    Args:
        record: where the switching goes.
        hand: the control port of the virtual rack.
        in_use: whose other boards are in use.
    """
    if is_virtual(config):
        return lambda: VirtualAccessPoint(lambda on: hand().access_point(on=on))
    commands = config.network.ap if config.network else None
    if commands is None:
        return (
            f"rig {config.rig.name} has no access point to switch; its file would say: "
            f"[network] ap = {{ on = [\u2026], off = [\u2026] }}"
        )
    return lambda: CommandAccessPoint(commands.on, commands.off, record, in_use)


def names_of(config: RigConfig, made: Callable[[], NameService]) -> Callable[[], NameService] | str:
    """Whoever answers for the rig's names; a text: why nobody does."""
    network = config.network or NetworkSection()
    if is_virtual(config) or network.domain is not None:
        return made
    return (
        f"rig {config.rig.name} has no names of its own; its file would say: "
        f'[network] domain = "{DOMAIN}", dns_port = 5335, and its DNS would pass them here'
    )


def is_virtual(config: RigConfig) -> bool:
    """Whether all boards are made of software."""
    return all(board.is_virtual for board in config.board)
