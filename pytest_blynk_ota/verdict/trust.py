"""What a firmware took on trust: a file that its digest denied, another server. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pytest_blynk_ota.verdict.downloads_seen import DownloadSeen
from pytest_blynk_ota.verdict.fault_kinds import (
    CERTIFICATES,
    certificate_way,
    touched_digests,
    wrong_digests,
)
from pytest_blynk_ota.verdict.outcome import Finding, Outcome, Severity
from pytest_blynk_ota.verdict.rows import Case
from pytest_blynk_ota.verdict.sightings import Request

SEVERITIES = {"certificate date not checked": Severity.WARN}
"""Of a certificate; any other is an error. An old one helps only who stole its key, and a device
without a clock cannot tell."""

Found = Iterator[Finding]


def digest_not_checked(case: Case, outcome: Outcome) -> Found:
    """A file whose digest header was that of another one was taken, and ran."""
    held = frozenset(case.story.operation.ways.digests)
    for one in _taken(case):
        answers = [get for get in one.gets if get.status is not None and 200 <= get.status < 300]
        if not answers:
            continue
        wrong = frozenset.intersection(*(wrong_digests(_texts(get)) for get in answers))
        right = held.difference(*(touched_digests(_texts(get)) for get in answers))
        if wrong:
            guarded = right and not wrong & held
            yield Finding(
                "digest not checked",
                Severity.INFO if guarded else Severity.ERROR,
                f"{_names(wrong)} of {one.offer} was that of another file, and the image ran"
                + (f"; {_names(right)}, which this firmware looks at, was right" * bool(guarded)),
                tuple(fault.seq for get in answers for fault in get.fired),
            )


def certificate_not_checked(case: Case, outcome: Outcome) -> Found:
    """The device asked for the file, with its token, over TLS that it should not have agreed to."""
    told: dict[str, list[int]] = {}
    for one in case.story.downloads:
        asked = {request.conn: request for request in one.requests}
        for early in one.early:
            way = certificate_way(early.fired.text)
            if way and early.conn in asked:
                told.setdefault(way, []).extend((early.fired.seq, asked[early.conn].seq))
    for way, events in told.items():
        name = CERTIFICATES[way]
        yield Finding(
            name,
            SEVERITIES.get(name, Severity.ERROR),
            f"the firmware server's certificate was {CERTIFICATE_WORDS[way]}, "
            "and the device sent its request",
            tuple(events),
        )


CERTIFICATE_WORDS = {
    "unknown-ca": "of an unknown CA",
    "self-signed": "self-signed",
    "wrong-name": "for another host",
    "expired": "out of date",
    "not-yet-valid": "not valid yet",
}


def _taken(case: Case) -> Iterator[DownloadSeen]:
    """The downloads whose file came whole, and started next."""
    images = case.images
    if images.selected() is False:
        return
    for before, after in pairwise(images.ran):
        if after.image != images.new or before.image == images.new:
            continue
        of_it = [one for one in case.story.downloads if one.boot.index < after.boot.index]
        if of_it and of_it[-1].image == images.new and of_it[-1].ended == "complete":
            yield of_it[-1]


def _texts(request: Request) -> list[str]:
    return [fault.text for fault in request.fired]


def _names(headers: frozenset[str]) -> str:
    return " and ".join(sorted(headers))
