"""Faults of the cloud as data: what goes wrong between the shipment and the device.

::

    from pytest_blynk_ota import cloud_faults

    cloud_faults.drop()                               # the URL goes out, and the link drops at once
    cloud_faults.delay(seconds=60).on_offer(1)        # the first offer comes a minute late
    cloud_faults.restart(at="request", seconds=20)    # the cloud is away for 20 s in the download
    cloud_faults.parse("silent at=request seconds=90 on offer 1")   # the text form

Times are device seconds. ``repr(fault)`` is the Python text, ``str(fault)`` the text form that
:func:`parse` reads back. They stand in the same list as the faults of the download.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from pytest_blynk_ota.errors import FaultError

PHASES: Mapping[str, str] = {
    "offer": "the URL has been sent",
    "request": "the device has asked for the file",
    "delivered": "the whole file was sent",
    "login": "the device is back after its restart",
}
"""When in an offer a fault begins, and what that means."""

REQUIRED: Any = object()
"""Stands where a parameter has no default."""
Reader = Callable[[object], Any]


def _seconds(value: object) -> float:
    """A time above zero, whole ones as int. Raises FaultError otherwise."""
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number > 0):
        raise FaultError(f"{value!r}: expected seconds, a number above 0")
    return int(number) if number.is_integer() else number


def _phase(value: object) -> str:
    if value in PHASES:
        return str(value)
    raise FaultError(f"{value!r} is no phase; {_nearest(str(value), PHASES)}")


def _status(value: object) -> int:
    text = str(value) if isinstance(value, str | int) else ""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,5}", text) or int(text) == 200:
        raise FaultError(f"{value!r}: expected a status of the protocol other than 200, as 9")
    return int(text)


def _text(value: object) -> str:
    if isinstance(value, str) and not set(value) & {"\0", '"'}:
        return value
    raise FaultError(f"{value!r}: expected a text without NUL and quotation marks")


def _version(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[\w.,:()-]{1,31}", value, re.ASCII):
        return value
    raise FaultError(f"{value!r}: expected a version, as '1.2.3'")


PARAMETERS: Mapping[str, Mapping[str, tuple[Any, Reader]]] = {
    # fault: {parameter: (default, reader)}. Scenario rows: C1 to C9, C16.
    "ignore": {},
    "drop": {},
    "delay": {"seconds": (REQUIRED, _seconds)},
    "twice": {"seconds": (1, _seconds)},
    "url": {"text": (REQUIRED, _text)},
    "other": {"version": (REQUIRED, _version)},
    "restart": {"at": ("offer", _phase), "seconds": (5, _seconds)},
    "silent": {"at": ("offer", _phase), "seconds": (REQUIRED, _seconds)},
    "refuse": {"at": ("offer", _phase), "seconds": (REQUIRED, _seconds), "status": (None, _status)},
    "slow": {"at": ("offer", _phase), "seconds": (REQUIRED, _seconds)},
}
NOT_BEHIND_A_RELAY = ("silent", "refuse", "slow")
"""They are about answers, which a relayed server gives in place of ours."""
BY_ATTEMPT = re.compile(r"\s+on\s+attempts?\b")
ON_OFFER = re.compile(r"\s+on\s+offers?\s+(?P<numbers>\d+(?:(?:\s*,\s*|\s+and\s+|\s+)\d+)*)\s*$")
WORD = re.compile(r'(\w+)=("[^"]*"|\S*)|(\S+)')


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _known(kind: str) -> str:
    from pytest_blynk_ota.delivery import faults as others  # where that is one of the other list

    if kind in others.PARAMETERS:
        return f"{kind} is a fault of the download: faults.{kind}(), faults.parse()"
    return _nearest(kind, PARAMETERS)


@dataclass(frozen=True, slots=True, repr=False)
class CloudFault:
    """One thing that goes wrong at the cloud. Made by the functions of this module.

    Attributes:
        kind: a key of :data:`PARAMETERS`.
        values: its parameters, read; what has no value is left out.
        offers: the offers of the operation in which it is due, from 1; None: in each.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    offers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in PARAMETERS:
            raise FaultError(f"unknown cloud fault {self.kind!r}; {_known(self.kind)}")
        rows, read = PARAMETERS[self.kind], {}
        for name in self.values:
            if name not in rows:
                near = _nearest(name, rows) if rows else "it has none"
                raise FaultError(f"cloud fault {self.kind} has no parameter {name!r}; {near}")
        for name, (default, reader) in rows.items():
            value = self.values.get(name, default)
            if value is REQUIRED:
                raise FaultError(f"cloud fault {self.kind}: {name} is missing")
            if value is not None:
                try:
                    read[name] = reader(value)
                except FaultError as error:
                    raise FaultError(f"cloud fault {self.kind}: {name}: {error}") from None
        object.__setattr__(self, "values", read)
        if self.offers is not None:
            object.__setattr__(self, "offers", _numbers(self.kind, self.offers))

    def on_offer(self, *numbers: int) -> CloudFault:
        """The same fault, due only in these offers of the operation; the first is 1."""
        return replace(self, offers=numbers)

    def due(self, offer: int) -> bool:
        """Whether it is due in this offer."""
        return self.offers is None or offer in self.offers

    @property
    def is_later(self) -> bool:
        """Whether it begins after the URL has gone out, if that phase comes at all."""
        return bool(self.values.get("at", "offer") != "offer")

    def _shown(self) -> list[tuple[str, Any]]:
        rows = PARAMETERS[self.kind]
        return [(name, value) for name, value in self.values.items() if value != rows[name][0]]

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._shown())
        tail = f".on_offer({', '.join(map(str, self.offers))})" if self.offers else ""
        return f"cloud_faults.{self.kind}({values}){tail}"

    def __str__(self) -> str:
        words = [self.kind, *(f"{name}={_quoted(value)}" for name, value in self._shown())]
        if self.offers:
            words.append(f"on offer {', '.join(map(str, self.offers))}")
        return " ".join(words)


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if isinstance(value, str) and not re.fullmatch(r"[^\s\"]+", text) else text


