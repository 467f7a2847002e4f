"""Ways to provision of ours, under the names of the rig file; a user's have the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_blynk_ota.rig.provision.console import EdgentConsole
from pytest_blynk_ota.rig.provision.keys import NvsKeys
from pytest_blynk_ota.rig.provision.plain import EdgentBlob, EdgentNvs, InImage, Nothing, Patch

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.extensions import Provisioning

OURS: dict[str, type[Provisioning]] = {
    "edgent-nvs": EdgentNvs,
    "edgent-console": EdgentConsole,
    "edgent-blob": EdgentBlob,
    "nvs": NvsKeys,
    "patch": Patch,
    "image": InImage,
    "none": Nothing,
}
NAMES = tuple(OURS)
