"""NetMgrWiFi of new Edgent: the networks that it knows, and how it finds one of them.

Rules of nm_esp32/NetMgrWiFi.h of Edgent-Arduino 0.9.0. Networks stand in NVS as ``ap00`` … in
tag-length-value form; after a join the access point's address is kept with them, so that the next
boot connects without a scan. Nothing found or refused: scan again after 3 s, then 1.7 times as
long, up to 5 minutes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_blynk_ota.firmware.nvs_page import Type
from pytest_blynk_ota.virtual.network.tcp import NoNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_blynk_ota.virtual.app.preferences import Preferences
    from pytest_blynk_ota.virtual.machine import Machine

SPACE = "nm_wifi"
MOST_NETWORKS = 16
SCAN_S = 2.4
"""All channels, actively."""
JOIN_S = 1.5
"""Association and DHCP."""
REFUSED_S = 4.0
"""Until the 4-way handshake is given up."""
CONNECT_TIMEOUT_S = 25.0
SCAN_PAUSE_S, LONGEST_PAUSE_S, LONGER = 3.0, 300.0, 1.7
ACCESS_POINT, CHANNEL, RSSI = bytes.fromhex("02b16e000001"), 6, -52
"""The one access point that a virtual rack has."""
SSID, PSK, BSSID, CHANNEL_TAG = 1, 2, 3, 4
ERRORS = {201: "NETWORK_NOT_FOUND", 15: "AUTH_FAILED"}
WORST = {
    201: "Connecting failed: AP not found",
    15: "Connecting failed: Authentication failed (wrong password?)",
    0: "Connecting failed: timeout",
}


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """One ``ApEntry``."""

    number: int
    ssid: str
    psk: str = ""
    bssid: bytes = b""
    channel: int = 0

    @property
    def key(self) -> str:
        """In NVS."""
        return f"ap{self.number:02d}"

    def pack(self) -> bytes:
        """``ApEntry::save()``."""
        ssid, psk = self.ssid.encode(), self.psk.encode()
        parts = [bytes([SSID, len(ssid)]) + ssid] if ssid else []
        parts += [bytes([PSK, len(psk)]) + psk] if psk else []
        parts += [bytes([BSSID]) + self.bssid] if self.bssid else []
        parts += [bytes([CHANNEL_TAG, self.channel])] if self.channel else []
        return b"".join(parts)

    @classmethod
    def unpack(cls, number: int, data: bytes) -> KnownNetwork | None:
        """``ApEntry::load()``; None: it cannot be read."""
        one = cls(number, "")
        try:
            for tag, value in _fields(data):
                if tag == SSID:
                    one = replace(one, ssid=value.decode())
                elif tag == PSK:
                    one = replace(one, psk=value.decode())
                elif tag == BSSID:
                    one = replace(one, bssid=value)
                else:
                    one = replace(one, channel=value[0])
        except (ValueError, IndexError):
            return None
        return one


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Raises ValueError for a tag that is not known; IndexError if the end is missing."""
    place = 0
    while place < len(data):
        tag = data[place]
        if tag in (SSID, PSK):
            start, size = place + 2, data[place + 1]
        elif tag in (BSSID, CHANNEL_TAG):
            start, size = place + 1, {BSSID: 6, CHANNEL_TAG: 1}[tag]
        else:
            raise ValueError(f"tag {tag}")
        place = start + size
        if place > len(data):
            raise IndexError(place)
        yield tag, data[start:place]


