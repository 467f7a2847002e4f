"""Ways to provision of ours that a user's could be, too, under the names of the rig file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_blynk_ota.rig.provision.keys import NvsKeys

if TYPE_CHECKING:
    from pytest_blynk_ota.rig.extensions import Provisioning

OURS: dict[str, Callable[..., Provisioning]] = {"nvs": NvsKeys}
NAMES = tuple(OURS)
