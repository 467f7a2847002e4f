"""What a failed assert was about: which part of a result, what was expected of it, what it is.

The statement is read from its source and looked up in the frame that raised it. That works with
and without pytest's rewriting of asserts, in helpers, and for what pytest does not hand to a
plugin: ``assert not result.findings``. Nothing is called a second time but what only looks, such as
``len``; for ``ota.ship()`` stands the newest result. What then does not fail is not explained.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType, TracebackType
from typing import Any

from pytest_blynk_ota.air import AirStatus
from pytest_blynk_ota.result import Result
from pytest_blynk_ota.verdict import Outcome

EXPECTED: Mapping[str, str] = {
    "is": "expected",
    "==": "expected",
    "is not": "expected anything but",
    "!=": "expected anything but",
    "in": "expected one of",
    "not in": "expected none of",
    "<": "expected less than",
    "<=": "expected at most",
    ">": "expected more than",
    ">=": "expected at least",
}
"""How a comparison is put into words."""
SIGNS: Mapping[type[ast.cmpop], str] = {
    ast.Is: "is",
    ast.Eq: "==",
    ast.IsNot: "is not",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
TURNED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The same comparison with its sides changed; others are the same either way, or have no other."""
INSIDE: Mapping[str, str] = {"in": "in it", "not in": "not in it"}
"""The same of what is looked for in a result."""
OPERATIONS = ("ship", "offer", "relayed", "deep_check")
"""Calls that give a result: the newest one stands for them."""
LOOKS = ("len", "sorted", "list", "tuple", "set", "str", "any", "all", "sum", "min", "max")
"""Built-in functions that may be called again."""
NEVER = (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Lambda)
NEWEST = "_blynk_ota_newest"
MAX_SHOWN = 8
"""Items of a collection that are listed."""
MAX_CHARS = 300


class _Unknown(Exception):
    """What cannot be looked up again."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a failed assert said of a result."""

    text: str
    result: Result


def said(error: AssertionError, newest: Result | None) -> Said | None:
    """What an assert that failed was about; None if about no result, or if that is not known.

    Args:
        error: as it was raised, with its traceback.
        newest: the result that the test's last operation returned.
    """
    frame, line = _raised(error.__traceback__)
    statement = _statement(frame, line) if frame else None
    if frame is None or statement is None:
        return None
    look = _Look(frame, newest)
    try:
        test = look.once(statement.test)
        if look.value(test):
            return None  # it holds by now: whatever failed, it was not what is seen here
        text = "\n".join(_words(test, look))
        result = next(look.results(test), None)
    except Exception:  # a user's own object may raise anything when it is looked at
        return None
    return Said(text, result) if text and result else None


def _raised(traceback: TracebackType | None) -> tuple[FrameType | None, int]:
    if traceback is None:
        return None, 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame, traceback.tb_lineno


def _statement(frame: FrameType, line: int) -> ast.Assert | None:
    """The assert at a line of the frame's file."""
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return None
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return found[-1] if found else None


class _Look:
    """Looks up expressions where the assert stood."""

    def __init__(self, frame: FrameType, newest: Result | None) -> None:
        self._names = {**frame.f_globals, **frame.f_locals, NEWEST: newest}
        self._newest = newest

    def once(self, test: ast.expr) -> ast.expr:
        """The expression with nothing in it that would do something again."""
        return _Once(self._newest is not None).visit(test)  # type: ignore[no-any-return]

    def value(self, node: ast.expr) -> Any:
        """What an expression of :meth:`once` is."""
        return eval(_compiled(node), self._names)

    def results(self, test: ast.expr) -> Iterator[Result]:
        """The results that an expression names, alone or in a list, in order."""
        for node in ast.walk(test):
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
                try:
                    value = self.value(node)
                except Exception:  # a name of a comprehension: not known out here
                    continue
                if isinstance(value, Result):
                    yield value
                elif isinstance(value, list | tuple):
                    yield from (one for one in reversed(value) if isinstance(one, Result))


def _compiled(node: ast.expr) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Expression(node)), "<assert>", "eval")


class _Once(ast.NodeTransformer):
    """Takes calls of operations out, and refuses all others that are not known to be harmless."""

    def __init__(self, has_newest: bool) -> None:
        self._has_newest = has_newest

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr in OPERATIONS:
            if self._has_newest:
                return ast.copy_location(ast.Name(NEWEST, ast.Load()), node)
        elif isinstance(node.func, ast.Name) and node.func.id in LOOKS:
            return self.generic_visit(node)
        raise _Unknown

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, NEVER):
            raise _Unknown
        return super().generic_visit(node)


def _words(test: ast.expr, look: _Look) -> Iterator[str]:
    """The parts of a test that made it fail, each in words."""
    match test:
        case ast.BoolOp():
            wrong = [part for part in test.values if not look.value(part)]
            for part in wrong[:1] if isinstance(test.op, ast.And) else wrong:
                yield from _words(part, look)
        case ast.Compare(left=left, ops=[sign], comparators=[right]):
            yield _compared(left, SIGNS[type(sign)], right, look)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"{_source(operand)}: {_instead_of_none(look.value(operand))}"
        case _:
            value = look.value(test)
            wanted = "True" if value is False else "something"
            yield f"{_source(test)}: expected {wanted}, got {_shown(value)}"


def _compared(left: ast.expr, sign: str, right: ast.expr, look: _Look) -> str:
    """Of two sides the one that speaks of a result is what came."""
    if next(look.results(left), None) is None:
        if sign in INSIDE:
            wanted = f"{_shown(look.value(left))} {INSIDE[sign]}"
            return f"{_source(right)}: expected {wanted}, got {_shown(look.value(right))}"
        left, sign, right = right, TURNED.get(sign, sign), left
    return compared(look.value(left), sign, look.value(right), _source(left))


def compared(got: object, sign: str, wanted: object, what: str = "") -> str:
    """One comparison in words; an outcome or a status needs no name."""
    named = isinstance(got, Outcome | AirStatus) or not what
    return f"{'' if named else f'{what}: '}{EXPECTED[sign]} {_shown(wanted)}, got {_shown(got)}"


def _instead_of_none(value: object) -> str:
    if not isinstance(value, Collection) or isinstance(value, str):
        return f"expected nothing, got {_shown(value)}"
    rows = [f"\n  {_shown(one)}" for one in list(value)[:MAX_SHOWN]]
    more = len(value) - len(rows)
    return f"expected none, got {len(value)}:{''.join(rows)}" + (f"\n  … {more} more" * bool(more))


def _source(node: ast.expr) -> str:
    return _cut(ast.unparse(node).replace(NEWEST, "the result"))


def _shown(value: object) -> str:
    """A value as a reader would write it: words of ours bare, all else as Python does."""
    if isinstance(value, Outcome | AirStatus):
        return str(value)
    if isinstance(value, set | frozenset):
        return _cut(", ".join(sorted(_shown(one) for one in value)) or "nothing")
    if isinstance(value, list | tuple):
        shown = ", ".join(_shown(one) for one in value)
        ours = value and all(isinstance(one, Outcome | AirStatus) for one in value)
        return _cut(shown if ours else f"[{shown}]")
    return _cut(
        str(value) if type(value).__module__.startswith("pytest_blynk_ota") else repr(value)
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
