"""Relays in the network: Shelly (generation 2 and later) and Tasmota.

What is told is read back: a relay that says 200 and does nothing is noticed before the board is
asked. Whether the board has lost its power, only the board can prove.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

ANSWER_S = 4.0
"""Wall seconds for one answer; a switch takes two, and has 10."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Relays stand in the rack's own network: a proxy of the environment is not for them."""
SHOWN = 200
"""Letters of an unexpected answer that an error shows."""


class RelayFailed(Exception):
    """Raised when a relay does not do what it was told."""


class Shelly:
    """A relay of a Shelly device of generation 2 or later, by its RPC over HTTP.

    Source: shelly-api-docs.shelly.cloud/gen2, ``Switch.Set`` and ``Switch.GetStatus``.

    Args:
        url: of the device, as ``http://192.168.1.20``.
        channel: of the relay, from 0.
    """

    def __init__(self, url: str, channel: int = 0) -> None:
        self._url, self._channel = url.rstrip("/"), channel

    def switch(self, on: bool) -> None:
        """Raises RelayFailed when it did not work."""
        told = {"id": self._channel, "on": str(on).lower()}
        _answer(f"{self._url}/rpc/Switch.Set?{urlencode(told)}", HINT_SHELLY)
        now = _answer(f"{self._url}/rpc/Switch.GetStatus?id={self._channel}", HINT_SHELLY)
        if now.get("output") is not on:
            raise RelayFailed(f"it was told {_word(on)}, and says {_shown(now)}")


HINT_SHELLY = (
    "a Shelly of generation 1 has another interface, and one with a password wants digest "
    'authentication: use power = { driver = "labgrid:shelly_gen1", … } or { command = … }'
)


class Tasmota:
    """A relay of a device that runs Tasmota, by its web commands.

    Source: tasmota.github.io/docs/Commands, ``/cm?cmnd=Power<x>``.

    Args:
        url: of the device, as ``http://192.168.1.21``.
        channel: of the relay, from 1.
        user, password: of its web interface, where it has a password.
    """

    def __init__(self, url: str, channel: int = 1, user: str = "admin", password: str = "") -> None:
        self._url, self._channel = url.rstrip("/"), channel
        self._who = {"user": user, "password": password} if password else {}

    def switch(self, on: bool) -> None:
        """Raises RelayFailed when it did not work."""
        self._command(f"Power{self._channel} {_word(on)}", on)
        self._command(f"Power{self._channel}", on)

    def _command(self, text: str, on: bool) -> None:
        said = _answer(f"{self._url}/cm?{urlencode(self._who | {'cmnd': text})}", HINT_TASMOTA)
        names = {f"POWER{self._channel}"} | ({"POWER"} if self._channel == 1 else set())
        state = next((said[name] for name in names if name in said), None)
        if state != _word(on):
            raise RelayFailed(f"{text!r}: expected {_word(on)}, it says {_shown(said)}")


HINT_TASMOTA = "does it run Tasmota, and does it want a password?"


def _word(on: bool) -> str:
    return "ON" if on else "OFF"


def _shown(answer: object) -> str:
    return json.dumps(answer)[:SHOWN]


def _answer(url: str, hint: str) -> dict[str, Any]:
    """What a relay answers. The URL may hold a password, so no message shows more than its host.

    Raises:
        RelayFailed: nothing, an error, or no JSON object.
    """
    host = url.partition("//")[2].partition("/")[0]
    try:
        with DIRECT.open(url, timeout=ANSWER_S) as answer:
            text = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        raise RelayFailed(f"{host} answers {error.code} {error.reason}; {hint}") from None
    except (OSError, ValueError) as error:  # URLError is an OSError
        raise RelayFailed(
            f"{host} does not answer ({getattr(error, 'reason', error)}); is it on, in this "
            f"network, and its URL right?"
        ) from None
    try:
        said = json.loads(text)
    except ValueError:
        said = text
    if not isinstance(said, dict):
        raise RelayFailed(f"{host} answers {_shown(said)}, expected a JSON object; {hint}")
    return said
