"""What Blynk.Air would show, and when it sends a URL. Pure: no sockets, no clock.

Blynk's documentation gives one sentence a status and no transitions (device-shipment-statuses);
where it is silent these defaults hold:

================  ==========================================================  ==================
Seen              Status after it                                             Also
================  ==========================================================  ==================
shipment starts   Firmware Shipment Process Started
login, not New    Request sent; from Success: Rollback; at the limit:         the URL is sent
                  Download limit reached
GET               New Firmware Requested                                      attempts + 1
whole file sent   Firmware Downloaded
login, New        Success, but only from Firmware Downloaded                  shipment closed
================  ==========================================================  ==================

The limit is checked before the URL is sent again. Success, the limit and Rollback close the
shipment; of these only Success can still turn, into Rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from pytest_blynk_ota.evidence.event import Event


class AirStatus(StrEnum):
    """The statuses of a device in a Blynk.Air shipment, in the console's words."""

    STARTED = "Firmware Shipment Process Started"
    REQUEST_SENT = "Request sent"
    REQUESTED = "New Firmware Requested"
    DOWNLOADED = "Firmware Downloaded"
    SUCCESS = "Success"
    UPLOAD_FAILURE = "Upload failure"
    """Never reached by default: after which silence Blynk decides for it is not documented."""
    DOWNLOAD_LIMIT_REACHED = "Download limit reached"
    ROLLBACK = "Rollback"
    TYPE_MISMATCH = "Firmware type mismatch"
    """Never reached by default: whether before or after the URL is sent is not documented."""
    VERSION_MISMATCH = "Firmware version mismatch"
    """Never reached by default, for the same reason."""
    UPLOADED_TO_MOBILE = "Firmware uploaded to mobile"
    """Only for updates over BLE by a phone."""
    AWAITING_USER_ACTION = "Awaiting user action"
    """Only where automatic updates are off for the device."""


CLOSED: dict[AirStatus, str] = {
    AirStatus.SUCCESS: "success",
    AirStatus.DOWNLOAD_LIMIT_REACHED: "limit",
    AirStatus.ROLLBACK: "rollback",
}
"""Statuses that end a shipment, and the word of the ``ota/closed`` event."""


def names(version: str, build: str, wanted_version: str | None, wanted_build: str | None) -> bool:
    """Whether a report names an image. A build that one side does not tell is no difference."""
    return version == wanted_version and (not build or not wanted_build or build == wanted_build)


class Shipment:
    """One device in one shipment.

    Args:
        limit: downloads before Air gives up; None: none, as for one bare offer.
        version: the version that New declares.
        build: the build that New declares, if it does.
    """

    def __init__(self, limit: int | None, version: str | None, build: str | None = None) -> None:
        self.limit = limit
        self.status = AirStatus.STARTED
        self._version = version
        self._build = build
        self._attempts: set[int] = set()

    def __repr__(self) -> str:
        limit = "no limit" if self.limit is None else f"limit {self.limit}"
        return f"<Shipment of {self._version}: {self.status}, {self.attempts} attempts, {limit}>"

    @property
    def attempts(self) -> int:
        """Downloads so far: GETs with a URL not used before."""
        return len(self._attempts)

    @property
    def closed(self) -> str | None:
        """``success``, ``limit`` or ``rollback`` once the shipment is over."""
        return CLOSED.get(self.status)

    def on_login(self, version: str, build: str = "") -> bool:
        """The device said what it runs. Returns whether it gets the URL (again)."""
        if names(version, build, self._version, self._build):
            if self.status is AirStatus.DOWNLOADED:
                self.status = AirStatus.SUCCESS
            return False
        if self.status is AirStatus.SUCCESS:
            self.status = AirStatus.ROLLBACK
        if self.closed:
            return False
        if self.limit is not None and self.attempts >= self.limit:
            self.status = AirStatus.DOWNLOAD_LIMIT_REACHED
            return False
        return True

    def on_sent(self) -> None:
        """The URL went out."""
        self._unless_closed(AirStatus.REQUEST_SENT)

    def on_get(self, attempt: int) -> None:
        """The device asked for the file; the firmware server numbers the downloads."""
        if attempt not in self._attempts:
            self._attempts.add(attempt)
            self._unless_closed(AirStatus.REQUESTED)

    def on_delivered(self) -> None:
        """The whole file was sent."""
        self._unless_closed(AirStatus.DOWNLOADED)

    def _unless_closed(self, status: AirStatus) -> None:
        if not self.closed:
            self.status = status


def air_status(events: Sequence[Event]) -> AirStatus:
    """What the console would show after these events, from Cloud and Delivery alone.

    Args:
        events: of one operation, from its ``ota/operation`` event on; more operations: the last.
    """
    shipment = Shipment(None, None)
    board: str | None = None
    statuses: dict[int, int] = {}
    for event in events:
        if (event.source, event.kind) == ("ota", "operation"):
            data = event.data
            new = data["images"].get(data["offered"], {})
            shipment = Shipment(data["limit"], new.get("version"), new.get("build"))
            board = event.board
        elif event.board in (board, None):
            _follow(shipment, event, statuses)
    return shipment.status


def _follow(shipment: Shipment, event: Event, statuses: dict[int, int]) -> None:
    """One event's effect. ``statuses``: the HTTP status last answered on each connection."""
    data = event.data
    match (event.source, event.kind):
        case ("cloud", "report"):
            shipment.on_login(data["version"], data["build"])
        case ("cloud", "ota_sent"):
            shipment.on_sent()
        case ("delivery", "request") if data["method"] == "GET":
            shipment.on_get(data["attempt"])
        case ("delivery", "response"):
            statuses[data["conn"]] = data["status"]
        case ("delivery", "ended") if is_whole_file(data, statuses.get(data["conn"], 200)):
            shipment.on_delivered()


def is_whole_file(ended: Mapping[str, Any], status: int) -> bool:
    """Whether a ``delivery/ended`` event tells of a file sent whole: no page, no HEAD, no 404."""
    return (
        ended["how"] == "complete"
        and not ended.get("page")
        and ended.get("announced") != 0
        and 200 <= status < 300
    )
