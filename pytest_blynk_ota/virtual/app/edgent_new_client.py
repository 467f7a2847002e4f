"""New Edgent's link to the cloud: BlynkNetMgrClients.h of Edgent-Arduino 0.9.0.

It knows a host, never a port: 443 then 9443 with TLS, else 80 then 8080. What a redirection says of
a port is ignored, and the host is forgotten at the next connection that the firmware begins: at
once, if it comes in the middle of a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.blynk_client import BlynkClient
from pytest_blynk_ota.virtual.app.edgent_new_ota import connect
from pytest_blynk_ota.virtual.app.report import info_pairs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pytest_blynk_ota.virtual.app.context import Context
    from pytest_blynk_ota.virtual.app.edgent_log import Say
    from pytest_blynk_ota.virtual.network.tcp import Connection

PORTS = {True: (443, 9443), False: (80, 8080)}
"""By whether the build speaks TLS."""
ANY_PORT = 0


class EdgentClient(BlynkClient):
    """One device's session, over whichever of the fixed ports answers."""

    def __init__(
        self,
        context: Context,
        *,
        token: str,
        host: str,
        say: Say,
        on_ota: Callable[[str], None],
        on_debug: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(
            context.machine,
            context.log,
            token=token,
            host=host,
            port=ANY_PORT,
            info=info_pairs(context),
            heartbeat_s=context.behaviour.heartbeat_s,
            on_ota=on_ota,
            on_debug=on_debug,
            follows=False,
        )
        self._context = context
        self._say = say

    async def _connect(self, host: str, port: int) -> Connection | None:
        behaviour = self._context.behaviour
        for one in behaviour.ports or PORTS[behaviour.tls]:
            self._say("I", "BlynkNetMgrClients.h", f"Connecting to {host}:{one}")
            protocol = "tls" if behaviour.tls else "tcp"
            connection = await connect(self._context, protocol, host, one, self._say)
            if connection is not None:
                return connection
        return None

    def _redirect(self, parts: Sequence[str]) -> None:
        try:
            super()._redirect(parts)
        finally:
            self._address = (self._address[0], ANY_PORT)
