"""What to answer: faults, attempt and file in; status, headers and a byte schedule out. Pure.

The schedule is a list of steps that the server carries out in order. Offsets count body bytes.
At one offset: flipped bytes are over first, then rates change, then stalls, then the end.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from http import HTTPStatus

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.errors import FaultError

BODILESS = frozenset({204, 205, 304})
"""Statuses that carry no body (RFC 9110 15.3.5, 15.3.6, 15.4.5)."""

REACHES_END = frozenset({"stall", "reset"})
"""Faults that make sense after the last byte; for the others there must be a byte left."""

RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*")
"""One range; a list of ranges may be ignored (RFC 9110 14.2)."""


@dataclass(frozen=True, slots=True)
class Due:
    """A fault that is due in this download, with its place in the operation's list."""

    index: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Send:
    """Send the body up to ``stop``; ``rate`` in bytes per device second, None: at once.

    ``trickle``: byte by byte, as far as the clock can tell them apart.
    """

    stop: int
    rate: float | None = None
    trickle: bool = False


@dataclass(frozen=True, slots=True)
class Fire:
    """The fault takes effect now. ``flipped``: the offsets of changed bytes."""

    due: Due
    at: int
    flipped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Over:
    """The fault has ended; those never over end with the answer."""

    due: Due


@dataclass(frozen=True, slots=True)
class Hold:
    """Send nothing for so many device seconds; None: until the device goes away."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Cut:
    """Once all is acknowledged, end the connection here: ``fin`` or ``rst``. Fires its fault."""

    due: Due
    how: str
    at: int


Step = Send | Fire | Over | Hold | Cut


@dataclass(frozen=True, slots=True)
class Offered:
    """The facts about a file that its headers tell. ``about``: further headers, as x-fw-ver."""

    name: str
    size: int
    md5: str
    sha256: str
    about: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, name: str, data: bytes, about: Sequence[tuple[str, str]] = ()) -> Offered:
        """Measure a file; digests in hex."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return cls(name, len(data), md5, hashlib.sha256(data).hexdigest(), tuple(about))

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The digests as both Edgents read them: MD5 in hex, SHA-256 in base64 (44 chars)."""
        sha256 = base64.b64encode(bytes.fromhex(self.sha256)).decode("ascii")
        return (("x-MD5", self.md5), ("X-SHA256", sha256), *self.about)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: HTTP status.
        headers: without Content-Length, Date and Connection.
        length: the Content-Length; None: the header is not sent.
        announced: body bytes that the headers let the device expect; 0 for HEAD.
        steps: the schedule of the body.
        page: the body, if it is none of the file.
        span: the part of the file that is the body.
        flips: file offset and bit mask of each changed byte.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    length: int | None
    announced: int
    steps: tuple[Step, ...]
    page: bytes | None = None
    span: tuple[int, int] = (0, 0)
    flips: tuple[tuple[int, int], ...] = ()

    def body(self, data: bytes) -> memoryview:
        """The bytes to send, faults applied; no copy where nothing is changed."""
        if self.page is not None:
            return memoryview(self.page)
        if self.flips:
            changed = bytearray(data)
            for offset, mask in self.flips:
                changed[offset] ^= mask
            data = bytes(changed)
        return memoryview(data)[slice(*self.span)]

    def fires(self) -> frozenset[int]:
        """Places in the operation's list of the faults that this answer injects."""
        return frozenset(step.due.index for step in self.steps if isinstance(step, Fire | Cut))


def resolve(fault: Fault, size: int, name: str = "the file") -> int:
    """Where a fault begins, in body bytes of a file of ``size``.

    Raises:
        FaultError: that is outside of the file.
    """
    place = fault.at if fault.kind == "corrupt" else fault.after
    if isinstance(place, str):
        where = int(Fraction(place.rstrip("%")) * size / 100)
    else:
        where = size + place if place is not None and place < 0 else int(place or 0)
    last = size if fault.kind in REACHES_END else size - 1
    if not 0 <= where <= last:
        raise FaultError(
            f"{fault}: byte {where} is outside of {name} ({size} bytes), so the fault could "
            f"never fire; expected an offset that comes to 0..{last}"
        )
    return where


def flips_of(fault: Fault, size: int, name: str = "the file") -> tuple[tuple[int, int], ...]:
    """File offset and bit mask of each byte that a ``corrupt`` changes, ascending.

    Raises:
        FaultError: there are not so many bytes from its offset on.
    """
    first, count = resolve(fault, size, name), fault.flips or 1
    if first + count > size:
        raise FaultError(
            f"{fault}: {count} bytes from byte {first} on do not fit {name} ({size} bytes)"
        )
    chance = random.Random(fault.seed)
    offsets = [first, *sorted(chance.sample(range(first + 1, size), count - 1))]
    return tuple((offset, 1 << chance.randrange(8)) for offset in offsets)


def answer(
    file: Offered,
    faults: Sequence[Fault],
    attempt: int,
    *,
    method: str = "GET",
    range_header: str | None = None,
) -> Answer:
    """The answer to one request. A download with no fault due honours one Range."""
    due = [Due(index, fault) for index, fault in enumerate(faults) if fault.due(attempt)]
    for one in due:
        if one.fault.kind == "status":
            return _headless(_status_answer(one), method)
    span = (0, file.size)
    if range_header is not None and not due:
        part = parse_range(range_header, file.size)
        if part == "unsatisfiable":
            return _headless(_refused_range(file.size), method)
        if isinstance(part, tuple):
            return _headless(_part(file, part), method)
    flips = [
        flip
        for one in due
        if one.fault.kind == "corrupt"
        for flip in flips_of(one.fault, file.size, file.name)
    ]
    steps = schedule(due, file.size, file.name)
    whole = Answer(200, file.headers(), file.size, file.size, steps, span=span, flips=tuple(flips))
    return _headless(whole, method)


