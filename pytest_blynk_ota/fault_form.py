"""How a fault is written, whoever makes it: a kind, parameters with a reader each, and its text.

A table ``kind -> parameter -> Param`` says what there is. :func:`read_values` reads values
against it, :func:`words` and :func:`values_of` go to the text form (``stall after=50% seconds=5``)
and back. Everything that is wrong is a FaultError that names the kind, the parameter and what was
expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pytest_blynk_ota.errors import FaultError

REQUIRED: Any = object()
"""Stands where a parameter has no default."""

Reader = Callable[[object], Any]
"""Takes what was written, in Python or as text, and gives its one canonical form."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a kind of fault.

    Attributes:
        read: its reader.
        default: what holds where it is not given; REQUIRED: it has to be; None: it has no value.
        text: how a value stands in the text form.
    """

    read: Reader
    default: Any = REQUIRED
    text: Callable[[Any], str] = str


Params = Mapping[str, Param]
Kinds = Mapping[str, Params]


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    every = list(known)
    if not every:
        return "it has none"
    plain = {one.lower(): one for one in every}
    near = get_close_matches(word.lower(), plain, n=1, cutoff=0.5)
    return f"did you mean {plain[near[0]]!r}?" if near else f"known are {', '.join(every)}"


def positive(value: object) -> int | float:
    """A number above zero, whole ones as int."""
    return _number(value, "a number above 0", lambda number: number > 0)


def zero_or_more(value: object) -> int | float:
    """A number of zero or more, whole ones as int."""
    return _number(value, "a number, 0 or more", lambda number: number >= 0)


def share(value: object) -> int | float:
    """A part of a whole, 0 to 1."""
    return _number(value, "a part from 0 to 1", lambda number: 0 <= number <= 1)


def _number(value: object, expected: str, holds: Callable[[float], bool]) -> int | float:
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not (math.isfinite(number) and holds(number)):
        raise FaultError(f"{value!r}: expected {expected}")
    return int(number) if number.is_integer() else number


def whole(low: int, high: int) -> Callable[[object], int]:
    """A reader of whole numbers from ``low`` to ``high``."""

    def read(value: object) -> int:
        text = str(value) if isinstance(value, str | int) else ""
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,12}", text):
            raise FaultError(f"{value!r}: expected a whole number from {low} to {high}")
        if not low <= int(text) <= high:
            raise FaultError(f"{value!r} is out of range; expected {low} to {high}")
        return int(text)

    return read


def one_of(*known: str) -> Callable[[object], str]:
    """A reader of one of some words; spaces and underscores count as hyphens."""

    def read(value: object) -> str:
        text = re.sub(r"[\s_]+", "-", value.strip()) if isinstance(value, str) else ""
        if text not in known:
            raise FaultError(f"{value!r} is unknown; {nearest(text, known)}")
        return text

    return read


def line(value: object) -> str:
    """A text of printable ASCII without quotation marks, which the text form sets around it."""
    if isinstance(value, str) and re.fullmatch(r"[ !#-~]*", value):
        return value
    raise FaultError(f'{value!r}: expected one line of printable ASCII without "')


def token(value: object) -> str:
    """A name as HTTP headers have it (RFC 9110, 5.6.2)."""
    if isinstance(value, str) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        return value
    raise FaultError(f"{value!r}: expected the name of a header, as Content-Length")


def read_values(what: str, params: Params, given: Mapping[str, Any]) -> dict[str, Any]:
    """All values of one fault in the order of the table; those without a value are left out.

    Args:
        what: the kind, as messages name it.

    Raises:
        FaultError: a parameter is unknown, missing or has a bad value.
    """
    for name in given:
        if name not in params:
            raise FaultError(f"{what} has no parameter {name!r}; {nearest(name, params)}")
    values: dict[str, Any] = {}
    for name, param in params.items():
        value = given.get(name)
        value = param.default if value is None else value
        if value is REQUIRED:
            raise FaultError(f"{what}: {name} is missing")
        if value is None:
            continue
        try:
            values[name] = param.read(value)
        except FaultError as error:
            raise FaultError(f"{what}: {name}: {error}") from None
    return values


def shown(params: Params, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The parameters worth showing: the first, and those that are not the default."""
    return [
        (name, values[name])
        for place, (name, param) in enumerate(params.items())
        if name in values and (place == 0 or values[name] != _default(param))
    ]


def _default(param: Param) -> Any:
    return (
        param.default
        if param.default is REQUIRED or param.default is None
        else param.read(param.default)
    )


def words(params: Params, values: Mapping[str, Any]) -> list[str]:
    """``name=value`` of each parameter that is worth showing."""
    return [f"{name}={_quoted(params[name].text(value))}" for name, value in shown(params, values)]


def _quoted(text: str) -> str:
    bare = re.fullmatch(r"[^\s\"]+|last \d+", text)
    return text if bare else f'"{text}"'


_VALUE = r'"[^"]*"(?!\S)|last[ _]+\d+(?!\S)'
WORD = re.compile(rf"(?P<name>\w+)=(?P<value>{_VALUE}|\S*)|(?P<bare>{_VALUE}|\S+)")


def values_of(what: str, params: Params, rest: str, text: str, example: str) -> dict[str, str]:
    """The ``name=value`` words of a text form; the first value may stand without its name.

    Args:
        what: the kind.
        rest: the text after it, without clauses.
        text: the whole, for messages.
        example: a good one, for messages.
    """
    values: dict[str, str] = {}
    for place, found in enumerate(WORD.finditer(rest)):
        name, value = found["name"], found["value"]
        if name is None:
            bare = found["bare"]
            if place or not params:
                raise FaultError(f"{bare!r} in {text!r} is no name=value; as {example!r}")
            name, value = next(iter(params)), bare
        if name not in params:
            raise FaultError(f"{what} has no parameter {name!r}; {nearest(name, params)}")
        if name in values:
            raise FaultError(f"{name} stands twice in {text!r}")
        values[name] = (
            value[1:-1] if value[:1] == '"' and value[-1:] == '"' and len(value) > 1 else value
        )
    return values
