"""Delivery faults as data: what shall go wrong in a download, where, and in which attempts.

::

    from pytest_blynk_ota import faults

    faults.stall(after="50%")                       # half the file, then silence
    faults.status(503).on_attempt(1, 2)             # 503, 503, then the file
    faults.parse("truncate after=last 4096")        # the text form, as on the command line

Offsets count body bytes: ``0`` or more from the start, ``"50%"`` of the file, negative or
``"last 4096"`` from the end. Times and rates are device seconds; the server scales them.
``repr(fault)`` is the Python text, ``str(fault)`` the text form that :func:`parse` reads back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from pytest_blynk_ota.errors import FaultError

Offset = int | str
"""Body bytes from the start, below 0 from the end, or a text like ``50%``."""

PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%")
FROM_END = re.compile(r"last[ _]+(\d+)")
ON_ATTEMPT = re.compile(
    r"\s+on\s+attempts?\s+(?P<numbers>\d+(?:(?:\s*,\s*|\s+and\s+|\s+)\d+)*)\s*$"
)


def _offset(value: object) -> Offset:
    """An offset in its one canonical form. Raises FaultError with what it may be."""
    if isinstance(value, str):
        text = value.strip()
        if found := PERCENT.fullmatch(text):
            share = Decimal(found[1]).normalize()
            if share > 100:
                raise FaultError(f"{text} is more than the whole file; per cent go from 0 to 100")
            return f"{share:f}%"
        if found := FROM_END.fullmatch(text):
            if int(found[1]) == 0:
                raise FaultError('"last 0" is the end of the file; write "100%"')
            return -int(found[1])
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise FaultError(f'{value!r} is no offset; expected bytes, "50%" or "last 4096"')


def _positive(value: object) -> int | float:
    """A number above zero, whole ones as int. Raises FaultError otherwise."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FaultError(f"{value!r} is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise FaultError(f"{value!r} is no number") from None
    if not math.isfinite(number) or number <= 0:
        raise FaultError(f"{value!r}: expected a number above 0")
    return int(number) if number.is_integer() else number


def _seconds(value: object) -> int | float | None:
    return None if value is None else _positive(value)


def _whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from ``low`` to ``high``."""

    def read(value: object) -> int:
        text = str(value) if isinstance(value, str | int) else ""
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,12}", text):
            raise FaultError(f"{value!r}: expected a whole number from {low} to {high}")
        if not low <= int(text) <= high:
            raise FaultError(f"{value!r} is out of range; expected {low} to {high}")
        return int(text)

    return read


REQUIRED: Any = object()
"""Stands where a parameter has no default."""

Reader = Callable[[object], Any]
PARAMETERS: Mapping[str, Mapping[str, tuple[Any, Reader]]] = {
    # fault: {parameter: (default, reader)}; the first one may stand without its name in the
    # text form. Scenario rows (docs/reference/faults.md): D22, D23, D25, D26, D20, D21, D29, D1-D6.
    "stall": {"after": (0, _offset), "seconds": (None, _seconds)},
    "drip": {"bytes_per_s": (1, _positive), "after": (0, _offset)},
    "bandwidth": {"bytes_per_s": (REQUIRED, _positive), "after": (0, _offset)},
    "truncate": {"after": (REQUIRED, _offset)},
    "reset": {"after": (REQUIRED, _offset)},
    "corrupt": {
        "at": ("50%", _offset),
        "flips": (1, _whole(1, 4096)),
        "seed": (0, _whole(0, 2**32)),
    },
    "status": {"code": (REQUIRED, _whole(200, 599))},
}


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _known(kind: str) -> str:
    from pytest_blynk_ota.cloud import faults as others  # where that is one of the other list

    if kind in others.PARAMETERS:
        return f"{kind} is a fault of the cloud: cloud_faults.{kind}(), cloud_faults.parse()"
    return _nearest(kind, PARAMETERS)


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """One thing that shall go wrong. Made by the functions of this module, or by :func:`parse`.

    Attributes:
        kind: a key of :data:`PARAMETERS`; only its parameters are set, the others are None.
        after: where it begins, in body bytes.
        seconds: length of a stall in device seconds; None: until the device goes away.
        bytes_per_s: bytes per device second.
        at: the first body byte that is changed.
        flips: how many bytes get one bit flipped each.
        seed: decides which bits, and which bytes after the first.
        code: the HTTP status sent in place of the file.
        attempts: the downloads it is due in, from 1; None: in each.
    """

    kind: str
    after: Offset | None = None
    seconds: int | float | None = None
    bytes_per_s: int | float | None = None
    at: Offset | None = None
    flips: int | None = None
    seed: int | None = None
    code: int | None = None
    attempts: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in PARAMETERS:
            raise FaultError(f"unknown fault {self.kind!r}; {_known(self.kind)}")
        for name, (default, read) in PARAMETERS[self.kind].items():
            value = getattr(self, name)
            if value is None and default is REQUIRED:
                raise FaultError(f"{self.kind}: {name} is missing")
            try:
                object.__setattr__(self, name, read(default if value is None else value))
            except FaultError as error:
                raise FaultError(f"{self.kind}: {name}: {error}") from None
        foreign = set(_VALUES) - set(PARAMETERS[self.kind])
        for name in sorted(foreign):
            if getattr(self, name) is not None:
                raise FaultError(
                    f"{self.kind} has no parameter {name!r}; "
                    f"{_nearest(name, PARAMETERS[self.kind])}"
                )
        if self.attempts is not None:
            object.__setattr__(self, "attempts", _attempts(self.kind, self.attempts))

    def on_attempt(self, *numbers: int) -> Fault:
        """The same fault, due only in these downloads of the operation; the first is 1."""
        return replace(self, attempts=numbers)

    def due(self, attempt: int) -> bool:
        """Whether the fault is due in this download."""
        return self.attempts is None or attempt in self.attempts

    def _shown(self) -> list[tuple[str, Any]]:
        """The parameters worth showing: the first, and those that are not the default."""
        rows = PARAMETERS[self.kind].items()
        return [
            (name, getattr(self, name))
            for place, (name, (default, _)) in enumerate(rows)
            if place == 0 or getattr(self, name) != default
        ]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._shown())
        tail = f".on_attempt({', '.join(map(str, self.attempts))})" if self.attempts else ""
        return f"faults.{self.kind}({values}){tail}"

    def __str__(self) -> str:
        words = [self.kind]
        for name, value in self._shown():
            from_end = name in ("after", "at") and isinstance(value, int) and value < 0
            words.append(f"{name}=last {-value}" if from_end else f"{name}={value}")
        if self.attempts:
            words.append(f"on attempt {', '.join(map(str, self.attempts))}")
        return " ".join(words)


_VALUES = ("after", "seconds", "bytes_per_s", "at", "flips", "seed", "code")


def _attempts(kind: str, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Attempt numbers sorted, each once. Raises FaultError unless all are 1 or more."""
    if not numbers:
        raise FaultError(f"{kind}: on_attempt() needs at least one number; the first attempt is 1")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise FaultError(f"{kind}: {number!r} is no attempt; the first attempt is 1")
    return tuple(sorted(set(numbers)))


