"""What one request asks for, as far as the answer depends on it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_blynk_ota.delivery.plan.offered import Offered
from pytest_blynk_ota.delivery.when import Asked

Links = Callable[[str, int], str]
"""Where a redirect leads: a word of ``kinds.TARGETS``, and how many redirects lie behind the URL
that it names (0: the URL of the offer); gives what the Location header says."""


def own_links(to: str, hop: int) -> str:
    """Links within the same path, for want of a host."""
    return f"?hop={hop}"


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        file, data: what is on offer at the URL.
        asked: what decides about faults; its headers are the request's.
        method: GET or HEAD.
        version: the HTTP version of the request.
        serial: the number of the request on the server.
        hop: how many redirects lie behind its URL.
        links: where redirects lead.
        others: the files that ``other`` names, by path.
        date: the Date header; None: there is none.
    """

    file: Offered
    data: bytes
    asked: Asked
    method: str = "GET"
    version: str = "1.1"
    serial: int = 1
    hop: int = 0
    links: Links = own_links
    others: Mapping[str, bytes] = field(default_factory=dict)
    date: str | None = None

    def header(self, name: str) -> str | None:
        """The value of a request header; ``name`` in lower case."""
        value = (self.asked.headers or {}).get(name)
        return None if value is None else value.strip()

    @property
    def keeps(self) -> bool:
        """Whether the device lets the connection serve another request (RFC 9112, 9.3)."""
        says = {word.strip().lower() for word in (self.header("connection") or "").split(",")}
        if "close" in says:
            return False
        return self.version != "1.0" or "keep-alive" in says
