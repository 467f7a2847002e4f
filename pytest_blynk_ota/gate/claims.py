"""What stored runs say to the gate: each test's result, on which board, of which binary. Pure.

The events of a test are the only witness of what its board was and which images took part: neither
the rig file nor ``run.json`` is believed. What contradicts itself is a problem of its run.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pytest_blynk_ota.evidence.event import Event
from pytest_blynk_ota.gate.words import count

Outcome = Literal["pass", "fail", "broken", "none"]
"""``broken``: an error of the rack or of the test: neither a pass nor a failure. ``none``: it did
not run, or says nothing."""

OUTCOMES: Mapping[str | None, Outcome] = {
    "passed": "pass",
    "firmware": "fail",
    "xfailed": "fail",  # the test says that the firmware is known not to do it
    "rig": "broken",
    "error": "broken",
    "xpassed": "none",  # nobody expected it, so nobody has looked at what it shows
    "skipped": "none",
}
"""What a word of ``results.jsonl`` is to the gate."""

PICKS_TESTS = re.compile(r"-k.*|--deselect(=.*)?|--lf|--last-failed|[^-].*::.*", re.DOTALL)
"""Words of a command by which pytest leaves out tests whose scenario was asked for."""
ADDOPTS = "PYTEST_ADDOPTS="
JUMP_S = 2.0
"""Seconds by which the wall clock of a test may run away from the monotonic one: NTP slews less."""
WAVER_S = 10.0
"""The same between any two of its events: one may wait that long to be written on a busy host."""
SLACK_S = 60.0
"""Seconds by which two ends of one run may disagree: two processes write them, rounded."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a board said of itself before it was written to (``rig identity``).

    Attributes:
        kind: ``real``, ``virtual`` or ``emulated``, by its eFuses.
    """

    kind: str
    chip: str
    mac: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One update of a test, and what became of it.

    Attributes:
        board: of the rig.
        running: sha256 of the image that ran when it began; None where that is not known.
        offered: sha256 of the image offered.
        version: of the image offered.
        ended_on: sha256 of the image that ran at its end, by the verdict; None without one.
        findings: names of the verdict's findings above ``info``.
    """

    board: str | None
    running: str | None
    offered: str | None
    version: str | None
    ended_on: str | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TestSeen:
    """One test, as its line and its files tell of it.

    Attributes:
        began: wall seconds since the epoch, by its line; None where that is not told.
        digest: sha256 of its events; None without.
        first, last: monotonic and wall seconds of its first and last event.
        identities: what boards said of themselves in it.
        flaws: what is wrong with its files.
    """

    __test__ = False

    id: str
    word: str | None
    message: str | None
    folder: str
    scenarios: tuple[str, ...]
    boards: tuple[str, ...]
    began: float | None = None
    digest: str | None = None
    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None
    identities: tuple[tuple[str, Identity], ...] = ()
    operations: tuple[Operation, ...] = ()
    flaws: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What one test says.

    Attributes:
        run: of which run, by its place among those given.
        folder: of its evidence, that of the run before it; "" without.
        chips: of the boards that it had, by their identity; empty where none is on record.
        kinds: likewise; ``unknown`` where a board has not said.
        began: wall seconds since the epoch.
        ran: sha256 of images that ran when an update began, and did it.
        offered: sha256 of images that were offered.
        arrived: sha256 of offered images that ran at the end of their update.
        named: sha256 of the firmware of its boards, by ``run.json``.
        moments: monotonic and wall seconds of its first and last event.
    """

    run: int
    id: str
    folder: str
    outcome: Outcome
    word: str
    message: str
    scenarios: tuple[str, ...]
    boards: tuple[str, ...]
    chips: frozenset[str]
    kinds: frozenset[str]
    began: float
    ended: float
    digest: str | None
    ran: frozenset[str]
    offered: frozenset[str]
    arrived: frozenset[str]
    named: frozenset[str]
    operations: tuple[Operation, ...]
    moments: tuple[tuple[float, float], tuple[float, float]] | None = None

    def of(self, scenario: str) -> bool:
        """Whether it is of a scenario; ``D22`` is also each of its parts ``D22a``, ``D22b``, …"""
        return any(
            scenario in (one, one.rstrip("abcdefghijklmnopqrstuvwxyz")) for one in self.scenarios
        )

    @property
    def touched(self) -> frozenset[str]:
        """All images that took part in it."""
        return self.ran | self.offered | self.arrived


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run, as the gate takes it.

    Attributes:
        path: its folder.
        rig_sha256: of the rig file; None where that is not on record.
        manifest_sha256: of ``manifest.json``; "" without.
        kinds: what its boards are made of, by their identity.
        problems: why nothing of it may make the gate pass; empty: nothing.
        notes: what is worth knowing.
        images: by sha256 of the images offered in it the version that they name.
        tested: name and sha256 of what it was to test, by ``run.json``, for each board
            that was used: New if it was given as a file, else Old if that was, else New.
    """

    path: str
    id: str | None
    rig: str
    rig_sha256: str | None
    kinds: frozenset[str]
    began: float
    ended: float
    manifest_sha256: str
    claims: tuple[Claim, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    tested: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """``mixed`` where its boards are of several kinds."""
        return "mixed" if len(self.kinds) > 1 else next(iter(self.kinds))


def parts_of(
    events: Iterable[Event], verdicts: Sequence[Mapping[str, Any]] | None
) -> tuple[tuple[tuple[str, Identity], ...], tuple[Operation, ...], list[str]]:
    """Identities, operations and flaws in the events of a test; others may be left out."""
    identities: list[tuple[str, Identity]] = []
    operations: list[Operation] = []
    flaws: list[str] = []
    stored = {row.get("operation"): row for row in verdicts or ()}
    for event in events:
        data = event.data
        if (event.source, event.kind) == ("rig", "identity"):
            told = (str(data.get(key)) for key in ("kind", "chip", "mac"))
            identities.append((str(event.board), Identity(*told)))
        elif (event.source, event.kind) == ("ota", "operation"):
            operations.append(_operation(event, stored.pop(data.get("number"), None)))
    if stored:
        flaws.append(f"verdict.json: operation {min(map(str, stored))} is not among the events")
    return tuple(identities), tuple(operations), flaws


def _operation(event: Event, verdict: Mapping[str, Any] | None) -> Operation:
    images = event.data.get("images")
    images = images if isinstance(images, dict) else {}
    offered = images.get(event.data.get("offered"))
    ended_on = verdict and images.get(verdict.get("running_image"))
    found = verdict.get("findings") if verdict else None
    names = (
        str(one.get("name"))
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict) and one.get("severity") != "info"
    )
    return Operation(
        event.board,
        _said(images.get(event.data.get("running")), "sha256"),
        _said(offered, "sha256"),
        _said(offered, "version"),
        _said(ended_on, "sha256"),
        tuple(names),
    )