class NetMgr:
    """The station and the networks that it knows. :meth:`stop` when the firmware ends."""

    def __init__(
        self, machine: Machine, preferences: Preferences, say: Callable[[str, str, str], None]
    ) -> None:
        self._machine = machine
        self._clock = machine.clock
        self._preferences = preferences
        self._log = say
        self._task: asyncio.Task[None] | None = None
        self._keeping = asyncio.Lock()
        self._changed = asyncio.Event()
        self._lru, self._next = -1, 0
        self.networks: list[KnownNetwork] = []
        self.address = self.ssid = self.error = ""

    @property
    def connected(self) -> bool:
        """Whether it has an address."""
        return bool(self.address)

    def begin(self) -> None:
        """``loadNetworks()``, the oldest one first."""
        self._next = min(self._preferences.number(SPACE, "apID", 0), MOST_NETWORKS - 1)
        self._lru = self._preferences.number(SPACE, "lru", -1)
        for number in (*range(self._next, MOST_NETWORKS), *range(self._next)):
            data = self._preferences.blob(SPACE, f"ap{number:02d}")
            one = KnownNetwork.unpack(number, data) if data else None
            if one is not None:
                self.networks.append(one)

    async def add(self, ssid: str, psk: str) -> bool:
        """``addNetwork()``: keep it in NVS and begin to look for it."""
        self._say("I", f"Add DHCP network config SSID={ssid} PSK_len={len(psk)}")
        problem = _refused(ssid.encode(), psk.encode())
        if problem:
            self._say("E", problem)
            return False
        same = next((one for one in self.networks if one.ssid == ssid), None)
        new = KnownNetwork(same.number if same else self._next, ssid, psk)
        if not await self._preferences.put_blob(SPACE, new.key, new.pack()):
            self._say("E", f"Cannot save SSID: {ssid}, ID: {new.number}")
            return False
        if same is not None:
            self.networks[self.networks.index(same)] = new
        else:
            self.networks = [*self.networks, new][-MOST_NETWORKS:]
            self._next = (self._next + 1) % MOST_NETWORKS
            await self._preferences.put_number(SPACE, "apID", Type.U16, self._next)
        async with self._keeping:
            self._restart(new if len(self.networks) == 1 and same is None else None)
        return True

    async def clear(self) -> None:
        """``clearNetworks()``."""
        await self.off()
        self.networks, self._next, self._lru = [], 0, -1
        await self._preferences.clear(SPACE)

    def on(self) -> None:
        """Look for a known network, if that is not going on."""
        if self._task is None:
            last = [one for one in self.networks if one.number == self._lru and one.bssid]
            self._restart(last[0] if last else None)

    async def off(self) -> None:
        """``off()``: not while what was learnt of a network is written."""
        async with self._keeping:
            self.stop()

    def stop(self) -> None:
        """The end of the firmware: at once."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._set("")

    async def until(self, connected: bool) -> None:
        """Wait until it is connected, or not any more."""
        while self.connected is not connected:
            self._changed.clear()
            await self._changed.wait()

    def _restart(self, first: KnownNetwork | None) -> None:
        self.stop()
        self._task = asyncio.ensure_future(self._live(first))

    async def _live(self, first: KnownNetwork | None) -> None:
        pause = SCAN_PAUSE_S
        while self.networks:
            begun = self._clock.now()
            if first is None:
                await self._clock.spend(SCAN_S)
            found = [first] if first is not None else self.networks[::-1]
            joined = await self._connect_to_one(found)
            if joined:
                await self._machine.network.lost()
                self._say("W", "Lost network")
                self._set("")
                pause = SCAN_PAUSE_S
            elif first is None:
                pause = min(pause * LONGER, LONGEST_PAUSE_S)
                await self._clock.sleep(begun + pause - self._clock.now())
            first = None

    async def _connect_to_one(self, found: list[KnownNetwork]) -> bool:
        for one in found:
            where = one.bssid.hex(":").upper() or "00:00:00:00:00:00"
            self._say("I", f"WiFi connect: {one.ssid} ({where}) ch:{one.channel} DHCP")
            self.error = ""
            await self._clock.spend(JOIN_S)
            try:
                address = await self._machine.network.join(one.ssid, one.psk)
            except NoNetwork as failure:
                await self._fail(failure.reason)
                continue
            async with self._keeping:
                await self._remember(one)
            self.ssid = one.ssid
            self._say("I", f"WiFi connected (IP: {address}, RSSI: {RSSI})")
            self._set(address)
            return True
        return False

    async def _fail(self, reason: int) -> None:
        self.error = ERRORS.get(reason, "UNKNOWN" if reason else "")
        longer = {15: REFUSED_S, 0: CONNECT_TIMEOUT_S}.get(reason, JOIN_S) - JOIN_S
        await self._clock.sleep(longer)
        self._say("E", WORST.get(reason, "Connecting failed"))

    async def _remember(self, one: KnownNetwork) -> None:
        if not one.bssid:
            full = replace(one, bssid=ACCESS_POINT, channel=CHANNEL)
            self.networks = [full if old == one else old for old in self.networks]
            await self._preferences.put_blob(SPACE, full.key, full.pack())
        if self._lru != one.number:
            self._lru = one.number
            await self._preferences.put_number(SPACE, "lru", Type.I16, self._lru)

    def _set(self, address: str) -> None:
        self.address = address
        self._changed.set()

    def _say(self, level: str, text: str) -> None:
        self._log(level, "NetMgrWiFi.h", text)


def _refused(ssid: bytes, psk: bytes) -> str:
    """Why a network is not taken; empty: it is."""
    if not 0 < len(ssid) <= 31:
        return "No ssid or ssid too long"
    if len(psk) > 64:
        return "Passphrase too long"
    return "Passphrase too short" if 0 < len(psk) < 8 else ""
