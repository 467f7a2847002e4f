"""One line of the history: of a run, or of a test in it. Pure: no file.

Lines stand on their own: each names its run, so files may be joined, cut apart and read in any
order, and come to the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import product
from operator import itemgetter
from typing import Any, NamedTuple

from pytest_blynk_ota.evidence.agree import RESULT_WORDS
from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.evidence.results import WORST_FIRST

SCHEMA = 1
MAX_TEXT_CHARS = 4000
"""A longer text is none that we write."""
MAX_ATTEMPT = 1_000_000
MAX_SECONDS = 1e12
MAX_TIME_S = 253_370_764_800.0
"""The year 9999: whatever zone it is shown in, a later time may have no date."""
MAX_TESTS = 2**53
DECODER = json.JSONDecoder()
ENCODER = json.JSONEncoder(ensure_ascii=False)
ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half a pair of UTF-16 may begin so; no database takes it as text."""


class RunLine(NamedTuple):
    """A run.

    Attributes:
        run: its id.
        rig: the name of its rig.
        rig_kind: what its boards are made of: real, virtual, mixed, unknown.
        name: its folder's name.
        started: ISO 8601 with a zone.
        finished: the same; None if it was killed.
        complete: whether it came to its end.
        result: ok, firmware, rig or incomplete.
        tests: how many lines of tests it has.
        images: by SHA-256 the version of each image, as far as it has one.
        tool: the version of pytest-blynk-ota that ran it; None if that is not on record.
    """

    run: str
    rig: str
    rig_kind: str
    name: str
    started: str
    finished: str | None
    complete: bool
    result: str
    tests: int
    images: dict[str, str | None]
    tool: str | None

    def to_json(self) -> str:
        """One JSON line, without the line end."""
        return _written("run", self._asdict())


class ResultLine(NamedTuple):
    """What one test came to, in one try, on one board.

    Attributes:
        run: the id of its run.
        test: pytest's node id.
        rig: the name of the rig, for boards of two rigs may have one name.
        board: its board; "" if it had none; several with commas between them.
        attempt: 1 for the first try on this board in this run, then 2, …
        at: when it began, ISO 8601 with a zone.
        word: one of ``evidence.results.WORST_FIRST``.
        seconds: wall seconds, set-up and teardown included.
        old: the SHA-256 of the image that ran before; None if it is not on record.
        new: of the image that was offered.
        worker: of pytest-xdist; None without.
        message: first line of the failure, or why it was skipped.
        scenarios: ids of the catalogue.
    """

    run: str
    test: str
    rig: str
    board: str
    attempt: int
    at: str
    word: str
    seconds: float
    old: str | None
    new: str | None
    worker: str | None
    message: str | None
    scenarios: list[str]

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Two lines of one key are the same line, or one of them is wrong."""
        return self.run, self.test, self.board, self.attempt

    def to_json(self) -> str:
        """One JSON line, without the line end."""
        return _written("test", self._asdict())


Line = RunLine | ResultLine


def _written(kind: str, fields: Mapping[str, Any]) -> str:
    text = ENCODER.encode({"schema": SCHEMA, "kind": kind, **fields})
    return text.encode("utf-8", "backslashreplace").decode()


def parse(line: bytes) -> Line:
    """Read one line; keys of a later version are passed over.

    Raises:
        ValueError: it is none; it names the field, what was expected and what came.
    """
    row = _object(line)
    kind = row.get("kind")
    if kind == "test":
        return ResultLine(*_checked(TEST, row))
    if kind == "run":
        return RunLine(*_checked(RUN, row))
    raise ValueError(f"kind: expected run or test, got {shown(kind)}")


def _object(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
        try:
            row, end = DECODER.raw_decode(text)  # half the time of loads()
        except ValueError:
            end = -1
        if end != len(text):  # blanks around it, or none: the words for that are its own
            row = json.loads(text)
    except RecursionError as error:
        raise ValueError("is no JSON: too deep") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{line[error.start]:02x} is no UTF-8") from error
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error
    if type(row) is not dict:
        raise ValueError(f"expected an object, got {shown(row)}")
    return dict(_plain(row)) if ESCAPE.search(line) else row


def _plain(value: Any) -> Any:
    """The same without halves of pairs of UTF-16: as their escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    return value


def _checked(kind: _Kind, row: Mapping[str, Any]) -> Sequence[Any]:
    """The values of a row's fields in their order, the schema left out. Raises ValueError."""
    try:
        values: tuple[Any, ...] = kind.values(row)
    except KeyError as error:
        name = str(error.args[0])
        expected = next(field.expected for field in kind.fields if field.name == name)
        raise ValueError(f"{name}: expected {expected}, got nothing") from error
    if tuple(map(type, values)) in kind.shapes and kind.fine(values):
        return values[1:]
    for field, value in zip(kind.fields, values, strict=True):
        if type(value) not in field.types or (field.good and not field.good(value)):
            raise ValueError(f"{field.name}: expected {field.expected}, got {shown(value)}")
    return values[1:]


