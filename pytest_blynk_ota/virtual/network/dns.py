"""DNS as a board's resolver speaks it: a question for an address, and what comes of the answer.

Rules of lwIP's dns.c: the number and the question of an answer have to be those that were asked; an
error code, or an answer without an address, is the end of it, since there is no other server.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from pytest_blynk_ota.virtual.network.air import NXDOMAIN

HEADER = struct.Struct(">6H")
RECORD = struct.Struct(">2HIH")
A, IN = 1, 1
QUERY = 0x0100  # recursion desired
RESPONSE, CODE = 0x8000, 0x000F
NAME_ERROR = 3
POINTER = 0xC0
MAX_MESSAGE_BYTES = 512  # RFC 1035, 2.3.4
WAITS_S = (1.0, 1.0, 2.0, 3.0)
"""Device seconds after each try: DNS_MAX_RETRIES and dns_check_entry of dns.c."""
MAX_TTL_S = 604800
"""DNS_MAX_TTL of dns.c."""


class NoAddress(Exception):
    """Raised when a name server says that there is none; the text is its word."""


@dataclass(frozen=True, slots=True)
class Found:
    """An address, and for how many seconds it may be kept."""

    address: str
    ttl: int


def question(ident: int, name: str) -> bytes:
    """A question for the IPv4 address of a name.

    Raises:
        ValueError: no DNS can have such a name.
    """
    labels = [label.encode("ascii", "strict") for label in name.rstrip(".").split(".")]
    if any(not 0 < len(label) < 64 for label in labels) or len(name) > 253:
        raise ValueError(f"{name!r} is no name of a host")
    octets = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return HEADER.pack(ident, QUERY, 1, 0, 0, 0) + octets + struct.pack(">2H", A, IN)


def read_answer(message: bytes, asked: bytes) -> Found | None:
    """What a message says; None: it is no answer to what was asked, or cannot be read.

    Raises:
        NoAddress: it says that there is none.
    """
    if len(message) < HEADER.size or message[:2] != asked[:2]:
        return None
    _, flags, questions, answers, _, _ = HEADER.unpack_from(message)
    end = len(asked)
    same = message[HEADER.size : end].lower() == asked[HEADER.size :].lower()
    if not flags & RESPONSE or questions != 1 or not same:
        return None
    if flags & CODE:
        code = flags & CODE
        raise NoAddress(NXDOMAIN if code == NAME_ERROR else f"error {code}")
    try:
        found = _first_address(message, end, answers)
    except (IndexError, struct.error):
        return None
    if found is None:
        raise NoAddress("no address")
    return found


def _first_address(message: bytes, at: int, answers: int) -> Found | None:
    """The first record with an IPv4 address, whatever its name: aliases lead to it."""
    for _ in range(answers):
        at = _after_name(message, at)
        kind, group, ttl, length = RECORD.unpack_from(message, at)
        at += RECORD.size
        if (kind, group, length) == (A, IN, 4):
            address = ipaddress.IPv4Address(message[at : at + 4].ljust(4, b"\0"))
            if at + 4 > len(message):
                raise IndexError
            return Found(str(address), min(ttl, MAX_TTL_S))
        at += length
    return None


def _after_name(message: bytes, at: int) -> int:
    """Where a name ends: at its last label, or at a pointer to the rest."""
    while length := message[at]:
        if length & POINTER == POINTER:
            return at + 2
        at += 1 + length
    return at + 1
