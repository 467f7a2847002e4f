"""How a device goes through the statuses, as two tables. The machine does what they say.

``TRANSITIONS``: what happened, and the status after it. The first row that fits holds; where none
does, the status stays. A shipment that is closed for the device changes no more, but for a login
on another build after Success; the download limit is open again in the next reset period.

``GATES``: before each URL they are asked in order; the first one that is shut keeps the URL back,
and may say so in the status.

Sources: *statuses*, *new-shipping*, *user-controlled*, *management* are pages of Blynk's documents
(blynk.console/blynk.air: device-shipment-statues.md, new-shipping.md, user-controlled-shipments.md,
shipment-management); *ota-updates* is their page on the library. Where they are silent, the row
says which default we took and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_blynk_ota.air.status import OPEN, AirStatus
from pytest_blynk_ota.air.versions import newer_version

if TYPE_CHECKING:
    from pytest_blynk_ota.air.machine import Shipment

S = AirStatus


class Seen(StrEnum):
    """What can happen to a device in a shipment."""

    BEGIN = "the shipment begins"
    NEW = "login on New"
    OTHER = "login on another build"
    SENT = "the URL is sent"
    GET = "GET, a new download"
    WHOLE = "the whole file was sent"
    BROKEN = "the transfer ends early"
    SILENCE = "silence in a download"
    MOBILE = "a phone has the file"


@dataclass(frozen=True, slots=True)
class Row:
    """One transition.

    Attributes:
        seen: what happens.
        status: the statuses that it happens in.
        when: a word of ``GUARDS`` that has to hold; "": always.
        to: the status after it; None: it stays, and no later row is asked.
        source: a page of the documents, or ``default, because …``.
    """

    seen: Seen
    status: frozenset[AirStatus]
    when: str
    to: AirStatus | None
    source: str


GUARDS: Mapping[str, Callable[[Shipment], bool]] = {
    "": lambda ship: True,
    "the user decides": lambda ship: ship.rules.user_decides,
    "its type is another": lambda ship: ship.rules.type_mismatch == "after" and ship.other_type,
    "its version was never heard of": lambda ship: (
        ship.rules.version_mismatch and ship.strange_version
    ),
    "New was in for long enough": lambda ship: not ship.new_on_trial,
    "a broken transfer is a failure": lambda ship: ship.rules.upload_failure_on_break,
}

HAS_FILE = frozenset({S.DOWNLOADED, S.UPLOADED_TO_MOBILE})

TRANSITIONS: tuple[Row, ...] = (
    Row(
        Seen.BEGIN, OPEN, "the user decides", S.AWAITING_USER_ACTION,
        "user-controlled: the status as soon as the update is available",
    ),
    Row(
        Seen.BEGIN, OPEN, "", S.STARTED,
        "statuses: initiated. default, because a status is assigned for every device: offline "
        "ones have it too",
    ),
    Row(
        Seen.NEW, HAS_FILE, "its type is another", S.TYPE_MISMATCH,
        "statuses: shipped firmware of another template than the device's",
    ),
    Row(
        Seen.NEW, HAS_FILE, "", S.SUCCESS,
        "statuses: received, installed, reconnected with the new version; ota-updates",
    ),
    Row(
        Seen.NEW, frozenset({S.AWAITING_USER_ACTION}), "", S.STARTED,
        "default, because New runs already and the user has nothing to decide",
    ),
    Row(
        Seen.NEW, OPEN, "", None,
        "default, because Success says that the file was received, and it was not seen to be",
    ),
    Row(
        Seen.OTHER, frozenset({S.SUCCESS}), "New was in for long enough", S.ROLLBACK,
        "ota-updates: Old -> New -> Old. default, because the build that it went back to may be "
        "a third one",
    ),
    Row(
        Seen.OTHER, HAS_FILE, "its type is another", S.TYPE_MISMATCH,
        "statuses: was mistakenly sent to this device",
    ),
    Row(
        Seen.OTHER, HAS_FILE, "its version was never heard of", S.VERSION_MISMATCH,
        "statuses: does not match the expected shipment version; community thread 67089",
    ),
    Row(
        Seen.SENT, OPEN | {S.SUCCESS, S.DOWNLOAD_LIMIT_REACHED}, "", S.REQUEST_SENT,
        "statuses: a request with a download URL has been sent",
    ),
    Row(Seen.GET, OPEN, "", S.REQUESTED, "statuses: has asked the server for the file"),
    Row(
        Seen.WHOLE, OPEN, "", S.DOWNLOADED,
        "statuses: the transfer process has finished. default, because the server can only know "
        "what it has sent",
    ),
    Row(
        Seen.BROKEN, frozenset({S.REQUESTED}), "a broken transfer is a failure", S.UPLOAD_FAILURE,
        "statuses: could not be uploaded: network, device, corruption",
    ),
    Row(
        Seen.SILENCE, frozenset({S.REQUESTED}), "", S.UPLOAD_FAILURE,
        "statuses: could not be uploaded. default, because after the day that a download token "
        "lives nothing can come of this URL",
    ),
    Row(
        Seen.MOBILE, OPEN, "", S.UPLOADED_TO_MOBILE,
        "statuses: uploaded to a mobile device as part of the update (BLE)",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing that has to be so before a URL goes out.

    Attributes:
        word: what it is shut by; ``held`` of the machine.
        shut: whether it is shut.
        to: the status that says so; None: none does.
        source: a page of the documents, or ``default, because …``.
        for_good: whether only a hand, not time or the device, can open it.
    """

    word: str
    shut: Callable[[Shipment], bool]
    to: Callable[[Shipment], AirStatus | None]
    source: str
    for_good: bool = False


