"""The messages that the cloud sends of its own accord; no I/O.

Source: Blynk documentation, device-mqtt-api (OTA, Miscellaneous, "Server Redirect").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pytest_blynk_ota.cloud.link import OtaRequest
from pytest_blynk_ota.cloud.mqtt.packets import MAX_BYTES, Publish
from pytest_blynk_ota.errors import UsageError

OTA_TAG: Final = ("type", "ver", "build")
"""Only what the tag of the file says, in this order."""
COMMANDS: Final[Mapping[str, str]] = {
    "reboot": "downlink/reboot",
    "reconfigure": "downlink/reconfigure",
    "ping": "downlink/ping",
}
"""What the menu of a device offers: command and topic; the payload is empty."""
PATHS: Final[Mapping[str, str]] = {"ws": "/mqtt", "wss": "/mqtt"}
DIAG_BYTES: Final = MAX_BYTES - 2 - len("downlink/diag")


def ota(request: OtaRequest) -> Publish:
    """Tell a device to update."""
    tag = dict(request.tag)
    about = {"url": request.url, "size": request.size}
    about |= {key: tag[key] for key in OTA_TAG if tag.get(key)}
    return Publish("downlink/ota/json", json.dumps(about).encode())


def redirect(scheme: str, host: str, port: int) -> Publish:
    """Send a device to another server."""
    uri = f"{scheme}://{host}:{port}{PATHS.get(scheme, '')}"
    return Publish("downlink/redirect", uri.encode())


def command(board: str, text: str) -> Publish:
    """A command of the menu.

    Raises:
        UsageError: there is none of that name.
    """
    if text not in COMMANDS:
        raise UsageError(
            f"board {board}: {text!r} would be for a console, and a device on MQTT has none that "
            f"the cloud can reach; expected {', '.join(COMMANDS)}"
        )
    return Publish(COMMANDS[text])


def diag(why: str) -> Publish:
    """Tell the developers of a device what it does wrong."""
    return Publish("downlink/diag", why.encode()[:DIAG_BYTES].decode(errors="ignore").encode())