def _said(image: Any, key: str) -> str | None:
    found = image.get(key) if isinstance(image, dict) else None
    return found if isinstance(found, str) else None


def run_seen(
    number: int,
    path: str,
    data: Mapping[str, Any],
    tests: Sequence[TestSeen],
    *,
    marks: Sequence[str],
    manifest_sha256: str,
) -> RunSeen:
    """A run from what its files hold.

    Args:
        number: its place among the runs given.
        data: ``run.json``.
        marks: what is wrong with its files.
    """
    boards, mixed = _boards(tests)
    began, ended = epoch(data.get("started")), epoch(data.get("finished"))
    problems = [
        *marks,
        *_of_the_run(data, boards),
        *_miscounted(data, tests),
        *mixed,
        *_clocks(tests, began, ended),
        *(f"{test.folder}: {flaw}" for test in tests for flaw in test.flaws),
    ]
    claims = tuple(_claim(number, path, one, boards, data, began or 0.0) for one in tests)
    kinds = frozenset(one.kind for test in tests for _, one in test.identities)
    return RunSeen(
        path=path,
        id=data.get("id"),
        rig=str(data.get("rig", "unknown")),
        rig_sha256=data.get("rig_file_sha256"),
        kinds=kinds or frozenset({"unknown"}),
        began=began or 0.0,
        ended=ended or 0.0,
        manifest_sha256=manifest_sha256,
        claims=claims,
        problems=tuple(dict.fromkeys(problems)),
        notes=tuple(_notes(kinds, data)),
        images={
            one.offered: one.version
            for test in tests
            for one in test.operations
            if one.offered and one.version
        },
        tested=tuple(dict.fromkeys(_tested(data, {name for one in tests for name in one.boards}))),
    )


