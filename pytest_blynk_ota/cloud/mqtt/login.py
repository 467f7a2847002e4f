"""Who may log in over MQTT, and what he is told otherwise; no I/O.

Source: Blynk documentation, device-mqtt-api ("Authentication").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pytest_blynk_ota.cloud.mqtt.packets import V3, V5, Connect, Reason

USER: Final = "device"
MAX_CLIENT_CHARS: Final = 64

RULES: Final[tuple[tuple[Callable[[Connect], bool], Reason, str], ...]] = (
    # If this holds: the reason code, and why.
    (
        lambda asked: asked.level not in (V3, V5),
        Reason.UNSUPPORTED_VERSION,
        "a version of MQTT that is neither 3.1.1 nor 5",
    ),
    (
        lambda asked: len(asked.client) > MAX_CLIENT_CHARS,
        Reason.BAD_IDENTIFIER,
        f"a client identifier of more than {MAX_CLIENT_CHARS} characters",
    ),
    (  # [MQTT-3.1.3-8] of 3.1.1; version 5 has no such rule
        lambda asked: not asked.client and not asked.clean and asked.level == V3,
        Reason.BAD_IDENTIFIER,
        "no client identifier, and no clean session",
    ),
    (
        lambda asked: asked.user != USER,
        Reason.BAD_CREDENTIALS,
        f"a user name that is not {USER!r}",
    ),
    (lambda asked: not asked.password, Reason.BAD_CREDENTIALS, "no password: it is the token"),
)


def refusal(asked: Connect) -> tuple[Reason, str] | None:
    """Why a client is refused before its token is looked at; None if it is not."""
    return next(((code, why) for holds, code, why in RULES if holds(asked)), None)