def _numbers(kind: str, numbers: tuple[int, ...]) -> tuple[int, ...]:
    if not numbers:
        raise FaultError(f"cloud fault {kind}: on_offer() needs a number; the first offer is 1")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise FaultError(f"cloud fault {kind}: {number!r} is no offer; the first is 1")
    return tuple(sorted(set(numbers)))


def check_behind_relay(faults: Iterable[CloudFault]) -> None:
    """Raises FaultError for the first one that cannot hold where another server answers."""
    for fault in faults:
        if fault.kind in NOT_BEHIND_A_RELAY:
            raise FaultError(
                f"cloud fault {fault.kind}: behind a relay the other server answers the device, so "
                f"{', '.join(NOT_BEHIND_A_RELAY)} do not hold; leave it out, or take a rig without "
                f"a relay"
            )


ONCE_AN_OFFER = ("ignore", "delay", "twice", "url", "other", "drop")
"""Of two of these due in one offer the first begins."""
BEFORE_IT_LEAVES = ("ignore", "url", "other")
"""What begins in an offer that is ignored; nothing else of that moment does."""


def refuse_idle(faults: Sequence[CloudFault]) -> None:
    """Raises FaultError for a fault that others keep from ever beginning."""
    for place, fault in enumerate(faults):
        hiders = [
            other
            for before, other in enumerate(faults)
            if (before < place and other.kind == fault.kind and fault.kind in ONCE_AN_OFFER)
            or (other.kind == "ignore" and not _in_spite_of_ignore(fault))
        ]
        in_all = any(other.offers is None for other in hiders)
        covered = {number for other in hiders for number in other.offers or ()}
        if in_all or (fault.offers and covered.issuperset(fault.offers)):
            raise FaultError(
                f"cloud fault {str(fault)!r} could never begin: {str(hiders[0])!r} comes before it "
                "in each of its offers; name other offers with on_offer()"
            )


def _in_spite_of_ignore(fault: CloudFault) -> bool:
    return fault.kind in BEFORE_IT_LEAVES or fault.is_later


def ignore() -> CloudFault:
    """The offer never leaves the cloud."""
    return CloudFault("ignore")


def drop() -> CloudFault:
    """The URL goes out, and the link drops at once."""
    return CloudFault("drop")


def delay(seconds: float) -> CloudFault:
    """The URL goes out so much later."""
    return CloudFault("delay", {"seconds": seconds})


def twice(seconds: float = 1) -> CloudFault:
    """The same URL goes out once more, so much later."""
    return CloudFault("twice", {"seconds": seconds})


def url(text: str) -> CloudFault:
    """This text goes out in place of the URL; it may be empty."""
    return CloudFault("url", {"text": text})


def other(version: str) -> CloudFault:
    """Another image than the one on offer goes out: the same under another version."""
    return CloudFault("other", {"version": version})


def restart(at: str = "offer", seconds: float = 5) -> CloudFault:
    """The cloud drops everybody and comes back so much later, knowing its devices still."""
    return CloudFault("restart", {"at": at, "seconds": seconds})


def silent(seconds: float, at: str = "offer") -> CloudFault:
    """The cloud reads and says nothing, for so long."""
    return CloudFault("silent", {"at": at, "seconds": seconds})


def refuse(seconds: float, at: str = "offer", status: int | None = None) -> CloudFault:
    """The link drops, and no login is let in for so long.

    Args:
        status: what a login is answered with; None: with nothing. 9 sends an Edgent into its
            configuration mode, from which a board on a rack does not come back by itself.
    """
    more = {} if status is None else {"status": status}
    return CloudFault("refuse", {"at": at, "seconds": seconds, **more})


def slow(seconds: float, at: str = "offer") -> CloudFault:
    """Each answer comes so much later, until the end of the operation."""
    return CloudFault("slow", {"at": at, "seconds": seconds})


def parse(text: str) -> CloudFault:
    """Read the text form: ``silent seconds=90 at=request on offer 1``.

    Raises:
        FaultError: an unknown fault or parameter (with the nearest known one), or a bad value.
    """
    offers: tuple[int, ...] | None = None
    body = text.strip()
    if found := ON_OFFER.search(body):
        offers = tuple(int(number) for number in re.findall(r"\d+", found["numbers"]))
        body = body[: found.start()]
    elif BY_ATTEMPT.search(body):
        raise FaultError(f"{text!r}: a fault of the cloud counts offers; as 'drop on offer 1'")
    kind, _, rest = body.partition(" ")
    values: dict[str, Any] = {}
    for name, value, stray in WORD.findall(rest):
        if stray:
            raise FaultError(f"{stray!r} in {text!r} is no name=value; as 'delay seconds=60'")
        if name in values:
            raise FaultError(f"{name} stands twice in {text!r}")
        values[name] = value.strip('"') if value.startswith('"') else value
    return CloudFault(kind, values, offers)