def stall(after: Offset = 0, seconds: float | None = None) -> Fault:
    """Silence, the connection open: for ``seconds``, or until the device goes away."""
    return Fault("stall", after=after, seconds=seconds)


def drip(bytes_per_s: float = 1, after: Offset = 0) -> Fault:
    """From ``after`` on, byte by byte at this rate: every byte restarts a stall timer."""
    return Fault("drip", bytes_per_s=bytes_per_s, after=after)


def bandwidth(bytes_per_s: float, after: Offset = 0) -> Fault:
    """A slow but steady line from ``after`` on."""
    return Fault("bandwidth", bytes_per_s=bytes_per_s, after=after)


def truncate(after: Offset) -> Fault:
    """The full Content-Length is announced, but FIN comes after so many bytes."""
    return Fault("truncate", after=after)


def reset(after: Offset) -> Fault:
    """RST after so many bytes, once the device's TCP has acknowledged them."""
    return Fault("reset", after=after)


def corrupt(at: Offset = "50%", flips: int = 1, seed: int = 0) -> Fault:
    """One bit flipped in the byte ``at``, and in ``flips - 1`` seeded bytes after it."""
    return Fault("corrupt", at=at, flips=flips, seed=seed)


def status(code: int) -> Fault:
    """This HTTP status with a short text page, in place of the file."""
    return Fault("status", code=code)


def parse(text: str) -> Fault:
    """Read the text form: ``stall after=50% seconds=5 on attempt 1, 2``.

    Raises:
        FaultError: an unknown fault or parameter (with the nearest known one), or a bad value.
    """
    attempts: tuple[int, ...] | None = None
    body = text.strip()
    if found := ON_ATTEMPT.search(body):
        attempts = tuple(int(number) for number in re.findall(r"\d+", found["numbers"]))
        body = body[: found.start()]
    words = re.sub(r"\blast\s+(?=\d)", "last_", body).split()
    if not words:
        raise FaultError(f"{text!r} names no fault; {_nearest('', PARAMETERS)}")
    kind = words[0]
    if kind not in PARAMETERS:
        raise FaultError(f"unknown fault {kind!r} in {text!r}; {_known(kind)}")
    values: dict[str, Any] = {}
    for place, word in enumerate(words[1:]):
        name, value = _assignment(kind, word, place, text)
        if name in values:
            raise FaultError(f"{name} stands twice in {text!r}")
        values[name] = value
    return Fault(kind, attempts=attempts, **values)


def _assignment(kind: str, word: str, place: int, text: str) -> tuple[str, str]:
    """One ``name=value`` of the text form; the first value may stand alone."""
    name, sign, value = word.partition("=")
    if not sign and place == 0 and (word[:1].isdigit() or word.startswith(("-", "last_"))):
        return next(iter(PARAMETERS[kind])), word
    if not sign:
        raise FaultError(
            f"{word!r} in {text!r} is no name=value; a fault reads 'stall after=50% on attempt 1'"
        )
    if name not in PARAMETERS[kind]:
        raise FaultError(f"{kind} has no parameter {name!r}; {_nearest(name, PARAMETERS[kind])}")
    return name, value
