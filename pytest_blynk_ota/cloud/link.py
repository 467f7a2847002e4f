"""What the cloud can do with a device that is logged in, whichever protocol it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class OtaRequest:
    """One update that a device is told of.

    Attributes:
        name: of the offer in the evidence, as ``o1``.
        url: where the file is.
        size: bytes of the file; 0 where nobody knows.
        tag: what the file's blnkinf tag says: ``type``, ``ver`` and ``build``, each only if it is
            there. The binary protocol sends the URL alone, MQTT all of it.
    """

    name: str
    url: str
    size: int = 0
    tag: tuple[tuple[str, str], ...] = ()


class Link(Protocol):
    """One connection of one device, logged in or not."""

    @property
    def number(self) -> int:
        """Unique on its server."""

    def ota_bytes(self, request: OtaRequest) -> int:
        """Bytes of the message that :meth:`send_ota` would send, as ``buff-in`` counts them."""

    def send_ota(self, request: OtaRequest) -> bool:
        """Tell the device to update; False if the session is over."""

    def send_command(self, command: str) -> bool:
        """Type a line at the device's console; False if the session is over."""

    def send_value(self, name: str, values: tuple[str, ...]) -> bool:
        """A new value of a datastream; False if the session is over."""

    def redirect(self, host: str, port: int) -> bool:
        """Send the device to another server; False if the session is over."""

    def close(self, why: str) -> None:
        """End the session for a reason that is no fault of the device."""

    def abort(self) -> None:
        """Drop the connection with whatever waits to be sent."""