def seconds_of(text: str) -> float:
    """Seconds since 1970 of a time with its zone. Raises ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    seconds = at.timestamp()
    if not 0 <= seconds < MAX_TIME_S:
        raise ValueError(f"{text!r} is before 1970, or after 9998")
    return seconds


def _time(value: str | None) -> bool:
    if value is None:
        return True
    try:
        seconds_of(value)
    except (ValueError, OverflowError):
        return False
    return True


def _text(value: str | None) -> bool:
    return value is None or 0 < len(value) <= MAX_TEXT_CHARS


@lru_cache(maxsize=1024)
def _sha(value: str | None) -> bool:
    return value is None or SHA.fullmatch(value) is not None


def _images(value: dict[str, Any]) -> bool:
    return all(
        SHA.fullmatch(key) and (one is None or type(one) is str) for key, one in value.items()
    )


def _texts(value: list[Any]) -> bool:
    return all(type(one) is str for one in value)


class _Field(NamedTuple):
    """A field of a line: of which types it may be, and what more must hold."""

    name: str
    types: tuple[type, ...]
    good: Callable[[Any], bool] | None
    expected: str


class _Kind:
    """The fields of a kind of line, so laid out that a good line costs little: hundreds of
    thousands are read."""

    def __init__(self, *fields: _Field) -> None:
        self.fields = fields
        self.values = itemgetter(*(field.name for field in fields))
        self.shapes = frozenset(product(*(field.types for field in fields)))
        self._checks = [(at, field.good) for at, field in enumerate(fields) if field.good]

    def fine(self, values: Sequence[Any]) -> bool:
        """Whether values of the right types are what they must be."""
        for at, good in self._checks:  # noqa: SIM110  # all() of a generator takes twice as long
            if not good(values[at]):
                return False
        return True


NONE = type(None)
SHA = re.compile(r"[0-9a-f]{64}")
SHA_TOLD = "a SHA-256 in hex, or null"
TEXT = f"text of 1 to {MAX_TEXT_CHARS} characters"
TIME = "an ISO 8601 time with its zone, from 1970 on"
SCHEMA_FIELD = _Field("schema", (int,), lambda value: value == SCHEMA, f"the number {SCHEMA}")
RUN = _Kind(
    SCHEMA_FIELD,
    _Field("run", (str,), _text, TEXT),
    _Field("rig", (str,), _text, TEXT),
    _Field("rig_kind", (str,), _text, TEXT),
    _Field("name", (str,), _text, TEXT),
    _Field("started", (str,), _time, TIME),
    _Field("finished", (str, NONE), _time, f"{TIME}, or null"),
    _Field("complete", (bool,), None, "true or false"),
    _Field("result", (str,), RESULT_WORDS.__contains__, f"one of {', '.join(RESULT_WORDS)}"),
    _Field("tests", (int,), lambda value: 0 <= value < MAX_TESTS, "a whole number from 0 on"),
    _Field("images", (dict,), _images, "an object: by SHA-256 a version or null"),
    _Field("tool", (str, NONE), _text, f"{TEXT}, or null"),
)
TEST = _Kind(
    SCHEMA_FIELD,
    _Field("run", (str,), _text, TEXT),
    _Field("test", (str,), _text, TEXT),
    _Field("rig", (str,), _text, TEXT),
    _Field("board", (str,), lambda value: len(value) <= MAX_TEXT_CHARS, "text"),
    _Field(
        "attempt", (int,), lambda value: 1 <= value <= MAX_ATTEMPT, f"a number, 1 to {MAX_ATTEMPT}"
    ),
    _Field("at", (str,), _time, TIME),
    _Field("word", (str,), WORST_FIRST.__contains__, f"one of {', '.join(WORST_FIRST)}"),
    _Field("seconds", (float, int), lambda value: 0 <= value < MAX_SECONDS, "a number from 0 on"),
    _Field("old", (str, NONE), _sha, SHA_TOLD),
    _Field("new", (str, NONE), _sha, SHA_TOLD),
    _Field("worker", (str, NONE), _text, f"{TEXT}, or null"),
    _Field("message", (str, NONE), _text, f"{TEXT}, or null"),
    _Field("scenarios", (list,), _texts, "a list of ids"),
)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A line that is none.

    Attributes:
        line: its number, from 1 on.
        text: what was expected, and what came.
    """

    line: int
    text: str


def parse_all(data: bytes) -> Iterator[tuple[int, Line | Flaw]]:
    """The lines of a file by their numbers; a flaw for each that is none, and for a last one that
    was cut."""
    lines = data.split(b"\n")
    for number, text in enumerate(lines, 1):
        if not text or text.isspace():
            continue
        try:
            yield number, parse(text)
        except ValueError as error:
            cut = number == len(lines)
            yield number, Flaw(number, f"it ends in half a line ({error})" if cut else str(error))
