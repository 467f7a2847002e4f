"""Which tenant of a port a caller is for. Pure.

Each tenant says what it knows of its boards: their tokens, as hashes, and the addresses that they
call from. What a caller says of itself goes before where it calls from, and what the rig knows of
an address goes before what was seen. Where all of that leaves more than one tenant they take turns:
a board that was handed to the wrong one calls again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_blynk_ota.rig.ports.first import Told

TURN: Final = "turn"
"""How a caller was given out about whom nothing is known."""
ALONE: Final = "alone"


@dataclass
class Tenant:
    """One who uses the port.

    Attributes:
        number: unique at this port, in the order in which they came.
        is_open: whether it takes callers; its own are refused if not.
        tokens: hashes of its boards' tokens.
        addresses: that its boards call from, as the rig knows them.
        names: of the server, that only its boards know.
        seen: addresses that its boards have logged in from.
    """

    number: int
    is_open: bool = False
    tokens: set[str] = field(default_factory=set)
    addresses: Collection[str] = ()
    names: Collection[str] = ()
    seen: set[str] = field(default_factory=set)


def hashed(token: str) -> str:
    """A token as tenants name it: a port may be held by another user's process."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


RULES: Final[Sequence[tuple[str, Callable[[Tenant, Told, str], bool]]]] = (
    ("token", lambda one, told, _: bool(told.token) and hashed(told.token) in one.tokens),
    ("address", lambda one, _, address: address in one.addresses),
    ("name", lambda one, told, _: bool(told.name) and told.name in one.names),
    ("seen", lambda one, _, address: address in one.seen),
)
"""What a caller is known by, the surest first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who gets a caller.

    Attributes:
        tenant: who.
        by: the rule that decided: one of ``RULES``, or ``alone``, or ``turn``.
    """

    tenant: Tenant
    by: str

    @property
    def is_sure(self) -> bool:
        return self.by != TURN


def choose(tenants: Sequence[Tenant], told: Told, address: str, turn: int) -> Choice | None:
    """The tenant of a caller; None if there is none at all.

    Args:
        tenants: in the order in which they came.
        told: what the caller said.
        address: that it calls from.
        turn: how often it has been given out by turns before.
    """
    if len(tenants) == 1:
        return Choice(tenants[0], ALONE)
    left = list(tenants)
    for name, fits in RULES:
        left = [one for one in left if fits(one, told, address)] or left
        if len(left) == 1:
            return Choice(left[0], name)
    awake = [one for one in left if one.is_open] or left
    return Choice(awake[turn % len(awake)], TURN) if awake else None


def has_seen(tenants: Sequence[Tenant], one: Tenant, address: str) -> None:
    """A board of a tenant has logged in from an address: it is nobody else's any more."""
    for other in tenants:
        other.seen.discard(address)
    one.seen.add(address)
