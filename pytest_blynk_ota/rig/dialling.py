"""What a board's firmware will dial, and whether it will trust what answers there.

Known from the image, the profile and the way it is provisioned, before it tries: a board that dials
elsewhere is silent, and says nothing of why.

What firmware does with addresses (blynk-library 1.4.0, ``Edgent_ESP32``; Edgent-Arduino 0.9.0,
``BlynkNetMgrClients.h``, ``BlynkEdgent.h``)::

    old Edgent   host and port as told or built; always TLS; any http URL becomes an https one with
                 TLS, unless it ends in &s=0
    new Edgent   host as told; ports 443, 9443 with TLS, else 80, 8080, whatever it is told; URLs
                 likewise; a build without TLS fetches no https
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.cloud.doors import KINDS
from pytest_blynk_ota.firmware import blnkopt, texts

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.tls import Authority
    from pytest_blynk_ota.firmware.image import Image

NEW_EDGENT = "edgent-new"
STEPS = 10
"""More than a handshake has."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What does not fit, and what to do about it."""

    detail: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Dialling:
    """One board and its rig's cloud.

    Attributes:
        host, port: of the cloud, as the rig has it.
        kind: of its port that the board dials, by the rig file.
        gives: the settings that the board is told by the rig.
        open_ports: ports of that kind at which the cloud listens.
        fixture: whose ways the firmware has, as the profile says.
        forwarded: whether a router leads any port that it dials to the cloud: a virtual rack's.
        https: whether download URLs are https ones.
        image: of Old, as it stands on the board; None: it is not known.
        authority: who the cloud's TLS ports are.
    """

    host: str
    port: int
    kind: str
    gives: Collection[str]
    open_ports: Collection[int]
    fixture: str
    forwarded: bool
    https: bool
    image: Image | None
    authority: Authority

    @property
    def tls(self) -> bool:
        """Whether the rig file says that it speaks TLS."""
        return KINDS[self.kind].tls

    @property
    def built_for(self) -> Mapping[str, str]:
        """Host and port that the user's image was built with, as far as it says so."""
        if self.image is None or self.image.behaviour is not None:
            return {}
        section = blnkopt.find(self.image.data)
        return section.pairs if section is not None else {}

    @property
    def target(self) -> tuple[str, tuple[int, ...]]:
        """Host and ports that it will dial; ours where nothing says otherwise."""
        host = self.host if "host" in self.gives else self.built_for.get("host", self.host)
        if self.fixture == NEW_EDGENT:
            return host, KINDS[self.kind].usual
        built = self.built_for.get("port", "")
        mine = self.port if "port" in self.gives or not built.isdecimal() else int(built)
        return host, (mine,)

    @property
    def roots(self) -> str:
        """Whom it trusts, in PEM; "" if that cannot be read."""
        if self.image is None:
            return ""
        if self.image.behaviour is not None and self.image.behaviour.ca:
            return self.image.behaviour.ca
        return "\n".join(one.pem for one in texts.roots_of(self.image.data))


def mismatches(board: Dialling) -> Iterator[Mismatch]:
    """What keeps a board from its cloud; none if nothing is known that does."""
    for rule in RULES:
        if (found := rule(board)) is not None:
            yield found


def summary(board: Dialling) -> str:
    """What it dials, in words."""
    host, ports = board.target
    where = " or ".join(f"{host}:{port}" for port in ports)
    if not board.tls:
        return f"it dials {where}, without TLS"
    trusts = _names(board.roots)
    whom = f"trusts {trusts}" if trusts else "whom it trusts cannot be read from it"
    return f"it dials {where} with TLS; {whom}; http URLs stay so, for ours end in &s=0"


def _another_host(board: Dialling) -> Mismatch | None:
    host, ports = board.target
    if host == board.host:
        return None
    return Mismatch(
        f"this board dials {host}:{ports[0]}, where it was built for, and is not told otherwise; "
        f"this rig's cloud is {board.host}",
        f'build it with CONFIG_DEFAULT_SERVER "{board.host}", or have it told: provision = '
        '{ kind = "edgent-nvs" } or "edgent-blob"; kind = "patch" replaces the host in the image',
    )


def _another_port(board: Dialling) -> Mismatch | None:
    host, ports = board.target
    if board.forwarded or set(ports) & set(board.open_ports):
        return None
    dialled = ", then ".join(f"{host}:{port}" for port in ports)
    listens = ", ".join(map(str, board.open_ports)) or "none"
    why = "whatever it is told" if board.fixture == NEW_EDGENT else "as it was built"
    return Mismatch(
        f"this board dials {dialled}, {why}; this rig's cloud listens at {listens} ({board.kind})",
        f"[cloud] ports = {{ {board.kind} = [{ports[0]}] }} in the rig file; below 1024 a port "
        "needs a privilege",
    )


def _plain_where_it_speaks_tls(board: Dialling) -> Mismatch | None:
    """Old Edgent for ESP32 has no build without TLS."""
    if board.tls or not board.built_for or board.fixture == NEW_EDGENT:
        return None
    if not texts.roots_of(board.image.data if board.image else b""):
        return None
    return Mismatch(
        f"this board speaks TLS at any port, as old Edgent does, and the rig file has it dial "
        f"{board.kind}",
        'dials = "tls" for this board in the rig file',
    )


def _no_trust(board: Dialling) -> Mismatch | None:
    if not board.tls or not board.roots:
        return None
    why = refusal(board.authority, board.host, board.roots)
    if not why:
        return None
    host, ports = board.target
    own = 'put the rig\'s CA into it: provision = { kind = "patch" }, or build it with that; or '
    return Mismatch(
        f"this board dials {host}:{ports[0]} and will not trust us: {why}; it trusts "
        f"{_names(board.roots)}",
        f"{own if board.authority.ca_pem else ''}give [cloud] the certificate and key of a chain "
        f"that one of those has signed, for {host}",
    )


def _https_without_tls(board: Dialling) -> Mismatch | None:
    if not board.https or board.tls or board.fixture != NEW_EDGENT:
        return None
    return Mismatch(
        "this board is a build of new Edgent without TLS, which fetches no https URL, and the rig "
        "file says delivery.https = true",
        "delivery.https = false, or a build with TLS",
    )


RULES = (_another_host, _another_port, _plain_where_it_speaks_tls, _no_trust, _https_without_tls)


def refusal(authority: Authority, host: str, roots: str) -> str:
    """Why a client that trusts these roots alone ends its handshake with us; "" if it does not.

    Args:
        host: that the client dials.
        roots: in PEM.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        client.load_verify_locations(cadata=roots)
    except ssl.SSLError as error:
        return f"its roots cannot be read: {error.reason or error}"
    to_us, to_it = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_it, to_us, server_hostname=host),
        authority.server_context((host,)).wrap_bio(to_us, to_it, server_side=True),
    )
    for _ in range(STEPS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                return error.reason or str(error)
    return ""


def _names(roots: str) -> str:
    found = texts.roots_of(roots.encode())
    return ", ".join(repr(name) for text in found for name in text.subjects)
