"""Arduino's ``WiFi`` in station mode: it joins in the background and comes back by itself.

Rules of WiFiGeneric.cpp and WiFiSTA.cpp of arduino-esp32: ``begin()`` returns at once, and after
any failure or loss the event handler begins again (``setAutoReconnect`` is on). TCP connections
outlive a short absence; whether one is still good is for its owner to find out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.network.tcp import NoNetwork

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.machine import Machine

JOIN_S = 1.5
"""Association and DHCP."""
FAILED_TRY_S: Mapping[int, float] = {201: 2.4, 15: 4.0, 0: 5.0}
"""How long a try takes that fails: a scan of 13 channels finds no access point; the 4-way handshake
is given up; DHCP is asked again."""
OTHER_FAILURE_S = 3.0


class Station:
    """One board's station. :meth:`stop` when the firmware ends."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._joining: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.ssid = ""
        self.address = ""
        self.reason: int | None = None
        """Why the last try failed; None if it did not."""

    @property
    def connected(self) -> bool:
        """``WiFi.status() == WL_CONNECTED``."""
        return bool(self.address)

    def begin(self, ssid: str, passphrase: str) -> None:
        """``WiFi.begin()``: leave what was joined, join this one, for ever."""
        self.stop()
        self.ssid = ssid
        self._joining = asyncio.ensure_future(self._stay(ssid, passphrase))

    def stop(self) -> None:
        """``WiFi.disconnect()``."""
        if self._joining is not None:
            self._joining.cancel()
            self._joining = None
        self.address = ""

    async def until(self, connected: bool) -> None:
        """Wait until it is connected, or not any more."""
        while self.connected is not connected:
            self._changed.clear()
            await self._changed.wait()

    async def _stay(self, ssid: str, passphrase: str) -> None:
        clock, network = self._machine.clock, self._machine.network
        while True:
            await clock.spend(JOIN_S)
            try:
                address = await network.join(ssid, passphrase)
            except NoNetwork as failure:
                self.reason = failure.reason
                more = FAILED_TRY_S.get(failure.reason, OTHER_FAILURE_S) - JOIN_S
                await clock.sleep(more)
                continue
            self.reason = None
            self._set(address)
            await network.lost()
            self._set("")

    def _set(self, address: str) -> None:
        self.address = address
        self._changed.set()
