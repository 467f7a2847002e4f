"""The names of a rig while it runs: its name server, started when it is first needed."""

from __future__ import annotations

from collections.abc import Callable

from pytest_blynk_ota.rig.network.name_server import NameServer
from pytest_blynk_ota.rig.network.names import Names, Rule

FIRMWARE, CLOUD = "firmware", "cloud"
"""The words before the domain."""
DOMAIN = "rig.test"
"""Where the rig file names none. RFC 6761, 6.2: nobody has names below ``.test``."""


class NameService:
    """A rig's names in the hand of a test.

    Args:
        server: answers the questions; it is started already.
        go_by: puts a name into the URLs of the firmware server; None: its address.
        always: whether the rig goes by its names, as its file says; else only while they are
            answered in another way than by the book, and its cloud never does.
    """

    def __init__(
        self, server: NameServer, go_by: Callable[[str | None], None], *, always: bool
    ) -> None:
        self._server = server
        self._go_by = go_by
        self._always = always
        self._held = 0

    @property
    def names(self) -> Names:
        """What is answered."""
        return self._server.names

    @property
    def port(self) -> int:
        """Where questions come in."""
        return self._server.address[1]

    @property
    def resolvers(self) -> dict[str, str]:
        """What a router has to know: the domain, and who answers for it."""
        host, port = self._server.address
        return {self.names.domain: f"{host}:{port}"}

    async def stop(self) -> None:
        """Close the port."""
        await self._server.stop()

    def lack(self, word: str) -> str | None:
        """Why nobody would ask for a name; None: boards do."""
        if self._always or self.names.full(word) == self.names.full(FIRMWARE):
            return None
        return (
            "boards are given the address of the cloud, not a name; the rig file would say: "
            f'[network] domain = "{DOMAIN}"'
        )

    def begin(self, rule: Rule) -> None:
        """From now on it holds."""
        self.names.add(rule)
        self._held += 1
        self._go_by(self.names.full(FIRMWARE))

    def end(self, rule: Rule) -> None:
        """From now on it does not."""
        self.names.remove(rule)
        self._held -= 1
        if not self._held and not self._always:
            self._go_by(None)