def _tested(data: Mapping[str, Any], boards: set[str]) -> Iterator[tuple[str, str]]:
    firmware = data.get("firmware")
    for name, both in firmware.items() if isinstance(firmware, dict) else ():
        if name not in boards:
            continue
        files = [both[key] for key in ("new", "old") if _said(both.get(key), "path")]
        image = files[0] if files else both.get("new")
        if sha := _said(image, "sha256"):
            yield (_said(image, "path") or "new").replace("\\", "/").rpartition("/")[2], sha


def _notes(kinds: frozenset[str], data: Mapping[str, Any]) -> Iterator[str]:
    if len(kinds) > 1:
        yield f"boards of several kinds ran in it: {', '.join(sorted(kinds))}"
    if picked := [word for word in _arguments(data) if PICKS_TESTS.fullmatch(word)]:
        yield (
            f"its tests were picked one by one ({picked[0]}), so that others of the same scenarios "
            "may be missing from it"
        )


def _arguments(data: Mapping[str, Any]) -> Iterator[str]:
    """What pytest was told, on its command line and by its environment variable before that."""
    command = data.get("command")
    words = [str(word) for word in command] if isinstance(command, list) else []
    if words and words[0].startswith(ADDOPTS):
        yield from words.pop(0).removeprefix(ADDOPTS).split()
    yield from words[1:]


def _boards(tests: Sequence[TestSeen]) -> tuple[dict[str, Identity], list[str]]:
    """By name what each board said of itself; one that said two things is a problem."""
    said: dict[str, set[Identity]] = defaultdict(set)
    for test in tests:
        for name, identity in test.identities:
            said[name].add(identity)
    problems = [
        f"the name {name} stood for {count(len(all_of), 'board')}: "
        + ", ".join(sorted(f"{one.kind} {one.chip} {one.mac}" for one in all_of))
        for name, all_of in sorted(said.items())
        if len(all_of) > 1
    ]
    return {name: next(iter(all_of)) for name, all_of in said.items() if len(all_of) == 1}, problems


def _of_the_run(data: Mapping[str, Any], boards: Mapping[str, Identity]) -> Iterator[str]:
    if data.get("schema", 2) < 2:
        yield "it is of an old format, which does not say what its tests came to"
    if "finished" not in data:
        yield "it was killed, or still goes on: what stands on the disk is not all of it"
    elif data.get("complete") is not True:
        yield "it is not complete: it was stopped on its way"
    kinds = {one.kind for one in boards.values()}
    told, seen = data.get("rig_kind"), "mixed" if len(kinds) > 1 else next(iter(kinds), "unknown")
    if told not in ("unknown", seen) and kinds:
        yield f"run.json says that its boards are {told}, they said themselves that they are {seen}"


def _miscounted(data: Mapping[str, Any], tests: Sequence[TestSeen]) -> Iterator[str]:
    """Bad results that run.json counts and results.jsonl does not hold."""
    counted = data.get("counts")
    words = Counter(test.word for test in tests)
    for word in ("firmware", "rig", "error"):
        told = counted.get(word, 0) if isinstance(counted, dict) else 0
        if told > words[word]:
            yield f"run.json counts {told} {word}, results.jsonl holds {words[word]}"


