"""What a device publishes, and what the cloud makes of it; no I/O.

Source of all rules: Blynk documentation, device-mqtt-api (Datastreams, Widget Properties, Events,
Metadata, Timezone/Location, Authentication).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pytest_blynk_ota.cloud.device import MAX_KEPT, Device, field
from pytest_blynk_ota.cloud.mqtt.packets import MAX_BYTES
from pytest_blynk_ota.cloud.mqtt.topics import names_in

INFO_WORDS: Final[Mapping[str, str]] = {
    # Key of an `info/mcu`: what the binary protocol calls it (there `ver` is the library's).
    "ver": "mcu",
    "build": "build",
    "type": "fw-type",
    "tmpl": "tmpl",
    "rxbuff": "buff-in",
}


UNSPEAKABLE: Final = re.compile(r"\\u0000|[\ud800-\udfff]")
"""In JSON: what no text of the binary protocol, and no UTF-8, can hold."""


class NotTaken(Exception):
    """Raised when the cloud does nothing with a message; the text says why."""


class Uplinks:
    """Takes the messages of one session.

    Args:
        say: puts something on record.
        downlink: sends a message to the device, if it has subscribed to it.

    Attributes:
        informed: whether the device has said what it is, on this connection.
    """

    def __init__(
        self, device: Device, number: int, keepalive_s: int,
        say: Callable[..., None], downlink: Callable[[str, str], object],
    ) -> None:  # fmt: skip
        self._device = device
        self._number = number
        self._keepalive_s = keepalive_s
        self._say = say
        self._downlink = downlink
        self.informed = False

    def take(self, topic: str, payload: bytes) -> None:
        """Do what a message asks for.

        Raises:
            NotTaken: it is on no topic of a device, or cannot be read.
        """
        text = _text(payload)
        for pattern, rule in UPLINKS:
            names = names_in(pattern, topic)
            if names is not None:
                rule(self, text, *names)
                return
        raise NotTaken(f"a device does not publish on {topic!r}")

    def _info(self, text: str) -> None:
        said = _json(text, dict, "info/mcu")
        pairs = {key: _word(value) for key, value in said.items()}
        words = {INFO_WORDS[key]: value for key, value in pairs.items() if key in INFO_WORDS}
        if words.get("buff-in", "").isdecimal():  # no longer message than MQTT's API has
            words["buff-in"] = str(min(int(words["buff-in"][:9]), MAX_BYTES))
        if self._keepalive_s:
            words["h-beat"] = str(self._keepalive_s)
        now = time.monotonic()
        self.informed = True
        report = self._device.informed(words, self._number, now)
        self._say("info", t=now, pairs=pairs)
        if report is not None:
            self._say("report", t=now, version=report.version, build=report.build,
                      fw_type=field(words, "fw_type"))  # fmt: skip

    def _keep(self, name: str, values: tuple[str, ...]) -> None:
        if not self._device.values.keep(name, values):
            raise NotTaken(f"ds/{name}: {MAX_KEPT} datastreams are kept, and no further ones")

    def _value(self, text: str, name: str) -> None:
        self._keep(name, tuple(text.split("\0")))

    def _batch(self, text: str) -> None:
        for name, value in _json(text, dict, "batch_ds").items():
            values = value if isinstance(value, list) else [value]
            self._keep(name, tuple(map(_word, values)))

    def _timestamped(self, text: str, name: str) -> None:
        points = _json(text, list, "timestamped_batch")
        if not points or not all(
            isinstance(point, list) and len(point) == 2 and isinstance(point[0], int | float)
            for point in points
        ):
            raise NotTaken("a timestamped_batch: expected [[milliseconds, value], …]")
        _, value = max(points, key=lambda point: point[0])
        self._keep(name, (_word(value),))

    def _erase(self, _: str, name: str) -> None:
        self._device.values.pop(name, None)

    def _property(self, text: str, *names: str) -> None:
        """For a dashboard, of which there is none."""

    def _event(self, text: str, code: str) -> None:
        self._say("log_event", code=code, text=text)

    def _meta(self, text: str, name: str) -> None:
        if "\0" in text:
            raise NotTaken(f"meta/{name}: a value with a NUL")
        if not self._device.meta.keep(name, text):
            raise NotTaken(f"meta/{name}: {MAX_KEPT} metafields are kept, and no further ones")
        self._say("meta", field=name, value=text)

    def _get_values(self, text: str) -> None:
        for name in text.split(","):
            if name in self._device.values:
                self._downlink(f"downlink/ds/{name}", "\0".join(self._device.values[name]))

    def _get_all_values(self, _: str) -> None:
        self._get_values(",".join(self._device.values))

    def _get_meta(self, text: str) -> None:
        for name in text.split(","):
            self._downlink(f"downlink/meta/{name}", self._device.meta.get(name, ""))

    def _get_time(self, _: str) -> None:
        """In UTC: the cloud knows of no place or zone, and then the documentation says UTC."""
        now = datetime.now(UTC)
        said = {"tz_name": "UTC", "tz_rule": "UTC0", "tz_offset": 0, "dst_offset": 0,
                "time": int(now.timestamp() * 1000),
                "iso8601": now.isoformat(timespec="seconds")}  # fmt: skip
        self._downlink("downlink/utc/all/json", json.dumps(said))

    def _get_place(self, _: str) -> None:
        raise NotTaken("get/loc/all: this cloud does not know where a device is")


UPLINKS: Final[tuple[tuple[str, Callable[..., None]], ...]] = (
    ("info/mcu", Uplinks._info),
    ("ds/+", Uplinks._value),
    ("batch_ds", Uplinks._batch),
    ("ds/+/timestamped_batch", Uplinks._timestamped),
    ("ds/+/erase", Uplinks._erase),
    ("ds/+/prop/+", Uplinks._property),
    ("ds/+/prop/+/erase", Uplinks._property),
    ("event/+", Uplinks._event),
    ("meta/+", Uplinks._meta),
    ("get/ds", Uplinks._get_values),
    ("get/ds/all", Uplinks._get_all_values),
    ("get/meta", Uplinks._get_meta),
    ("get/utc/all/json", Uplinks._get_time),
    ("get/loc/all", Uplinks._get_place),
)
"""Every topic of a device."""


def known(topic: str) -> bool:
    """Whether a device may publish on a topic."""
    return any(names_in(pattern, topic) is not None for pattern, _ in UPLINKS)


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise NotTaken("a payload that is no UTF-8") from None


def _json(text: str, kind: type, what: str) -> Any:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise NotTaken(f"{what}: the payload is no JSON") from None
    if UNSPEAKABLE.search(json.dumps(said, ensure_ascii=False)):
        raise NotTaken(f"{what}: the payload has a NUL or half a character in a text")
    if not isinstance(said, kind):
        raise NotTaken(f"{what}: expected a JSON {'object' if kind is dict else 'array'}")
    return said


def _word(value: object) -> str:
    """A JSON value as the binary protocol would send it."""
    return value if isinstance(value, str) else json.dumps(value)
