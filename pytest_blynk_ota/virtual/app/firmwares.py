"""Which firmware an image is: one row for each ``profile`` of a behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pytest_blynk_ota.virtual.app.edgent_new import EdgentNew
from pytest_blynk_ota.virtual.app.edgent_old import EdgentOld
from pytest_blynk_ota.virtual.app.mqtt_idf import MqttIdf
from pytest_blynk_ota.virtual.app.reference import Reference
from pytest_blynk_ota.virtual.app.sketch import Sketch

if TYPE_CHECKING:
    from pytest_blynk_ota.virtual.app.context import Context, Firmware

FIRMWARES: Mapping[str, Callable[[Context], Firmware]] = {
    "edgent-old": EdgentOld,
    "edgent-new": EdgentNew,
    "mqtt-idf": MqttIdf,
    "reference": Reference,
    "sketch": Sketch,
}
