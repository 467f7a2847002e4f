"""Refuses faults that could never fire: a test would prove nothing with them. Pure.

Each fault is tried in answers to requests that are as good to it as its clauses allow, together
with those that are sure to be due there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.plan.answer import composed
from pytest_blynk_ota.delivery.plan.ledger import Ledger
from pytest_blynk_ota.delivery.plan.offered import Offered
from pytest_blynk_ota.delivery.plan.offsets import resolve
from pytest_blynk_ota.delivery.plan.request import Request
from pytest_blynk_ota.delivery.plan.schedule import TLS_ENDS
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
    trial = _Trial(Offered.of(name, data, about), data, tuple(faults), others or {})
    for index, fault in enumerate(faults):
        if fault.kind == "tls" and not https:
            raise FaultError(f"{fault} needs an https URL, and {name} is offered by http")
        why = trial.never(index)
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
            for headers in _requests(self.faults[index], self.file.size):
                why = self._tried(index, together, headers)
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

    def _tried(self, index: int, together: Sequence[int], headers: Mapping[str, str]) -> str | None:
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
        ledger = Ledger([Due(place, self.faults[place]) for place in together])
        asked = Asked(1, headers=headers)
        reply = composed(Request(self.file, self.data, asked, others=self.others), ledger)
        if index not in reply.fires():
            return ledger.idle.get(index, "it has nothing to act on")
        return self._hidden(index, together)

    def _hidden(self, index: int, together: Sequence[int]) -> str | None:
        """Whether another fault undoes what this one does to the bytes, or to the clock."""
        fault = self.faults[index]
        for check in (_same_bytes, _clock_and_bytes):
            for place in together:
                if place < index and check(self.faults[place], fault, self.file.size):
                    return f"{HIDDEN[check]} {self.faults[place]}"
        return None


def _requests(fault: Fault, size: int) -> Iterator[Mapping[str, str]]:
    """Headers of requests in which it may be due, the plainest first."""
    header = fault.when.header
    ranges = (f"bytes={size // 2}-", "bytes=1-", "bytes=0-")
    own = {} if header is None else {header[0].lower(): header[1] or "1"}
    if "range" in own:
        if header is not None and header[1] is not None:
            yield own
            return
        yield from ({"range": one} for one in ranges)
        return
    yield own
    if fault.kind == "ranges":
        yield from ({**own, "range": one} for one in ranges)


STRETCHES = ("scramble", "zero", "corrupt")


def _same_bytes(first: Fault, second: Fault, size: int) -> bool:
    """Whether both change the same bytes, so that one cannot be told from the other."""
    if first.kind not in STRETCHES or second.kind not in STRETCHES:
        return False
    one, other = _stretch(first, size), _stretch(second, size)
    return one[0] < other[1] and other[0] < one[1]


def _stretch(fault: Fault, size: int) -> tuple[int, int]:
    first = resolve(fault.values["at"], size)
    count = fault.values.get("flips", fault.values.get("bytes"))
    return first, size if count is None else first + count


def _clock_and_bytes(first: Fault, second: Fault, size: int) -> bool:
    """Whether one slows down by the clock and the other from a later byte on."""
    slow = ("drip", "bandwidth", "segments")
    if first.kind not in slow or second.kind not in slow:
        return False
    timed = [isinstance(one.values["after"], str) and one.values["after"].endswith("s")
             for one in (first, second)]  # fmt: skip
    fixed = second if timed[0] else first
    return timed[0] != timed[1] and fixed.values["after"] != 0


HIDDEN: Mapping[Callable[[Fault, Fault, int], bool], str] = {
    _same_bytes: "the same bytes are changed by",
    _clock_and_bytes: "which of two rates comes first, by the clock or by the byte, is open with",
}
