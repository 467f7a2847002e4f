"""``token = "learn"``: the token of the one device that comes to the cloud after our reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.rig.secret import LEARN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_blynk_ota.cloud.device import Stranger
    from pytest_blynk_ota.evidence.event import Event
    from pytest_blynk_ota.rig.rack import Place, Rig

SAY_IT = 'token = "env:NAME"'
ANOTHER_S = 12.0
"""Device seconds after the first login in which another device would come, too: one that is refused
knocks again after 5 s on the binary protocol, after 10 s with ESP-IDF's MQTT client."""
SHOWN_CHARS = 4
"""Of a token: as many as New Edgent's own banner shows."""


def learn(rig: Rig, place: Place, since: float) -> None:
    """Adopt the token of the device that has knocked since the board's reset.

    The login itself is refused without a word, as every unknown one: the device knocks again.

    Args:
        since: monotonic host seconds of the reset's end.

    Raises:
        RigError: none has come in time, or several; names them.
    """
    timeline, where = rig.recorder.timeline, f"board {place.name}, token {LEARN!r}: after its reset"
    limit_s = rig.timeout(place.profile.boot_s + place.profile.login_s)
    if timeline.wait(lambda _: rig.strangers(since) or None, limit_s) is None:
        mine = rig.settings(place)
        raise RigError(
            f"{where} no device came with a token that this rig does not know, in {limit_s:.1f} s. "
            f"Expected one at {mine.host}:{mine.port}: does its firmware dial that? "
            f"Else say which token it has: {SAY_IT}"
        )
    timeline.wait(lambda _: None, rig.timeout(ANOTHER_S))
    knocked = {one.token: one for one in rig.strangers(since)}
    if len(knocked) > 1:
        who = " and ".join(_named(timeline.events(), knocked))
        raise RigError(
            f"{where} {len(knocked)} devices came with tokens that this rig does not know: {who}. "
            f"Keep the others away, or say which token it has: {SAY_IT}"
        )
    rig.adopt(place, next(iter(knocked)))


def _named(events: Sequence[Event], knocked: Mapping[str, Stranger]) -> list[str]:
    """Each with its address, as far as it was on record."""
    peers = {
        event.data["session"]: event.data["peer"]
        for event in events
        if (event.source, event.kind) == ("cloud", "connected")
    }
    return [
        f"{peers.get(one.session, 'somebody')} with {token[:SHOWN_CHARS]}…"
        for token, one in knocked.items()
    ]
