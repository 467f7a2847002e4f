"""results.jsonl: one line a test, what it came to. Pure: no file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pytest_blynk_ota.evidence.event import shown

RESULTS = "results.jsonl"
RESULTS_SCHEMA = 1
LISTS = ("boards", "scenarios")
LATER = ("scenarios", "evidence", "before")
"""Keys that earlier versions did not write."""
WORST_FIRST = ("firmware", "rig", "error", "xpassed", "passed", "xfailed", "skipped")
"""What one test can come to; of two phases of a test the worse word counts.

``error``: neither the firmware nor the rack: a fixture that raised, a request that cannot be
carried out, a worker that died.
"""


def result_of(counts: Mapping[str, int], complete: bool) -> str:
    """The word in run.json: a firmware failure outweighs a rack error, and both a stopped run.
    A run without a test has shown nothing."""
    if counts.get("firmware"):
        return "firmware"
    if counts.get("rig"):
        return "rig"
    whole = complete and any(counts.values()) and not counts.get("error")
    return "ok" if whole else "incomplete"


def counted(told: Iterable[tuple[str, str]]) -> Counter[str]:
    """How many tests came to what, of their ids and words; of one that ran several times the worst
    counts."""
    worst: dict[str, str] = {}
    for test_id, word in told:
        worst[test_id] = min(worst.get(test_id, word), word, key=WORST_FIRST.index)
    return Counter(worst.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What one test came to.

    Attributes:
        id: pytest's node id, secrets removed.
        folder: its evidence, as a path relative to the run: ``tests/NAME``; None if it has none.
        word: one of ``WORST_FIRST``.
        seconds: wall seconds, set-up and teardown included.
        started: when it began, ISO 8601 in UTC; None if that is not known.
        worker: the worker of pytest-xdist that ran it; None without.
        boards: the boards that it had.
        message: first line of the failure, or why it was skipped; None if it passed.
        text: all that pytest says of the failure; None if there is none.
        rerun: a command that runs it again in the same way; None if none is known.
        scenarios: ids of the catalogue that the test is, as ``D22a``.
        evidence: the digest of its folder; None if it has none, or in a run of schema 2.
        before: the digest of the line before; see :mod:`pytest_blynk_ota.evidence.chain`.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    id: str
    folder: str | None
    word: str
    seconds: float
    started: str | None = None
    worker: str | None = None
    boards: tuple[str, ...] = ()
    message: str | None = None
    text: str | None = None
    rerun: str | None = None
    scenarios: tuple[str, ...] = ()
    evidence: str | None = None
    before: str | None = None

    def to_json(self) -> str:
        """One JSON line, without the line end."""
        return json.dumps({"schema": RESULTS_SCHEMA} | asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> TestResult:
        """Read one line back; keys of a later version are passed over.

        Raises:
            ValueError: it is none; it names the field.
        """
        row = json.loads(line)
        if wrong := _whats_wrong(row):
            raise ValueError(wrong)
        known = {name: row[name] for name in cls.__slots__ if name in row}
        return cls(**known | {key: tuple(row.get(key, ())) for key in LISTS})


def _whats_wrong(row: Any) -> str:
    """The first field that is not as it must be, in words; "" if all are."""
    if not isinstance(row, dict):
        return f"expected an object, got {shown(row)}"
    for name, (expected, good) in FIELDS.items():
        if name not in row and name not in LATER:
            return f"{name} is missing, expected {expected}"
        if name in row and not good(row[name]):
            return f"{name}: expected {expected}, got {shown(row[name])}"
    return ""


def is_folder_of_a_test(value: Any) -> bool:
    """Whether a text is ``tests/NAME``: nothing that leads out of the run, however written."""
    if not isinstance(value, str):
        return False
    head, _, name = value.partition("/")
    return head == "tests" and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "schema": (f"the number {RESULTS_SCHEMA}", lambda value: value == RESULTS_SCHEMA),
    "id": ("text", _text),
    "folder": (
        "tests/NAME or null",
        lambda value: value is None or is_folder_of_a_test(value),
    ),
    "word": (
        f"one of {', '.join(WORST_FIRST)}",
        lambda value: isinstance(value, str) and value in WORST_FIRST,
    ),
    "seconds": (
        "a number from 0 on",
        lambda value: type(value) in (int, float) and 0 <= value < 1e12,
    ),
    "started": ("text or null", _text_or_null),
    "worker": ("text or null", _text_or_null),
    "boards": ("a list of names", _texts),
    "scenarios": ("a list of ids", _texts),
    "message": ("text or null", _text_or_null),
    "text": ("text or null", _text_or_null),
    "rerun": ("text or null", _text_or_null),
    "evidence": ("text or null", _text_or_null),
    "before": ("text or null", _text_or_null),
}
