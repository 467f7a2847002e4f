"""What the keys of a rig file may not say together, though each of them is fine on its own.

Each rule looks at whatever of the file is fine by itself, so that these mistakes are told along
with those of single keys, not after them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_blynk_ota.board.naming import EXPECTED, FORM
from pytest_blynk_ota.cloud.doors import KINDS, Speech
from pytest_blynk_ota.cloud.relay import Upstream
from pytest_blynk_ota.delivery.faults import parse_all
from pytest_blynk_ota.delivery.standing import mistake
from pytest_blynk_ota.firmware.chips import CHIPS
from pytest_blynk_ota.rig.secret import LEARN
from pytest_blynk_ota.rig.words import near
from pytest_blynk_ota.verdict.metrics import DERIVED

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.config import (
        BoardSection,
        CloudSection,
        DeliverySection,
        NetworkSection,
        RigSection,
    )

Mistakes = Iterator[tuple[str, str]]

IS_DERIVED = "is worked out from other evidence; expected another name"
"""Keys, each with what is wrong with it."""

USB_CHIPS = ", ".join(chip.name for chip in CHIPS.values() if chip.usb_jtag)
LOOPBACK = "lo"
"""The interface that leads to virtual boards."""


WAYS: Mapping[str, tuple[Callable[[BoardSection], bool], str]] = {
    "edgent-nvs": (
        lambda board: board.profile.nvs,
        "firmware of the profile {profile} reads no settings from NVS as Edgent keeps them",
    ),
    "edgent-console": (
        lambda board: board.profile.fixture in ("edgent-old", "edgent-new"),
        "firmware of the profile {profile} has no console of Edgent's",
    ),
    "edgent-blob": (
        lambda board: board.profile.fixture == "edgent-old",
        "firmware of the profile {profile} has no blnkopt section",
    ),
    "image": (
        lambda board: board.is_virtual,
        "only virtual boards run the images that settings are compiled into",
    ),
    "nvs": (
        lambda board: not board.is_virtual or board.profile.fixture == "sketch",
        "the fixture of the profile {profile} reads no keys of its own from NVS",
    ),
    "patch": (
        lambda board: not board.is_virtual or board.profile.fixture != "edgent-new",
        "the fixture of the profile {profile} has no token but what it is told",
    ),
    "none": (lambda board: True, ""),
}
"""Ways of ours that are not for every board: for which, and why not for the others."""


def ways_to_provision(board: BoardSection) -> Sequence[str]:
    """What ``provision.kind`` may be: what its firmware reads, and what there is to write it to."""
    return [way for way, (fits, _) in WAYS.items() if fits(board)]


def _provisioned_as_its_firmware_reads(board: BoardSection) -> Mistakes:
    kind = board.provision.kind if board.provision is not None else ""
    ways = ways_to_provision(board)
    if kind in WAYS and kind not in ways:
        why = WAYS[kind][1].format(profile=board.profile.name)
        words = " or ".join(f'"{way}"' for way in ways)
        yield "provision.kind", f'{why}; expected {words}, got "{kind}"'


def _port_is_of_a_known_form(board: BoardSection) -> Mistakes:
    if not board.is_virtual and not FORM.match(board.port):
        yield "port", f"expected {EXPECTED}, got {board.port!r}{near(board.port, ['virtual'])}"


def _real_boards_have_no_virtual_keys(board: BoardSection) -> Mistakes:
    if board.is_virtual:
        return
    if board.virtual is not None:
        yield "virtual", f"board {board.name} is real: these keys are not for it"
    if board.power is not None and board.power.virtual:
        yield "power", f'board {board.name} is real: "virtual" is not for it'


def _virtual_boards_have_addresses_of_their_own(board: BoardSection) -> Mistakes:
    if board.is_virtual and board.address is not None:
        yield "address", "a virtual board has one that its rack chooses; expected no address"


def _virtual_boards_leave_the_network_its_name(board: BoardSection) -> Mistakes:
    if board.is_virtual and board.name == "network":
        yield (
            "name",
            "no virtual board can be called network: its rack's control port has that",
        )


def _usb_is_there_and_has_no_rate(board: BoardSection) -> Mistakes:
    if board.virtual is None or board.virtual.usb != "jtag":
        return
    if not CHIPS[board.chip].usb_jtag:
        yield (
            "virtual.usb",
            f'an {board.chip} has no USB port of its own ({USB_CHIPS} have); expected "bridge"',
        )
    if board.virtual.paced:
        yield "virtual.paced", 'usb = "jtag" has no baud rate; expected false'


def _speaks_what_it_dials(board: BoardSection) -> Mistakes:
    """What a real board runs, or a virtual one without a profile, may be anything."""
    if not board.is_virtual or board.dials is None or board.profile.name == "default":
        return
    own = KINDS[board.profile.dials].speaks[0]
    if KINDS[board.dials].speaks[0] is not own:
        fitting = " or ".join(kind for kind, row in KINDS.items() if row.speaks[0] is own)
        yield (
            "dials",
            f"the firmware of profile {board.profile.name} dials {fitting}, got {board.dials!r}",
        )


def _bugs_are_of_the_reference(board: BoardSection) -> Mistakes:
    if board.bugs and board.profile.fixture != "reference":
        yield (
            "bugs",
            f"are planted in firmware of profile reference, not of {board.profile.name}",
        )


def _has_a_token_to_learn(board: BoardSection) -> Mistakes:
    way = board.provision
    if board.token == LEARN and way is not None and "token" in way.gives:
        yield (
            "token",
            f'"{LEARN}" is for a board that has a token already, and "{way.kind}" brings it one; '
            'expected "env:NAME", or no token',
        )


RULES_OF_A_BOARD: Sequence[Callable[[BoardSection], Mistakes]] = (
    _virtual_boards_leave_the_network_its_name,
    _virtual_boards_have_addresses_of_their_own,
    _port_is_of_a_known_form,
    _real_boards_have_no_virtual_keys,
    _usb_is_there_and_has_no_rate,
    _provisioned_as_its_firmware_reads,
    _has_a_token_to_learn,
    _speaks_what_it_dials,
    _bugs_are_of_the_reference,
)


def _twice(values: Sequence[str]) -> str:
    """Those that are there more than once."""
    return ", ".join(sorted({value for value in values if values.count(value) > 1}))


def _names_and_ports_are_their_own(boards: Sequence[BoardSection]) -> Mistakes:
    if names := _twice([board.name for board in boards]):
        yield "", f"board names are used twice: {names}"
    if ports := _twice([board.port for board in boards if not board.is_virtual]):
        yield "", f"two boards have the port {ports}"
    if addresses := _twice([board.address for board in boards if board.address]):
        yield "", f"two boards have the address {addresses}"


def _files_are_their_own(boards: Sequence[BoardSection]) -> Mistakes:
    """A file that two boards, or two keys of one, would write to."""
    users: dict[str, str] = {}
    for board in boards:
        for key in ("flash", "efuse"):
            path = getattr(board.virtual, key, None)
            if path is None:
                continue
            user = f"virtual.{key} of board {board.name}"
            other = users.setdefault(os.path.normpath(path), user)
            if other != user:
                yield "", f"{user} is {path!r}, as {other} is; expected a file of its own"


def _real_clocks_run_at_1(rig: RigSection, boards: Sequence[BoardSection]) -> Mistakes:
    real = [board.name for board in boards if not board.is_virtual]
    if real and rig.speed != 1:
        yield (
            "rig.speed",
            f"is {rig.speed:g}, but {real[0]} is a real board, whose clock runs at 1; expected 1",
        )


def _cloud_fits_together(cloud: CloudSection, named: Collection[str]) -> Mistakes:
    if ("certificate" in named) != ("key" in named):
        yield "cloud", "expected certificate and key together, or neither of them"
    if "relay_ca" in named and "relay" not in named:
        yield "cloud", "relay_ca is for a relay, and none is named; expected relay, too"
    if "relay_ca" in named and cloud.relay and not Upstream.parse(cloud.relay).tls:
        yield "cloud", f"relay_ca is for a relay over TLS; relay is {cloud.relay!r}"
    if ports := _twice([str(port) for ports in cloud.ports.values() for port in ports]):
        yield "cloud.ports", f"used twice: {ports}"


def _mqtt_is_not_relayed(cloud: CloudSection, boards: Sequence[BoardSection]) -> Mistakes:
    if cloud.relay is None:
        return
    asked = [f"cloud.ports.{kind}" for kind in cloud.ports if _is_mqtt(kind)]
    for board in boards:
        if _is_mqtt(board.dials or board.profile.dials):
            asked.append(f"board {board.name}")
    if asked:
        yield "cloud.relay", f"passes the binary protocol on, MQTT not: {', '.join(asked)}"


def _is_mqtt(kind: str) -> bool:
    return Speech.MQTT in KINDS[kind].speaks


def _network_leads_to_the_boards(
    network: NetworkSection, boards: Sequence[BoardSection]
) -> Mistakes:
    real = [board.name for board in boards if not board.is_virtual]
    virtual = [board.name for board in boards if board.is_virtual]
    if virtual and not real and network.ap:
        yield "network.ap", "the access point of virtual boards is in their rack; expected no ap"
    if real and network.interface == LOOPBACK:
        yield "network.interface", f"{real[0]} is a real board, which lo does not lead to"
    if virtual and not real and network.interface not in (None, LOOPBACK):
        yield "network.interface", f"lo leads to virtual boards, not {network.interface}"
    if real and network.prefix and network.interface is None:
        yield "network.prefix", "stands before tc, and no interface is named; expected both"
    if real and (network.domain is None) != (network.dns_port is None):
        yield (
            "network",
            "expected domain and dns_port together, or neither of them: the rack's own DNS asks "
            "this host for names of the domain at that port",
        )


def metrics_fit(common: Mapping[str, object], boards: Mapping[int, BoardSection]) -> Mistakes:
    """A metric's name means one thing: it is named once, and is none of those worked out."""
    for name in common:
        if name in DERIVED:
            yield f"metrics.{name}", IS_DERIVED
    for at, board in boards.items():
        for name in board.metrics:
            if name in DERIVED:
                yield f"board[{at}].metrics.{name}", IS_DERIVED
            elif name in common:
                yield (
                    f"board[{at}].metrics.{name}",
                    "has the name of one in [metrics], which holds for every board; expected "
                    "another name, or one of the two",
                )


