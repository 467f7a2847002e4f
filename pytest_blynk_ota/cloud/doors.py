"""The ports that the cloud listens on, and which of its protocols is spoken behind each.

Real boards dial fixed ports and cannot be told otherwise (Blynk documentation, security.md;
Edgent-Arduino, BlynkNetMgrClients.h), so one port serves several protocols, as the real cloud's
do. The first byte tells them apart: 29 begins a Blynk LOGIN, 0x10 an MQTT CONNECT, a capital letter
an HTTP request, 0x16 a TLS handshake at the wrong port.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Speech(StrEnum):
    """A protocol, told by the first byte."""

    BLYNK = "blynk"
    MQTT = "mqtt"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Kind:
    """What stands behind one kind of port.

    Attributes:
        speaks: the protocols that it takes; the first is the one that it is there for.
        tls: whether they are inside TLS.
        usual: the ports at which the real cloud has it.
    """

    speaks: tuple[Speech, ...]
    tls: bool
    usual: tuple[int, ...]


KINDS: Final[Mapping[str, Kind]] = {
    # Blynk documentation: security.md, device-mqtt-api, device-https-api. MQTT over WebSocket and
    # the HTTPS API share their port with the binary protocol.
    "tcp": Kind((Speech.BLYNK, Speech.HTTP), tls=False, usual=(80, 8080)),
    "tls": Kind((Speech.BLYNK, Speech.HTTP), tls=True, usual=(443, 9443)),
    "mqtt": Kind((Speech.MQTT,), tls=False, usual=(1883,)),
    "mqtts": Kind((Speech.MQTT,), tls=True, usual=(8883,)),
}


@dataclass(frozen=True, slots=True)
class Door:
    """One port to listen on.

    Attributes:
        kind: a key of :data:`KINDS`.
        port: 0 takes a free one.
        elsewhere: whether it stands for another host, to which a fault sends devices.
    """

    kind: str
    port: int = 0
    elsewhere: bool = False


TLS_HANDSHAKE: Final = 0x16
MQTT_CONNECT: Final = 0x10


def speech_of(first: int) -> Speech:
    """The protocol that begins with this byte. What nothing begins with is taken for Blynk's."""
    if first == MQTT_CONNECT:
        return Speech.MQTT
    return Speech.HTTP if ord("A") <= first <= ord("Z") else Speech.BLYNK


def why_not(
    kind: str, host: str, port: int, error: OSError | UnicodeError, holder: str = ""
) -> str:
    """Why a port cannot be listened on, and what to do about it.

    Args:
        holder: who has it, if that is known.
    """
    usual = ", ".join(str(one) for one in KINDS[kind].usual)
    fixed = f"; boards in the field dial {usual} for {kind}" if port in KINDS[kind].usual else ""
    if isinstance(error, socket.gaierror | UnicodeError):
        return (
            f"the cloud cannot listen on {host!r}, which names no address: choose one of this "
            "host's, `ip address` lists them"
        )
    remedy = {
        errno.EADDRINUSE: f"another program has it ({holder or '`ss -ltnp` names it'}): end that, "
        "or choose another port, or 0 for a free one",
        errno.EACCES: "ports below 1024 need a privilege: `sysctl "
        "net.ipv4.ip_unprivileged_port_start=80`, the capability CAP_NET_BIND_SERVICE, or a "
        "redirection in the firewall to a port above",
        errno.EADDRNOTAVAIL: "no interface of this host has that address: choose one that "
        "`ip address` lists",
    }.get(error.errno or 0, "choose another port, or 0 for a free one")
    words = os.strerror(error.errno) if error.errno else str(error)
    return f"the cloud's {kind} port cannot listen on {host}:{port}: {words}; {remedy}{fixed}"
