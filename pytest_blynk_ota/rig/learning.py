"""``token = "learn"``: the token of the one device that comes to the cloud after our reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.rig.secret import LEARN

if TYPE_CHECKING:
    from pytest_blynk_ota.cloud.device import Stranger
    from pytest_blynk_ota.evidence.event import Event
    from pytest_blynk_ota.rig.place import Place
    from pytest_blynk_ota.rig.rack import Rig

SAY_IT = 'token = "env:NAME"'
ANOTHER_S = 12.0
"""Device seconds after the first login in which another device would come, too: one that is refused
knocks again after 5 s on the binary protocol, after 10 s with ESP-IDF's MQTT client."""
SHOWN_CHARS = 4
"""Of a token: as many as New Edgent's own banner shows."""


@dataclass(frozen=True, slots=True)
class Knocks:
    """Who came with a token that the rig does not know.

    Attributes:
        ours: tokens, each with the address that it came from, of callers that may be the board.
        guessed: addresses of callers at a port that other runs use, too, where nobody knows whose
            they are.
    """

    ours: Mapping[str, str]
    guessed: Sequence[str]


def knocks(strangers: Sequence[Stranger], events: Sequence[Event], address: str) -> Knocks:
    """Sort those that were turned away by where they called from.

    Args:
        address: that the board calls from; "" if that is not known.
    """
    peers = {e.data["session"]: e.data["peer"] for e in events if _is(e, "cloud", "connected")}
    at_random = {e.data["peer"] for e in events if _is(e, "rig", "port_guessed")}
    ours: dict[str, str] = {}
    guessed: list[str] = []
    for one in strangers:
        peer = peers.get(one.session, "somebody")
        if address and peer.rpartition(":")[0] != address:
            continue
        if not address and peer in at_random:
            guessed.append(peer)
        else:
            ours.setdefault(one.token, peer)
    return Knocks(ours, guessed)


def learn(rig: Rig, place: Place, since: float) -> None:
    """Adopt the token of the device that has knocked since the board's reset.

    The login itself is refused without a word, as every unknown one: the device knocks again.

    Args:
        since: monotonic host seconds of the reset's end.

    Raises:
        RigError: none has come in time, or several, or it may be another run's; names them.
    """
    timeline, where = rig.recorder.timeline, f"board {place.name}, token {LEARN!r}: after its reset"

    def seen() -> Knocks:
        return knocks(rig.strangers(since), timeline.events(), rig.calls_from(place))

    limit_s = rig.timeout(place.profile.boot_s + place.profile.login_s)
    if timeline.wait(lambda _: seen().ours or None, limit_s) is None:
        raise RigError(f"{where} {_nobody(rig, place, seen(), limit_s)}")
    timeline.wait(lambda _: None, rig.timeout(ANOTHER_S))
    ours = seen().ours
    if len(ours) > 1:
        who = " and ".join(f"{peer} with {token[:SHOWN_CHARS]}…" for token, peer in ours.items())
        raise RigError(
            f"{where} {len(ours)} devices came with tokens that this rig does not know: {who}. "
            f"Keep the others away, or say which token it has: {SAY_IT}"
        )
    rig.adopt(place, next(iter(ours)))


def _nobody(rig: Rig, place: Place, seen: Knocks, limit_s: float) -> str:
    if seen.guessed:
        return (
            f"a device came from {seen.guessed[0]} to a port that other runs use, too, and nobody "
            f"knows whose it is. Say where this board calls from (address in the rig file), or "
            f"which token it has: {SAY_IT}"
        )
    mine = rig.settings(place)
    return (
        f"no device came with a token that this rig does not know, in {limit_s:.1f} s. "
        f"Expected one at {mine.host}:{mine.port}: does its firmware dial that? "
        f"Else say which token it has: {SAY_IT}"
    )


def _is(event: Event, source: str, kind: str) -> bool:
    return (event.source, event.kind) == (source, kind)
