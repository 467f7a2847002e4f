"""When a fault is due: in which downloads, of which board, after what, how often. Pure.

The clauses stand behind the fault, in Python as methods and in the text form as plain words::

    faults.stall(after="50%").on_attempt(1, 2)      stall after=50% on attempt 1, 2
    faults.status(503).on_first(2)                  status code=503 on first 2
    faults.reset(0).on_every(3)                     reset after=0 on every 3
    faults.status(500).on_board("c3-a")             status code=500 on board c3-a
    faults.ranges("ignored").with_header("Range")   ranges how=ignored with header Range
    faults.status(503).from_event("login")          status code=503 from login
    faults.stall(0).until_event("login")            stall after=0 until login
    faults.truncate("50%").times(1)                 truncate after=50% times 1
    faults.stall(0).by_chance(0.2, seed=7)          stall after=0 by chance 0.2 seed 7
    faults.reset(0).maybe()                         reset after=0 maybe
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pytest_blynk_ota.errors import FaultError
from pytest_blynk_ota.fault_form import nearest, share, token, whole

EVENTS: Mapping[str, str] = {
    "offline": "the device has left the cloud",
    "login": "the device is back at the cloud",
    "reset": "the device has been reset",
    "go": "the test has said so, by ``shipment.go()``",
}
"""What a fault can wait for; counted from the beginning of the operation."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as it decides about faults.

    Attributes:
        attempt: the download that it belongs to, from 1.
        board: who asks; None where the server does not know.
        headers: its header fields, names in lower case.
        seen: the :data:`EVENTS` so far.
    """

    attempt: int
    board: str | None = None
    headers: Mapping[str, str] | None = None
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Chance:
    """A throw of the dice for each attempt; the same seed throws the same.

    Attributes:
        rate: how likely an attempt has a fault, 0 to 1.
        pick, of: this fault is the ``pick``-th (from 1) of so many, one of which is drawn.
    """

    rate: float
    seed: int = 0
    pick: int = 1
    of: int = 1

    def falls(self, attempt: int) -> bool:
        """Whether it falls on this fault in an attempt."""
        dice = random.Random(f"{self.seed}/{attempt}")
        return dice.random() < self.rate and dice.randrange(self.of) == self.pick - 1


@dataclass(frozen=True, slots=True)
class When:
    """All clauses of a fault; what is None does not restrict it.

    Attributes:
        attempts: the downloads of the operation, from 1.
        first: the first so many downloads.
        every: each so-manieth download.
        boards: names of boards.
        header: name and value of a request header; the value None: whatever it says.
        since, until: the :data:`EVENTS` from which on, and up to which, it is in force.
        most: it fires so many times and no more.
        chance: the dice.
        may: that it never fires is no error.
    """

    attempts: tuple[int, ...] | None = None
    first: int | None = None
    every: int | None = None
    boards: tuple[str, ...] | None = None
    header: tuple[str, str | None] | None = None
    since: str | None = None
    until: str | None = None
    most: int | None = None
    chance: Chance | None = None
    may: bool = False

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is not None and name in _READERS:
                object.__setattr__(self, name, _READERS[name](value))
        numbered = [self.attempts, self.first, self.every]
        if sum(value is not None for value in numbered) > 1:
            raise FaultError("on attempt, on first and on every exclude each other")
        if self.since is not None and self.since == self.until:
            raise FaultError(f"from {self.since} until {self.until} is never")

    def due(self, asked: Asked, fired: int = 0) -> bool:
        """Whether a fault that has fired so often is due in the answer to a request."""
        number = asked.attempt
        return (
            (self.attempts is None or number in self.attempts)
            and (self.first is None or number <= self.first)
            and (self.every is None or number % self.every == 0)
            and (self.boards is None or asked.board in self.boards)
            and (self.header is None or _has(asked.headers or {}, *self.header))
            and (self.since is None or self.since in asked.seen)
            and (self.until is None or self.until not in asked.seen)
            and (self.most is None or fired < self.most)
            and (self.chance is None or self.chance.falls(number))
        )

    def might(self, attempt: int, board: str | None) -> bool:
        """Whether it could be due in some request of this attempt: the dice, headers and events
        are not asked."""
        return (
            (self.attempts is None or attempt in self.attempts)
            and (self.first is None or attempt <= self.first)
            and (self.every is None or attempt % self.every == 0)
            and (self.boards is None or board is None or board in self.boards)
        )

    @property
    def is_sure(self) -> bool:
        """Whether each download that it names must see it: nothing else is asked."""
        asked = (self.header, self.since, self.until, self.most, self.chance)
        return all(value is None for value in asked) and not self.may

    def named(self) -> frozenset[int]:
        """Attempts that are worth looking at: each that is named, and the last of the first."""
        return frozenset({*(self.attempts or ()), self.first or 1, self.every or 1})

    def __str__(self) -> str:
        rows = [clause.write(self) for clause in CLAUSES]
        return " ".join(row for row in rows if row)

    def __repr__(self) -> str:
        """The methods that make it."""
        return "".join(clause.call(self) for clause in CLAUSES)


def _has(headers: Mapping[str, str], name: str, value: str | None) -> bool:
    said = headers.get(name.lower())
    return said is not None and (value is None or said.strip() == value)


def _attempts(numbers: Any) -> tuple[int, ...]:
    if not numbers:
        raise FaultError("on_attempt() needs at least one number; the first attempt is 1")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise FaultError(f"{number!r} is no attempt; the first attempt is 1")
    return tuple(sorted(set(numbers)))


def _boards(names: Any) -> tuple[str, ...]:
    if not names:
        raise FaultError("on_board() needs the name of a board, as c3-a")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(BOARD, name):
            raise FaultError(f"{name!r}: expected the name of a board, as c3-a")
    return tuple(dict.fromkeys(names))


def _header(pair: Any) -> tuple[str, str | None]:
    name, value = pair
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"[!#-~]+", value)):
        raise FaultError(f"{value!r}: expected the value of a header, without spaces")
    return token(name), value


def _event(word: Any) -> str:
    if word not in EVENTS:
        raise FaultError(f"{word!r} is no event; {nearest(str(word), EVENTS)}")
    return str(word)


def _chance(chance: Any) -> Chance:
    rate, seed = share(chance.rate), whole(0, 2**32)(chance.seed)
    of = whole(1, 1000)(chance.of)
    return Chance(rate, seed, whole(1, of)(chance.pick), of)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "attempts": _attempts,
    "first": whole(1, 10**6),
    "every": whole(1, 10**6),
    "boards": _boards,
    "header": _header,
    "since": _event,
    "until": _event,
    "most": whole(1, 10**6),
    "chance": _chance,
}

BOARD = r"[\w.-]+"
NUMBERS = r"\d+(?:(?:\s*,\s*|\s+and\s+|\s+)\d+)*"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause in its two forms.

    Attributes:
        pattern: its text form.
        read: the fields of :class:`When` in a match.
        write: the text form; "" where it does not stand.
        call: the Python form, likewise.
    """

    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], dict[str, Any]]
    write: Callable[[When], str]
    call: Callable[[When], str]


