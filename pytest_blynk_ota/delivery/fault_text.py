"""From text to faults: the plain words of a command line, and the Python of a test. Pure."""

from __future__ import annotations

import ast
import re
from typing import Any

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.faults import Fault
from pytest_blynk_ota.delivery.kinds import KINDS
from pytest_blynk_ota.delivery.when import split
from pytest_blynk_ota.errors import FaultError
from pytest_blynk_ota.fault_form import Param, nearest, read_values, share, values_of, whole

EXAMPLE = "stall after=50% on attempt 1"
THEN = re.compile(r'\s+then\s+(?=(?:[^"]*"[^"]*")*[^"]*$)')
OR = re.compile(r'\s+or\s+(?=(?:[^"]*"[^"]*")*[^"]*$)')
OF = re.compile(r'\s+of\s+(?=(?:[^"]*"[^"]*")*[^"]*$)')
DICE = {"seed": Param(whole(0, 2**32)), "rate": Param(share, 0.2)}
METHODS = (
    "on_attempt",
    "on_first",
    "on_every",
    "on_board",
    "with_header",
    "from_event",
    "until_event",
    "times",
    "by_chance",
    "maybe",
)
FUNCTIONS = (*KINDS, "seq", "random")


def read_one(text: str) -> Fault:
    """One fault in either form. Raises FaultError."""
    found = read_all(text)
    if len(found) != 1:
        raise FaultError(
            f"{text!r} are {len(found)} faults; expected one, as {EXAMPLE!r}; "
            f"parse_all() reads several"
        )
    return found[0]


def read_all(text: str) -> tuple[Fault, ...]:
    """One or several faults in either form. Raises FaultError."""
    if not isinstance(text, str):
        raise FaultError(f"{text!r} is no text; expected a fault as {EXAMPLE!r}")
    bare = text.strip()
    if re.match(r"faults\.|\w+\(", bare):
        return faults.flat([_Python(text).read()])
    if bare == "random" or bare.startswith("random "):
        return _random(bare)
    parts = THEN.split(bare)
    if len(parts) == 1:
        return (_plain(text),)
    return faults.seq(*(None if part.strip() == "none" else _plain(part) for part in parts))


def _random(text: str) -> tuple[Fault, ...]:
    """``random seed=7 rate=0.2 of stall 50% or status 503``."""
    head, *tail = OF.split(text, maxsplit=1)
    given = values_of("random", DICE, head.removeprefix("random"), text, "random seed=7 rate=0.2")
    dice = read_values("random", DICE, given)
    choices = [_plain(part) for part in OR.split(tail[0])] if tail else []
    return faults.random(*choices, **dice)


def _plain(text: str) -> Fault:
    """One fault in plain words."""
    if re.match(r"\s*then\b|\s*\S+\s.*\s+then\s*$", text):
        raise FaultError(
            f"{text!r}: 'then' stands between two faults, as 'status 503 then stall 0'; "
            "'none' is a download without any"
        )
    body, when = split(text)
    kind, _, rest = body.partition(" ")
    if not kind:
        raise FaultError(f"{text!r} names no fault; {nearest('', KINDS)}")
    if kind not in KINDS:
        raise FaultError(f"unknown fault {kind!r} in {text!r}; {faults.known(kind)}")
    return Fault(kind, values_of(kind, KINDS[kind], rest, text, EXAMPLE), when)


class _Python:
    """The Python form, read without running it: calls by name with constants, nothing else."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> Any:
        """What the expression makes."""
        try:
            tree = ast.parse(self._text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = error.msg if isinstance(error, SyntaxError) else error
            raise FaultError(
                f"{self._text!r} is no fault in Python: {why}; expected one as "
                f'faults.stall(after="50%")'
            ) from None
        try:
            return self._call(tree.body)
        except RecursionError:
            raise FaultError(f"{self._text[:80]!r}… is too deep for a fault in Python") from None

    def _call(self, node: ast.expr) -> Any:
        if not isinstance(node, ast.Call):
            raise self._wrong(node)
        given = [self._value(one) for one in node.args]
        named = {one.arg: self._value(one.value) for one in node.keywords if one.arg}
        if len(named) != len(node.keywords):
            raise self._wrong(node)
        try:
            return self._function(node.func)(*given, **named)
        except TypeError as error:
            raise FaultError(f"{self._text!r}: {error}") from None

    def _function(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
            made = self._call(node.value)
            if node.attr not in METHODS or not isinstance(made, Fault):
                raise FaultError(f"{node.attr!r} in {self._text!r}; {nearest(node.attr, METHODS)}")
            return getattr(made, node.attr)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = node.attr if node.value.id == "faults" else ""
        else:
            name = node.id if isinstance(node, ast.Name) else ""
        if name not in FUNCTIONS:
            raise FaultError(
                f"unknown fault {name!r} in {self._text!r}; {nearest(name, FUNCTIONS)}"
            )
        return getattr(faults, name)

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Call):
            return self._call(node)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise self._wrong(node) from None

    def _wrong(self, node: ast.expr) -> FaultError:
        shown = ast.unparse(node)
        return FaultError(
            f"{shown!r} in {self._text!r}: expected a call as faults.stall(after='50%')"
        )
