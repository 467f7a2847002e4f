"""The statuses of a device in a Blynk.Air shipment, and which of them end it."""

from __future__ import annotations

from enum import StrEnum


class AirStatus(StrEnum):
    """The twelve statuses of a device in a Blynk.Air shipment, in the console's words."""

    STARTED = "Firmware Shipment Process Started"
    REQUEST_SENT = "Request sent"
    REQUESTED = "New Firmware Requested"
    DOWNLOADED = "Firmware Downloaded"
    SUCCESS = "Success"
    UPLOAD_FAILURE = "Upload failure"
    DOWNLOAD_LIMIT_REACHED = "Download limit reached"
    ROLLBACK = "Rollback"
    TYPE_MISMATCH = "Firmware type mismatch"
    VERSION_MISMATCH = "Firmware version mismatch"
    UPLOADED_TO_MOBILE = "Firmware uploaded to mobile"
    AWAITING_USER_ACTION = "Awaiting user action"


CLOSED: dict[AirStatus, str] = {
    AirStatus.SUCCESS: "success",
    AirStatus.DOWNLOAD_LIMIT_REACHED: "limit",
    AirStatus.ROLLBACK: "rollback",
    AirStatus.TYPE_MISMATCH: "type mismatch",
    AirStatus.VERSION_MISMATCH: "version mismatch",
}
"""Statuses that end a shipment, and the word of the ``ota/closed`` event."""

UPLOAD_FAILURE_CLOSED = "upload failure"
"""The same word for Upload failure, where the rules let it end a shipment."""

OPEN = frozenset(AirStatus) - CLOSED.keys()
"""Statuses in which a device may still be sent a URL."""
