"""Anti-rollback: no application older than the eFuses say is started.

CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK of ESP-IDF: bootloader_utility.c (``check_anti_rollback``,
``update_anti_rollback``) and esp_efuse_fields.c. The check looks at the app description alone,
before the image is; the eFuses move up when a VALID entry is gone by, before its image is loaded.
"""

from __future__ import annotations

from pytest_blynk_ota.firmware.chips import Chip
from pytest_blynk_ota.firmware.decision import Log
from pytest_blynk_ota.firmware.image import DESC, DESC_AT, DESC_MAGIC
from pytest_blynk_ota.firmware.imagecheck import Problem, Reader
from pytest_blynk_ota.firmware.partitions import Partition

ESP_ERR_INVALID_ARG, ESP_ERR_NOT_FOUND = 0x102, 0x105
EFUSE_BITS = {"esp32": 32}
OTHER_EFUSE_BITS = 16
"""Width of SECURE_VERSION (esp_efuse_table.csv): one bit is burnt for each version."""


class SecureVersions:
    """What one boot compares and burns.

    Attributes:
        burnt: the version that was burnt; ``None``: none was.
    """

    def __init__(self, read: Reader, chip: Chip, in_efuses: int) -> None:
        self._read, self._in_efuses = read, in_efuses
        self._limit = EFUSE_BITS.get(chip.name, OTHER_EFUSE_BITS)
        self.burnt: int | None = None

    def greeting(self) -> tuple[Log, ...]:
        """What the bootloader says first."""
        return (
            Log("I", "boot", "Enabled a check secure version of app for anti rollback"),
            Log("I", "boot", f"Secure version (from eFuse) = {self._in_efuses}"),
        )

    def check(self, partition: Partition | None) -> tuple[tuple[Log, ...], Problem | None]:
        """Whether the application there may be started, and what is logged of it."""
        version = self._version(partition)
        if isinstance(version, Log):
            return (version,), Problem("secure_version", version.tag, version.text)
        if version < self._in_efuses:
            text = f"secure version {version} is below {self._in_efuses} in the eFuses"
            return (), Problem("secure_version", "boot", text)
        return (), None

    def update(self, partition: Partition | None) -> tuple[Log, ...]:
        """Burn the version of the application there, if it is higher."""
        version = self._version(partition)
        if isinstance(version, Log):
            return (version,)
        if version > self._limit:
            most = f"Max secure version is {self._limit}."
            return (Log("E", "efuse", f"{most} Given {version} version can not be written."),)
        if version <= self._in_efuses:
            return ()
        self.burnt = self._in_efuses = version
        text = f"Anti-rollback is set. eFuse field is updated({version})."
        return (Log("I", "efuse", text),)

    def _version(self, partition: Partition | None) -> int | Log:
        """``bootloader_common_get_partition_description``: the number, or the line why not."""
        if partition is None or partition.offset == 0:
            return _no_description(ESP_ERR_INVALID_ARG)
        raw = self._read(partition.offset, DESC_AT + DESC.size)
        magic, secure = (
            int.from_bytes(raw[at : at + 4], "little") for at in (DESC_AT, DESC_AT + 4)
        )
        return secure if magic == DESC_MAGIC else _no_description(ESP_ERR_NOT_FOUND)


def _no_description(code: int) -> Log:
    return Log("E", "boot", f"Failed to get partition description {code}")