def _faults_are_of_boards_of_the_rig(
    delivery: DeliverySection, boards: Sequence[BoardSection]
) -> Mistakes:
    known = [board.name for board in boards]
    for at, text in enumerate(delivery.faults):
        named = {name for fault in parse_all(text) for name in fault.when.boards or ()}
        for name in sorted(named - set(known)):
            yield (
                f"delivery.faults[{at}]",
                f"no board {name!r}; the rig has {', '.join(known)}{near(name, known)}",
            )


def _faults_can_fire(delivery: DeliverySection) -> Mistakes:
    for at, text in enumerate(delivery.faults):
        for fault in parse_all(text):
            if why := mistake(fault, https=delivery.https):
                yield f"delivery.faults[{at}]", why


def mistakes_across(
    rig: RigSection | None,
    boards: Mapping[int, BoardSection],
    cloud: CloudSection | None,
    named: Collection[str],
    network: NetworkSection | None = None,
    *,
    delivery: DeliverySection | None = None,
) -> Mistakes:
    """Every mistake that lies between keys.

    Args:
        rig: that section; None if it is not fine by itself, as of ``cloud``.
        boards: by their places in the file; those that are fine by themselves.
        named: the keys of the cloud's section, wrong ones too: what is wrong is not missing.
        network: that section.
        delivery: that section; None also where not all boards are known.
    """
    for at, board in boards.items():
        for rule in RULES_OF_A_BOARD:
            for key, problem in rule(board):
                yield f"board[{at}].{key}", problem
    every = list(boards.values())
    yield from _names_and_ports_are_their_own(every)
    yield from _files_are_their_own(every)
    if delivery is not None:
        yield from _faults_are_of_boards_of_the_rig(delivery, every)
        yield from _faults_can_fire(delivery)
    if rig is not None:
        yield from _real_clocks_run_at_1(rig, every)
    if cloud is not None:
        yield from _cloud_fits_together(cloud, named)
        yield from _mqtt_is_not_relayed(cloud, every)
    if network is not None:
        yield from _network_leads_to_the_boards(network, every)
