"""What the calls of esp_ota_ops.c refuse, and what they log then."""

from __future__ import annotations

from enum import StrEnum

LAST_WORDS = {
    "pending": "Running app has not confirmed state (ESP_OTA_IMG_PENDING_VERIFY)",
    "magic": "OTA image has invalid magic byte (expected 0xE9, saw 0x{:02x})",
    "verify": "New image failed verification",
    "factory": "Running firmware is factory",
    "rollback": "Rollback is not possible, do not have any suitable apps in slots",
    "secure": "This a new partition can not be booted due to a secure version is lower than stored "
    "in efuse. Partition will be erased.",
}
"""Lines at ERROR (esp_ota_ops.c)."""


class OtaError(StrEnum):
    """``ESP_ERR_OTA_*`` and the general codes that these calls return."""

    NO_PARTITION = "ESP_ERR_NOT_FOUND"
    INVALID_ARG = "ESP_ERR_INVALID_ARG"
    INVALID_SIZE = "ESP_ERR_INVALID_SIZE"
    FAIL = "ESP_FAIL"
    PARTITION_CONFLICT = "ESP_ERR_OTA_PARTITION_CONFLICT"
    VALIDATE_FAILED = "ESP_ERR_OTA_VALIDATE_FAILED"
    SMALL_SECURE_VERSION = "ESP_ERR_OTA_SMALL_SEC_VER"
    ROLLBACK_FAILED = "ESP_ERR_OTA_ROLLBACK_FAILED"
    ROLLBACK_INVALID_STATE = "ESP_ERR_OTA_ROLLBACK_INVALID_STATE"

    @property
    def code(self) -> int:
        """The number that ``%d`` and ``0x%x`` print."""
        return CODES[self]


CODES = {
    OtaError.NO_PARTITION: 0x105,
    OtaError.INVALID_ARG: 0x102,
    OtaError.INVALID_SIZE: 0x104,
    OtaError.FAIL: -1,
    OtaError.PARTITION_CONFLICT: 0x1501,
    OtaError.VALIDATE_FAILED: 0x1503,
    OtaError.SMALL_SECURE_VERSION: 0x1504,
    OtaError.ROLLBACK_FAILED: 0x1505,
    OtaError.ROLLBACK_INVALID_STATE: 0x1506,
}
"""esp_err.h, esp_ota_ops.h."""


class OtaRefused(Exception):
    """Raised when a call of esp_ota_ops returns an error.

    Attributes:
        error: which.
    """

    def __init__(self, error: OtaError) -> None:
        self.error = error
        super().__init__(error.value)