def _status(status: AirStatus | None) -> Callable[[Shipment], AirStatus | None]:
    return lambda ship: status


def _newer(ship: Shipment) -> AirStatus | None:
    """Under the condition "lower version" a newer device is a case that the documents name."""
    newer = ship.rules.condition == "lower version" and newer_version(ship.runs, ship.new)
    return S.VERSION_MISMATCH if newer else None


GATES: tuple[Gate, ...] = (
    Gate("cancelled", lambda ship: ship.cancelled, _status(None),
         "management: Cancel. default, because no page names a status: the last one stays", True),
    Gate("not chosen", lambda ship: not ship.chosen, _status(None),
         "new-shipping: Devices Selection Table", True),
    Gate("paused", lambda ship: ship.paused, _status(None),
         "management: Pause. default, because no page names a status: the last one stays", True),
    Gate(
        "type mismatch",
        lambda ship: ship.rules.type_mismatch == "before" and ship.other_type,
        _status(S.TYPE_MISMATCH),
        "statuses: does not match the shipment requirements",
        True,
    ),
    Gate(
        "condition not met", lambda ship: not ship.meets_condition, _newer,
        "new-shipping: Apply Update if the Device has; statuses: already running a newer version "
        "is Firmware version mismatch. default, because no page names a status for the rest",
        True,
    ),
    Gate(
        "limit", lambda ship: ship.at_limit, _status(S.DOWNLOAD_LIMIT_REACHED),
        "statuses: default 3 downloads per 24 hours. default, because a device is stopped "
        "(new-shipping) when it would be tried again: asked before each URL",
    ),
    Gate(
        "awaiting the user", lambda ship: ship.rules.user_decides and not ship.clicked,
        _status(S.AWAITING_USER_ACTION),
        "user-controlled: on hold until the click on Update Firmware; Critical Shipment ignores it",
        True,
    ),
    Gate(
        "window", lambda ship: not ship.clicked and not ship.rules.in_window(ship.now),
        _status(None),
        "new-shipping: Preferred time, by the device's zone; user-controlled: ignored after a "
        "click. default, because no page names a status for the wait",
    ),
    Gate(
        "its stage has not begun", lambda ship: not ship.released, _status(None),
        "default, because a fault of New should meet few devices first; no page describes stages",
        True,
    ),
)  # fmt: skip


def row_of(ship: Shipment, seen: Seen) -> Row | None:
    """The row that holds for what has just been seen; None: nothing changes."""
    return next(
        (
            row
            for row in TRANSITIONS
            if row.seen is seen and ship.status in row.status and GUARDS[row.when](ship)
        ),
        None,
    )