def _clause(
    pattern: str,
    read: Callable[[re.Match[str]], dict[str, Any]],
    write: Callable[[When], str],
    call: Callable[[When], str],
) -> Clause:
    return Clause(re.compile(rf"(?:^|\s+){pattern}\s*$"), read, write, call)


def _listed(values: tuple[Any, ...] | None) -> str:
    return ", ".join(str(value) for value in values or ())


def _write_chance(when: When) -> str:
    one = when.chance
    if one is None:
        return ""
    pick = f" pick {one.pick} of {one.of}" if one.of > 1 else ""
    return f"by chance {one.rate} seed {one.seed}{pick}"


def _call_chance(when: When) -> str:
    one = when.chance
    if one is None:
        return ""
    pick = f", pick={one.pick}, of={one.of}" if one.of > 1 else ""
    return f".by_chance({one.rate!r}, seed={one.seed}{pick})"


def _write_header(when: When) -> str:
    if when.header is None:
        return ""
    name, value = when.header
    return f"with header {name}" + ("" if value is None else f"={value}")


def _call_header(when: When) -> str:
    if when.header is None:
        return ""
    return f".with_header({', '.join(repr(one) for one in when.header if one is not None)})"


CLAUSES: tuple[Clause, ...] = (
    _clause(
        rf"on\s+attempts?\s+(?P<n>{NUMBERS})",
        lambda m: {"attempts": tuple(int(n) for n in re.findall(r"\d+", m["n"]))},
        lambda w: f"on attempt {_listed(w.attempts)}" if w.attempts else "",
        lambda w: f".on_attempt({_listed(w.attempts)})" if w.attempts else "",
    ),
    _clause(
        r"on\s+first\s+(?P<n>\d+)",
        lambda m: {"first": int(m["n"])},
        lambda w: f"on first {w.first}" if w.first else "",
        lambda w: f".on_first({w.first})" if w.first else "",
    ),
    _clause(
        r"on\s+every\s+(?P<n>\d+)",
        lambda m: {"every": int(m["n"])},
        lambda w: f"on every {w.every}" if w.every else "",
        lambda w: f".on_every({w.every})" if w.every else "",
    ),
    _clause(
        rf"on\s+boards?\s+(?P<n>{BOARD}(?:\s*,\s*{BOARD})*)",
        lambda m: {"boards": tuple(re.findall(BOARD, m["n"]))},
        lambda w: f"on board {_listed(w.boards)}" if w.boards else "",
        lambda w: f".on_board({', '.join(map(repr, w.boards))})" if w.boards else "",
    ),
    _clause(
        r"with\s+header\s+(?P<n>[^\s=]+)(?:=(?P<v>\S+))?",
        lambda m: {"header": (m["n"], m["v"])},
        _write_header,
        _call_header,
    ),
    _clause(
        r"from\s+(?P<n>[a-z]+)",
        lambda m: {"since": m["n"]},
        lambda w: f"from {w.since}" if w.since else "",
        lambda w: f".from_event({w.since!r})" if w.since else "",
    ),
    _clause(
        r"until\s+(?P<n>[a-z]+)",
        lambda m: {"until": m["n"]},
        lambda w: f"until {w.until}" if w.until else "",
        lambda w: f".until_event({w.until!r})" if w.until else "",
    ),
    _clause(
        r"(?:(?P<o>once)|times\s+(?P<n>\d+))",
        lambda m: {"most": 1 if m["o"] else int(m["n"])},
        lambda w: f"times {w.most}" if w.most else "",
        lambda w: f".times({w.most})" if w.most else "",
    ),
    _clause(
        r"by\s+chance\s+(?P<r>\S+)(?:\s+seed\s+(?P<s>\d+))?"
        r"(?:\s+pick\s+(?P<p>\d+)\s+of\s+(?P<o>\d+))?",
        lambda m: {
            "chance": Chance(share(m["r"]), int(m["s"] or 0), int(m["p"] or 1), int(m["o"] or 1))
        },
        _write_chance,
        _call_chance,
    ),
    _clause(
        r"maybe",
        lambda m: {"may": True},
        lambda w: "maybe" if w.may else "",
        lambda w: ".maybe()" if w.may else "",
    ),
)
"""In the order in which they are written; they are read in any."""

