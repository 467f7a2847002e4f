"""Which filters a device may subscribe to, and which topics are its own to publish on; no I/O.

Source of all rules: Blynk documentation, device-mqtt-api ("Limitations", "Topic Structure").
"""

from __future__ import annotations

from typing import Final

from pytest_blynk_ota.cloud.mqtt.packets import Reason

DOWNLINK: Final = "downlink"
UNASKED: Final = frozenset({"downlink/ota/json", "downlink/redirect", "downlink/diag"})
"""Sent at QoS 0 whether the device has subscribed or not."""
PING: Final = "downlink/ping"
"""Always sent with QoS 1: its PUBACK is the answer."""


def wrong_filter(text: str) -> tuple[Reason, str] | None:
    """Why a device may not subscribe to a filter; None if it may."""
    levels = text.split("/")
    if "+" in text:
        return Reason.NO_WILDCARD, "no + in a filter"
    if "#" in text and (levels[-1] != "#" or text.count("#") > 1):
        return Reason.BAD_FILTER, "# only at the end of a filter, as a level of its own"
    if levels[0] != DOWNLINK or len(levels) < 2:
        return Reason.NOT_AUTHORIZED, f"only what is below {DOWNLINK}/"
    return None


def matches(wanted: str, topic: str) -> bool:
    """Whether a filter that is not wrong takes in a topic."""
    if not wanted.endswith("/#"):
        return wanted == topic
    stem = wanted[: -len("/#")]
    return topic == stem or topic.startswith(stem + "/")


def names_in(pattern: str, topic: str) -> tuple[str, ...] | None:
    """What stands in the places of ``+``; None if the topic is not of this pattern."""
    places, levels = pattern.split("/"), topic.split("/")
    if len(places) != len(levels):
        return None
    names: list[str] = []
    for place, level in zip(places, levels, strict=True):
        if place == "+" and level:
            names.append(level)
        elif place != level:
            return None
    return tuple(names)
