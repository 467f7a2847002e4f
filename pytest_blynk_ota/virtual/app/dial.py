"""How an application reaches a server: TCP, and TLS over it where it trusts somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware.compiled import compiled
from pytest_blynk_ota.virtual.network.tls import TlsConnection, Trust

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.behaviour import Behaviour
    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.machine import Machine
    from pytest_blynk_ota.virtual.network.tcp import Connection

NO_CLOUD = "cloud.invalid"


def trust_of(context: Context) -> Trust | None:
    """Whom an image trusts with its session; None: it speaks plain TCP."""
    mine = context.behaviour
    return Trust(roots_of(context), dates=mine.cert_dates) if mine.tls else None


def roots_of(context: Context) -> str:
    """Whom an image trusts with TLS, in PEM: what the rig built in, else the text in the image."""
    return context.behaviour.ca or compiled(context.started.image).roots


def cloud_of(behaviour: Behaviour, host: str) -> str:
    """Where an image looks for its cloud: a name that nobody has, if it never finds it."""
    return host if behaviour.finds_cloud else NO_CLOUD


async def dial(machine: Machine, host: str, port: int, trust: Trust | None = None) -> Connection:
    """Connect, and shake hands if ``trust`` is given. Put the clock's ``within`` around it.

    Raises:
        OSError: refused, not found, or the peer is not trusted; the connection is closed.
    """
    connection = await machine.network.open_connection(host, port)
    if trust is None:
        return connection
    secure = TlsConnection(connection, host, trust, machine.network.unix_time())
    try:
        await secure.handshake()
    except BaseException:
        connection.close()
        raise
    return secure