FORMS = (
    "on attempt 1, on first 2, on every 3, on board c3-a, with header Range, from login, until go, "
    "times 1, once, by chance 0.2 seed 7, maybe"
)
_BEGINS = r"((?:on|with|from|until|times|once|by)"
LEFT = re.compile(rf"^\S+\s+{_BEGINS}\s+[^\s=]+(?:\s.*)?)$|^\S+\s.*?\S\s+{_BEGINS}(?:\s.*)?)$")
"""What begins as a clause. A first value may be such a word too: ``drop_header from``."""


def split(text: str) -> tuple[str, When]:
    """A text form without its clauses, and the clauses.

    Raises:
        FaultError: a clause stands twice, has a bad value or is none, or two contradict each
            other.
    """
    found: dict[str, Any] = {}
    body = text.strip()
    while True:
        for clause in CLAUSES:
            match = clause.pattern.search(body)
            if match and '"' not in match[0]:
                break
        else:
            break
        try:
            fresh = {name: _read(name, value) for name, value in clause.read(match).items()}
            if fresh.keys() & found.keys():
                raise FaultError("it stands there twice")
        except FaultError as error:
            raise FaultError(f"{match[0].strip()!r} in {text!r}: {error}") from None
        found |= fresh
        body = body[: match.start()]
    _check_that_no_clause_is_left(body, text)
    return body, When(**found)


def _read(name: str, value: Any) -> Any:
    return _READERS[name](value) if name in _READERS else value


def _check_that_no_clause_is_left(body: str, text: str) -> None:
    """Raises FaultError for words that begin as a clause does and are none."""
    bare = re.sub(r'"[^"]*"', lambda quoted: "_" * len(quoted[0]), body)
    left = LEFT.search(bare)
    if left:
        start = max(left.start(1), left.start(2))
        raise FaultError(f"{body[start:]!r} in {text!r} is no clause; known are {FORMS}")
