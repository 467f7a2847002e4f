"""One answer of the firmware server: whether it came, and what it brought. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_blynk_ota.air.follow import LAST_SEGMENT_BYTES
from pytest_blynk_ota.verdict.fault_kinds import goes_beyond, is_page, kind_of, sends_the_file
from pytest_blynk_ota.verdict.sightings import Request

NOTHING_BEYOND = 416
"""What asks for bytes beyond the end of the file is answered with."""


def came(gets: Sequence[Request]) -> bool:
    """Whether the last of these answers, and if it is a part all before it too, came whole."""
    return acknowledged(gets[-1]) and (gets[-1].part is None or _covered(gets))


def acknowledged(one: Request) -> bool:
    """Whether all that its headers announced was acknowledged; no length: all sent, we closed."""
    if one.announced is None:
        return one.ended_by == "server" and one.ended_how == "complete"
    if _has_page(one):  # what of it was acknowledged before the device closed is chance
        return one.announced <= one.written
    return one.announced <= one.acked + (LAST_SEGMENT_BYTES if _left_unread(one) else 0)


def _left_unread(one: Request) -> bool:
    """Whether the device left bytes unread that came behind the announced ones: then its RST stands
    in place of the acknowledgement of the last segment, if it was not sent just before."""
    longer = one.announced is not None and one.written > one.announced
    beyond = longer or any(goes_beyond(fault.text) for fault in one.fired)
    return beyond and (one.ended_by, one.ended_how) == ("device", "rst")


def _covered(gets: Sequence[Request]) -> bool:
    """Whether the parts leave no gap. What lies before the first one the device has from earlier:
    a client that goes on after a reset asks for the rest alone."""
    spans = [(_first(one), _first(one) + one.acked) for one in gets if has_file(one)]
    total = gets[-1].part.total if gets[-1].part else None
    reached = spans[0][0] if spans else 0
    for first, stop in sorted(spans):
        if first > reached:
            return False
        reached = max(reached, stop)
    return total is None or reached >= total


def _first(one: Request) -> int:
    return one.part.first if one.part else 0


def _has_page(one: Request) -> bool:
    return any(is_page(fault.text) for fault in one.fired)


def has_file(one: Request) -> bool:
    """Whether an answer carries bytes of the file, whatever its status says."""
    if any(sends_the_file(fault.text) for fault in one.fired):
        return True
    good = one.status is None or 200 <= one.status < 300
    return good and not one.page and not _has_page(one)


def is_redirect(one: Request) -> bool:
    """Whether an answer leads on; a status of 3xx alone does not."""
    return any(kind_of(fault.text) == "redirect" for fault in one.fired)