def _clocks(tests: Sequence[TestSeen], began: float | None, ended: float | None) -> Iterator[str]:
    """Times that cannot be: a clock jumped, or somebody wrote them."""
    if began is None:
        yield "run.json does not say when it began"
        return
    if ended is not None and ended < began:
        yield f"it ended at {clock(ended)}, before it began at {clock(began)}: the clock jumped"
    for test in tests:
        if reason := _jumped(test, began, ended):
            yield f"{test.folder}: {reason}"


def _jumped(test: TestSeen, began: float, ended: float | None) -> str:
    if test.first is not None and test.last is not None:
        by = (test.last[1] - test.first[1]) - (test.last[0] - test.first[0])
        if abs(by) > JUMP_S:
            return f"the wall clock jumped by {by:.1f} s while it ran"
    for what, at in (("its line", test.began), ("its events", test.first and test.first[1])):
        if at is None:
            continue
        if at < began - SLACK_S:
            return f"by {what} it began at {clock(at)}, before its run did: the clock jumped"
        if ended is not None and at > ended + SLACK_S:
            return f"by {what} it began at {clock(at)}, after its run ended: the clock jumped"
    return ""


def wavered(events: Sequence[Event]) -> str:
    """Why the clock of a test cannot be believed that ran away within it and came back in time for
    its end; "" where it did not."""
    apart = [one.wall - one.t for one in events]
    if not apart or abs(apart[-1] - apart[0]) > JUMP_S:  # that is told of the whole test
        return ""
    farthest = max(apart, key=lambda by: abs(by - apart[0]))
    by = farthest - apart[0]
    at = events[apart.index(farthest)].seq
    return (
        f"the wall clock jumped by {by:.1f} s and back, at event #{at}" if abs(by) > WAVER_S else ""
    )


def _claim(
    number: int,
    path: str,
    test: TestSeen,
    boards: Mapping[str, Identity],
    data: Mapping[str, Any],
    start: float,
) -> Claim:
    names = {*test.boards, *(one.board for one in test.operations if one.board)}
    known = [boards[name] for name in names if name in boards]
    operations = test.operations
    first = test.first[1] if test.first else test.began
    began = first if first is not None else start
    return Claim(
        run=number,
        id=test.id,
        folder=f"{path}/{test.folder}" if test.folder else "",
        outcome=OUTCOMES.get(test.word, "none"),
        word=test.word or "unknown",
        message=test.message or "",
        scenarios=test.scenarios,
        boards=tuple(sorted(names)),
        chips=frozenset(one.chip for one in known),
        kinds=frozenset(one.kind for one in known)
        | (frozenset({"unknown"}) if len(known) < len(names) or not names else frozenset()),
        began=began,
        ended=test.last[1] if test.last else began,
        digest=test.digest,
        ran=frozenset(one.running for one in operations if one.running),
        offered=frozenset(one.offered for one in operations if one.offered),
        arrived=frozenset(
            one.offered for one in operations if one.offered and one.ended_on == one.offered
        ),
        named=frozenset(_named(data, names)),
        operations=operations,
        moments=(test.first, test.last) if test.first and test.last else None,
    )


def _named(data: Mapping[str, Any], boards: set[str]) -> Iterator[str]:
    firmware = data.get("firmware")
    for name, both in firmware.items() if isinstance(firmware, dict) else ():
        if name in boards or not boards:
            yield from (sha for one in both.values() if (sha := _said(one, "sha256")))


def epoch(said: object) -> float | None:
    """Seconds since the epoch of an ISO 8601 time with a zone; None if it is none."""
    if not isinstance(said, str):
        return None
    try:
        at = datetime.fromisoformat(said)
        return at.timestamp() if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def clock(at: float) -> str:
    """A time in words, in UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"


def iso(at: float) -> str:
    """A time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
