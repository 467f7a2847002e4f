"""Refuses faults that could never fire: a test would prove nothing with them. Pure.

Each fault is tried in answers to requests that are as good to it as its clauses allow, together
with those that are sure to be due there too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.kinds import seconds_of
from pytest_blynk_ota.delivery.plan.answer import composed
from pytest_blynk_ota.delivery.plan.content import content
from pytest_blynk_ota.delivery.plan.ledger import Ledger
from pytest_blynk_ota.delivery.plan.offered import Offered
from pytest_blynk_ota.delivery.plan.request import Request
from pytest_blynk_ota.delivery.plan.schedule import TLS_ENDS
from pytest_blynk_ota.delivery.plan.spoil import SPOILS, Touched
from pytest_blynk_ota.delivery.steps import Due
from pytest_blynk_ota.delivery.when import Asked
from pytest_blynk_ota.errors import FaultError

MULTIPLES = 12
"""So many downloads of an ``on every`` are tried behind the last that any fault names."""

NO_SUCH_BOARD = ""


def check(
    faults: Sequence[Fault],
    data: bytes,
    name: str,
    *,
    https: bool = False,
    others: Mapping[str, bytes] | None = None,
    about: Sequence[tuple[str, str]] = (),
) -> None:
    """Refuse faults that could never fire, or contradict each other.

    Args:
        faults: the operation's list.
        data, name: the file on offer.
        https: whether its URLs are https ones.
        others: the files that ``other`` names, by path.
        about: further headers of the file.

    Raises:
        FaultError: one lies outside of the file, changes nothing, has no headers to act on, or
            others come before it in each download that it is due in.
    """
    file, known = Offered.of(name, data, about), others or {}
    trial = _Trial(file, data, tuple(faults), known)
    for index, fault in enumerate(faults):
        if fault.kind == "tls" and not https:
            raise FaultError(f"{fault} needs an https URL, and {name} is offered by http")
        # One that need not fire may be hidden by others, but by itself it has to be able to.
        alone = fault.when.may
        why = _Trial(file, data, (fault,), known).never(0) if alone else trial.never(index)
        if why is not None:
            raise FaultError(f"{fault} could never fire: {why}")


def before_request(fault: Fault) -> bool:
    """Whether it acts before a request comes: on the connection, not in the answer."""
    if fault.kind == "tls":
        return fault.values["how"] not in TLS_ENDS
    return fault.kind == "unreachable"


def lets_none_in(fault: Fault) -> bool:
    """Whether no request can come while it is in force, whatever the device does."""
    if fault.kind == "unreachable":
        return "seconds" not in fault.values
    return fault.kind == "tls" and fault.values["how"] in (
        "stalled-handshake",
        "cut-handshake",
        "version",
    )


@dataclass(frozen=True)
class _Trial:
    """The file, and the faults to try on it."""

    file: Offered
    data: bytes
    faults: tuple[Fault, ...]
    others: Mapping[str, bytes]
    attempts: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        named = {number for fault in self.faults for number in fault.when.named()}
        near = {number + by for number in named for by in (-1, 0, 1) if number + by > 0}
        last = max(named, default=1)
        steps = {fault.when.every for fault in self.faults if fault.when.every}
        far = {(last // step + n) * step for step in steps for n in range(1, MULTIPLES + 1)}
        object.__setattr__(self, "attempts", frozenset(near | far))

    def never(self, index: int) -> str | None:
        """Why a fault fires in none of its downloads; None: it fires in one."""
        reasons: list[str] = []
        for together in self._company(index):
            for request in self._requests(index, together):
                why = self._tried(index, together, request)
                if why is None:
                    return None
                if why not in reasons:
                    reasons.append(why)
        return reasons[0] if reasons else "no download has it due"

    def _company(self, index: int) -> Iterator[tuple[int, ...]]:
        """Which faults are due together with it, in each of its downloads; most of them are
        alike."""
        fault, seen = self.faults[index], set[tuple[int, ...]]()
        for attempt in sorted(self.attempts):
            for board in fault.when.boards or (NO_SUCH_BOARD,):
                if not fault.when.might(attempt, board):
                    continue
                together = tuple(
                    place
                    for place, one in enumerate(self.faults)
                    if place == index or (one.when.is_sure and one.when.might(attempt, board))
                )
                if together not in seen:
                    seen.add(together)
                    yield together

    def _requests(self, index: int, together: Sequence[int]) -> Iterator[Request]:
        """Requests in which it may be due, the plainest first, and those that redirects lead to."""
        hops = {self.faults[place].values.get("hops", 0) for place in together} | {0}
        for headers in _headers(self.faults[index], self.file.size):
            asked = Asked(1, headers=headers)
            for hop in sorted(hops):
                yield Request(self.file, self.data, asked, hop=hop, others=self.others)

    def _tried(self, index: int, together: Sequence[int], request: Request) -> str | None:
        """Why it does not act in one answer; None: it does."""
        fault = self.faults[index]
        for place in together:
            other = self.faults[place]
            if place != index and lets_none_in(other):
                return f"{other} lets no request come"
            if place < index and before_request(other) and before_request(fault):
                return f"{other} is what the connection meets"
        if before_request(fault):
            return None
        due = [Due(place, self.faults[place]) for place in together]
        ledger = Ledger(due)
        if index not in composed(request, ledger).fires():
            return ledger.idle.get(index, "it has nothing to act on")
        if _lost(index, content(request, Ledger(due)).touched, self.faults):
            return "none of the bytes that it changes is left as it makes them"
        for place in together:
            if place < index and _clock_and_bytes(self.faults[place], fault):
                return f"which of two rates comes first is open: {self.faults[place]}"
        return None


def _headers(fault: Fault, size: int) -> Iterator[Mapping[str, str]]:
    """Headers of requests in which it may be due, the plainest first."""
    name, value = fault.when.header or ("", None)
    own = {name.lower(): value or "1"} if name else {}
    any_range = "range" in own and value is None
    if not any_range:
        yield own
    if any_range or (fault.kind == "ranges" and "range" not in own):
        for one in (f"bytes={size // 2}-", "bytes=1-", "bytes=0-"):
            yield {**own, "range": one}


def _lost(index: int, touched: Mapping[int, Touched], faults: Sequence[Fault]) -> bool:
    """Whether faults that act after it, or like it, change each byte that it has changed."""
    if index not in touched:
        return False
    order = list(SPOILS)
    rank = order.index(faults[index].kind)
    others = sorted(
        row
        for place, what in touched.items()
        if place != index and order.index(faults[place].kind) >= rank
        for row in what.rows()
    )
    return all(_covered(row, others) for row in touched[index].rows())


def _covered(row: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    """Whether all bytes from one place to before another lie in others, which ascend."""
    at, stop = row
    for first, last in others:
        if first > at:
            break
        at = max(at, last)
    return at >= stop


def _clock_and_bytes(first: Fault, second: Fault) -> bool:
    """Whether one slows down by the clock and the other from a later byte on."""
    slow = [one.values["after"] for one in (first, second) if one.kind in BODY_PACES]
    fixed = [after for after in slow if seconds_of(after) is None]
    return len(slow) == 2 and len(fixed) == 1 and fixed[0] != 0


BODY_PACES = ("drip", "bandwidth", "segments")