def plain(code: int, text: str, method: str = "GET", *headers: tuple[str, str]) -> Answer:
    """A short text page."""
    page = text.encode()
    steps = (Send(len(page)),)
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return _headless(Answer(code, (kind, *headers), len(page), len(page), steps, page=page), method)


def _headless(full: Answer, method: str) -> Answer:
    """For HEAD: the same headers and no body; a fault of the body does not fire."""
    if method != "HEAD":
        return full
    steps = tuple(
        step for step in full.steps if isinstance(step, Fire) and step.due.fault.kind == "status"
    )
    return Answer(full.status, full.headers, full.length, 0, steps, page=b"")


def _status_answer(due: Due) -> Answer:
    """The status asked for; a short page where that status has a body."""
    code = due.fault.code or 0
    fire = Fire(due, 0)
    if code in BODILESS:
        return Answer(code, (), None, 0, (fire,), page=b"")
    page = plain(code, f"{code} {reason(code)}\n")
    return Answer(
        code, page.headers, page.length, page.announced, (fire, *page.steps), page=page.page
    )


def reason(code: int) -> str:
    """The standard reason phrase, or ``Status`` where there is none."""
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Status"


def _refused_range(size: int) -> Answer:
    return plain(416, "416 Range Not Satisfiable\n", "GET", ("Content-Range", f"bytes */{size}"))


def _part(file: Offered, part: tuple[int, int]) -> Answer:
    """206 for the bytes ``part``; digests stay those of the whole file."""
    start, stop = part
    says = ("Content-Range", f"bytes {start}-{stop - 1}/{file.size}")
    return Answer(
        206, (says, *file.headers()), stop - start, stop - start, (Send(stop - start),), span=part
    )


def parse_range(text: str, size: int) -> tuple[int, int] | str | None:
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


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place in the body where something changes; `rank` orders those at one offset."""

    offset: int
    rank: int
    index: int
    steps: tuple[Step, ...]
    rate: tuple[float, bool] | None = None
    ends: bool = False


def _marks(due: Due, size: int, name: str) -> list[_Mark]:
    """The places of one fault."""
    fault, index = due.fault, due.index
    if fault.kind == "corrupt":
        flipped = tuple(offset for offset, _ in flips_of(fault, size, name))
        first = _Mark(flipped[0] + 1, 0, index, (Fire(due, flipped[0], flipped),))
        return [first, _Mark(flipped[-1] + 1, 1, index, (Over(due),))]
    at = resolve(fault, size, name)
    if fault.kind == "stall":
        tail: tuple[Step, ...] = (Hold(fault.seconds),)
        if fault.seconds is not None:
            tail += (Over(due),)
        return [
            _Mark(
                at,
                3 if fault.seconds else 4,
                index,
                (Fire(due, at), *tail),
                ends=fault.seconds is None,
            )
        ]
    if fault.kind in ("truncate", "reset"):
        how = "fin" if fault.kind == "truncate" else "rst"
        return [_Mark(at, 4, index, (Cut(due, how, at),), ends=True)]
    rate = float(fault.bytes_per_s or 0)
    return [_Mark(at, 2, index, (Fire(due, at),), rate=(rate, fault.kind == "drip"))]


def schedule(due: Sequence[Due], size: int, name: str = "the file") -> tuple[Step, ...]:
    """The steps of one body. Of several rates in force the slowest holds.

    Raises:
        FaultError: a fault is outside of the file.
    """
    steps: list[Step] = []
    pace: tuple[float, bool] | None = None
    sent = 0
    marks = [mark for one in due for mark in _marks(one, size, name)]
    for mark in sorted(marks, key=lambda mark: (mark.offset, mark.rank, mark.index)):
        if mark.offset > sent:
            steps.append(_send(mark.offset, pace))
            sent = mark.offset
        steps += mark.steps
        if mark.ends:
            return tuple(steps)
        if mark.rate is not None and (pace is None or mark.rate[0] < pace[0]):
            pace = mark.rate
    if sent < size:
        steps.append(_send(size, pace))
    return tuple(steps)


def _send(stop: int, pace: tuple[float, bool] | None) -> Send:
    return Send(stop) if pace is None else Send(stop, *pace)


def check(faults: Sequence[Fault], size: int, name: str) -> None:
    """Refuse faults that could never fire: a test would prove nothing with them.

    Raises:
        FaultError: one lies outside of the file, or others end each of its answers before it.
    """
    for fault in faults:
        if fault.kind == "corrupt":
            flips_of(fault, size, name)
        elif fault.kind != "status":
            resolve(fault, size, name)
    named = {number for fault in faults for number in fault.attempts or ()}
    file = Offered(name, size, "", "")
    fired: set[int] = set()
    for attempt in named | {max(named, default=0) + 1}:
        fired |= answer(file, faults, attempt).fires()
    for index, fault in enumerate(faults):
        if index not in fired:
            raise FaultError(
                f"{fault} could never fire: in each of its attempts another fault ends the "
                f"answer first ({', '.join(str(one) for one in faults if one is not fault)})"
            )
