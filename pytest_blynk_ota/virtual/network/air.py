"""The air of a rack: one access point with its router, as a lab has it.

By default all is well: any network name and passphrase are accepted, names are looked up on the
host, and the clock is right. What a test changes holds for every board from then on: the network's
name, passphrase and DHCP for whoever joins next, everything else at once.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_blynk_ota.errors import UsageError

NO_AP_FOUND = 201
HANDSHAKE_TIMEOUT = 15
NO_ADDRESS = 0
"""Reasons of a :class:`NoNetwork`: WIFI_REASON_NO_AP_FOUND and WIFI_REASON_4WAY_HANDSHAKE_TIMEOUT
of ESP-IDF's ``esp_wifi_types.h``; 0 is ours, for a station that gets no DHCP lease."""

NXDOMAIN, SILENCE = "nxdomain", "silence"
"""What the router's DNS says instead of an address."""
NOBODY = ".invalid"
"""RFC 6761, 6.4: no DNS has such a name."""
ANY = "*"
"""In the DNS table: every name that has no row of its own."""

LEAST_MTU = 68
"""RFC 791: every path takes so much."""

Address = tuple[str, int]


@dataclass
class Air:
    """The access point and the router; see :data:`KEYS` for what may be set."""

    ap: bool = True
    ssid: str = ""
    passphrase: str = ""
    dhcp: bool = True
    dns: dict[str, str] = field(default_factory=dict)
    forward: dict[str, str] = field(default_factory=dict)
    resolvers: dict[str, str] = field(default_factory=dict)
    sntp: bool = True
    clock_offset_s: float = 0.0
    mtu: int = 0
    _listeners: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def listen(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called whenever the access point comes or goes."""
        self._listeners.append(changed)

    def set(self, table: Mapping[str, Any]) -> None:
        """Change some keys and leave the others.

        Raises:
            UsageError: a key or a value is wrong; nothing was changed.
        """
        problems = [
            f"{key}: expected {KEYS[key][0]}, not {value!r}"
            for key, value in table.items()
            if not KEYS[key][1](value)
        ]
        if problems:
            raise UsageError("; ".join(problems))
        for key, value in table.items():
            setattr(self, key, value)
        for changed in self._listeners:
            changed()

    def reset(self) -> None:
        """Make all well again."""
        self.set(Air().state())

    def state(self) -> dict[str, Any]:
        """All keys, for people and for JSON."""
        return {key: getattr(self, key) for key in KEYS}

    def refuses(self, ssid: str, passphrase: str) -> int | None:
        """Why a station may not join, as a ``NoNetwork`` reason; ``None``: it may."""
        if not self.ap or self.ssid not in ("", ssid):
            return NO_AP_FOUND
        if self.passphrase not in ("", passphrase):
            return HANDSHAKE_TIMEOUT
        return None if self.dhcp else NO_ADDRESS

    def answer(self, host: str, port: int) -> Address | str:
        """Where a connection to ``host`` goes, or what the DNS says instead.

        An address in the DNS table is gone to as it stands; else a forwarded port is, whatever
        the name; else the host looks the name up. Names below ``.invalid`` are nobody's.
        """
        if host.endswith(NOBODY):
            return NXDOMAIN
        if not is_address(host):
            row = self.dns.get(host, self.dns.get(ANY))
            if row is not None:
                return row if row in (NXDOMAIN, SILENCE) else (row, port)
        target = self.forward.get(f"{host}:{port}", self.forward.get(str(port)))
        return split_address(target) if target is not None else (host, port)

    def name_server(self, host: str) -> Address | None:
        """Whom the router asks for a name; None: it looks it up on the host."""
        labels = host.lower().split(".")
        domains = [".".join(labels[at:]) for at in range(len(labels))]
        found = next((self.resolvers[one] for one in domains if one in self.resolvers), None)
        return split_address(found) if found is not None and not is_address(host) else None

    def unix_time(self, since_boot_s: float) -> float:
        """What a board's clock says: SNTP's time with the offset, or seconds since its boot."""
        return time.time() + self.clock_offset_s if self.sntp else since_boot_s


def is_address(text: str) -> bool:
    """Whether it is an IP address, for which nobody asks a DNS."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def split_address(text: str) -> Address:
    """``HOST:PORT`` as a pair. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(text)
    return host, int(port)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and math.isfinite(value)  # Python's JSON has Infinity and NaN, too


def _is_mtu(value: Any) -> bool:
    return type(value) is int and (value == 0 or value >= LEAST_MTU)


def _is_dns(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, str) and (one in (NXDOMAIN, SILENCE) or is_address(one))
        for one in value.values()
    )


def _is_forward(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    try:
        for source, target in value.items():
            split_address(source if ":" in source else f"any:{source}")
            split_address(target)
    except (ValueError, AttributeError):
        return False
    return True


def _is_resolvers(value: Any) -> bool:
    try:
        return isinstance(value, dict) and all(
            name == name.lower() and is_address(split_address(server)[0])
            for name, server in value.items()
        )
    except (ValueError, AttributeError):
        return False


KEYS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "ap": ("true or false", _is_flag),
    "ssid": ('a name, or "" for any', _is_text),
    "passphrase": ('a passphrase, or "" for any', _is_text),
    "dhcp": ("true or false", _is_flag),
    "dns": ('names (or "*") with an address, "nxdomain" or "silence"', _is_dns),
    "forward": ('"PORT" or "NAME:PORT" with "HOST:PORT"', _is_forward),
    "resolvers": ('domains in lower case with the "ADDRESS:PORT" of a DNS', _is_resolvers),
    "sntp": ("true or false", _is_flag),
    "clock_offset_s": ("seconds", _is_number),
    "mtu": (f"bytes, {LEAST_MTU} or more, or 0 for any", _is_mtu),
}
"""What may be set: in words, and the check."""
