"""Ways that write what they know before the board starts: into its NVS, or into its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_blynk_ota.errors import RigError
from pytest_blynk_ota.firmware.compiled import DEFAULT_HOST
from pytest_blynk_ota.firmware.derive import pointed, provisioned
from pytest_blynk_ota.firmware.nvs import edgent_config
from pytest_blynk_ota.rig.extensions import SETTINGS, Provisioning, Settings

if TYPE_CHECKING:
    from pytest_blynk_ota.firmware.partitions import PartitionTable

NVS = "nvs"
"""The label of the partition that ``nvs_flash_init()`` opens."""


def without_nvs(table: PartitionTable) -> Mapping[str, bytes]:
    """An older life's settings must not come before those that an image has."""
    return {NVS: b""} if table.find(NVS) else {}


class Nothing(Provisioning):
    """The firmware has all its settings, or has learned them from somebody else."""

    gives = ()


class EdgentNvs(Provisioning):
    """An NVS partition with the settings as old Edgent keeps them; new Edgent moves them in."""

    def flash(self, settings: Settings, table: PartitionTable) -> Mapping[str, bytes]:
        """The partition. Raises FirmwareError: a setting is longer than the firmware's field."""
        part = table.find(NVS)
        if part is None:
            raise RigError(f"the board has no partition {NVS!r}, where Edgent keeps its settings")
        config = edgent_config(
            ssid=settings.ssid,
            password=settings.passphrase,
            token=settings.token,
            host=settings.host,
            port=settings.port,
            size=part.size,
        )
        return {NVS: config}


class InImage(Provisioning):
    """Compiled into images that are made from recipes; virtual boards run those alone."""

    built_in = SETTINGS

    def flash(self, settings: Settings, table: PartitionTable) -> Mapping[str, bytes]:
        """No settings in NVS."""
        return without_nvs(table)


class EdgentBlob(Provisioning):
    """Old Edgent's ``blnkopt`` section, in the image itself; NVS is empty before each start."""

    def flash(self, settings: Settings, table: PartitionTable) -> Mapping[str, bytes]:
        """No settings in NVS."""
        return without_nvs(table)

    def image(self, settings: Settings, data: bytes) -> bytes:
        """Raises FirmwareError: there is no section, no room in it, or the image is signed."""
        return provisioned(
            data,
            ssid=settings.ssid,
            passphrase=settings.passphrase,
            token=settings.token,
            host=settings.host,
            port=settings.port,
        )


class Patch(Provisioning):
    """Another host and other TLS roots than the image was built with, in their places.

    Args:
        host: that it was built with.

    Raises:
        ValueError: that is none.
    """

    gives = ("host", "ca")
    built_in = ("port", "token", "ssid", "passphrase")

    def __init__(self, host: str = DEFAULT_HOST) -> None:
        if not isinstance(host, str) or not host.isascii() or not host or " " in host:
            raise ValueError(
                f'host: expected the host that the firmware was built with, as "{DEFAULT_HOST}", '
                f"got {host!r}"
            )
        self._host = host

    def image(self, settings: Settings, data: bytes) -> bytes:
        """Raises FirmwareError: host or roots are not there, have no room, or it is signed."""
        return pointed(data, default_host=self._host, host=settings.host, ca=settings.ca)
