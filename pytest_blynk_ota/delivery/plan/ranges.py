"""Range and its preconditions, as RFC 9110 asks of a plain file server. Pure."""

from __future__ import annotations

import re
from typing import Literal

from pytest_blynk_ota.delivery.plan.request import Request

Part = tuple[int, int]
"""First byte, and the one past the last."""

RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
"""One range; a list of ranges may be ignored (RFC 9110 14.2)."""


def parse_range(text: str, size: int) -> Part | Literal["unsatisfiable"] | None:
    """First and past-the-last byte; ``unsatisfiable``; None: ignore it (RFC 9110 14.1.2)."""
    found = RANGE.fullmatch(text)
    if not found or found[1] == found[2] == "":
        return None
    if found[1] == "":
        count = min(int(found[2]), size)
        return (size - count, size) if count else "unsatisfiable"
    start, stop = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    if found[2] and int(found[2]) < start:
        return None
    return (start, stop) if start < size else "unsatisfiable"


def wanted(request: Request, etag: str | None, size: int) -> Part | str | None:
    """What :func:`parse_range` makes of the request; None where Range does not count.

    If-Range holds for a strong ETag alone; there is no Last-Modified that a date could match
    (RFC 9110 13.1.5).
    """
    text, condition = request.header("range"), request.header("if-range")
    if text is None or request.method != "GET":
        return None
    if condition is not None and (condition != etag or condition.startswith("W/")):
        return None
    return parse_range(text, size)


def precondition(request: Request, etag: str | None) -> int | None:
    """304 or 412 in place of the file (RFC 9110 13.2.2); None: go on. Dates are not looked at:
    there is no Last-Modified."""
    match, none_match = request.header("if-match"), request.header("if-none-match")
    if match is not None and match != "*" and not _listed(match, etag, weak=False):
        return 412
    if none_match is not None and (none_match == "*" or _listed(none_match, etag, weak=True)):
        return 304
    return None


def _listed(value: str, etag: str | None, *, weak: bool) -> bool:
    """Whether an ETag stands in a list, by weak or strong comparison (RFC 9110 8.8.3.2)."""
    if etag is None or (not weak and etag.startswith("W/")):
        return False
    tags = re.findall(r'(?:W/)?"[^"]*"', value)
    return any((tag.removeprefix("W/") if weak else tag) == etag.removeprefix("W/") for tag in tags)
