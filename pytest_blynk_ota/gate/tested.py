"""What one run says of one binary, for its test result. Pure: files are read by who calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.gate.tie import ROLES, Seen, seen_in

if TYPE_CHECKING:
    from pytest_blynk_ota.evidence.run import Run, StoredTest

LISTS = {"passed": "passed", "xpassed": "warned", "xfailed": "failed", "firmware": "failed"}
"""What a test came to, to the list of its name. Of the others (skipped, the rig failed, the test
is written wrongly) nothing follows for the firmware: they are in none."""
WORST_FIRST = ("failed", "warned", "passed")
UNKNOWN, MIXED = "unknown", "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedRun:
    """One run, as far as it had one binary.

    Attributes:
        run: its id; of schema 1, its name.
        rig: the rig's name.
        rig_kind: what its boards said they are made of; ``mixed``, ``unknown``.
        rig_sha256: of the rig file; None where that is not on record.
        manifest_sha256: of its ``manifest.json``.
        started, finished: ISO 8601, as run.json has it.
        roles: what the binary was in it: ``new``, ``old``.
        derived_from: of the image that it was made from, by run.json; None where it was given.
        passed, warned, failed: names of its tests, sorted; each in one list, the worst it came to.
        whole: nothing else happened: no test ended otherwise, and the run came to its end.
        slot, elf: how many of its tests are tied to the binary, by what.
    """

    __test__ = False

    run: str
    rig: str
    rig_kind: str
    rig_sha256: str | None
    manifest_sha256: str
    started: str
    finished: str
    roles: tuple[str, ...]
    derived_from: str | None
    passed: tuple[str, ...]
    warned: tuple[str, ...]
    failed: tuple[str, ...]
    whole: bool
    slot: int
    elf: int

    @property
    def result(self) -> str:
        """``PASSED``, ``WARNED`` or ``FAILED``; a run that shows nothing has not passed."""
        if self.failed:
            return "FAILED"
        return "PASSED" if self.passed and not self.warned and self.whole else "WARNED"


def tested(
    run: Run,
    manifest_sha256: str,
    sha256: str,
    events_of: Callable[[StoredTest], bytes],
) -> TestedRun | None:
    """What a run says of a binary; None if no test of it had that.

    Args:
        run: the run.
        manifest_sha256: of its ``manifest.json``.
        sha256: of the binary.
        events_of: gives a test's ``events.jsonl``.
    """
    named = dict(_boards(run, sha256))
    every = [(test, seen_in(events_of(test), sha256)) for test in run.tests if test.result]
    mine = [(test, seen) for test, seen in every if _concerns(test, seen, named)]
    if not mine:
        return None
    tests = [test for test, _ in mine]
    roles = {role for _, seen in mine for role in seen.roles} or {
        role for roles in named.values() for role in roles
    }
    return TestedRun(
        run=run.id or run.name,
        rig=str(run.data.get("rig") or UNKNOWN),
        rig_kind=_kind(seen for _, seen in every),
        rig_sha256=run.data.get("rig_file_sha256"),
        manifest_sha256=manifest_sha256,
        started=str(run.data.get("started") or UNKNOWN),
        finished=str(run.data.get("finished") or UNKNOWN),
        roles=tuple(role for role in ROLES if role in roles),
        derived_from=_original(run, sha256),
        **_lists(tests),
        whole=run.complete and all(test.word in (*LISTS, "skipped") for test in tests),
        slot=sum(seen.slot for _, seen in mine),
        elf=sum(seen.elf for _, seen in mine),
    )


def _concerns(test: StoredTest, seen: Seen, named: Mapping[str, frozenset[str]]) -> bool:
    """Whether the binary took part in a test; of one without an update, whether it was to."""
    if seen.roles or seen.others:
        return bool(seen.roles)
    return test.result is not None and not named.keys().isdisjoint(test.result.boards)


def _kind(seen: Iterable[Seen]) -> str:
    kinds = frozenset().union(*(one.kinds for one in seen))
    return MIXED if len(kinds) > 1 else next(iter(kinds), UNKNOWN)


def _boards(run: Run, sha256: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The boards that had a binary by run.json, each with what it was there."""
    for board, images in _firmware(run).items():
        roles = frozenset(role for role in ROLES if _sha256(images, role) == sha256)
        if roles:
            yield board, roles


def _original(run: Run, sha256: str) -> str | None:
    """The Old that a New was made from: where no file was given for New and one for Old."""
    for images in _firmware(run).values():
        new, old = images.get("new") or {}, images.get("old") or {}
        if new.get("sha256") == sha256 and not new.get("path") and old.get("path"):
            return _sha256(images, "old")
    return None


def _firmware(run: Run) -> Mapping[str, Any]:
    found: Mapping[str, Any] = run.data.get("firmware") or {}
    return found


def _sha256(images: Mapping[str, Any], role: str) -> str | None:
    found = (images.get(role) or {}).get("sha256")
    return found if isinstance(found, str) else None


def _lists(tests: Sequence[StoredTest]) -> dict[str, tuple[str, ...]]:
    """The names by what they came to; one that ran more than once has the worst of it."""
    worst: dict[str, str] = {}
    for test in tests:
        came = LISTS.get(test.word or "")
        if came is not None:
            before = worst.get(test.id, came)
            worst[test.id] = min(came, before, key=WORST_FIRST.index)
    return {
        name: tuple(sorted(test for test, came in worst.items() if came == name))
        for name in WORST_FIRST
    }
