"""What one run says of one binary, for its test result. Pure: files are read by who calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_blynk_ota.gate.tie import Tie, tie_of

if TYPE_CHECKING:
    from pytest_blynk_ota.evidence.run import Run, StoredTest

ROLES = ("new", "old")
LISTS = {"passed": "passed", "xfailed": "warned", "xpassed": "warned", "firmware": "failed"}
"""What a test came to, to the list of its name. Of the others (skipped, the rig failed, the test
is written wrongly) nothing follows for the firmware: they are in none."""
WORST_FIRST = ("failed", "warned", "passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedRun:
    """One run, as far as it had one binary.

    Attributes:
        run: its id; of schema 1, its name.
        rig: the rig's name.
        rig_kind: what its boards say they are made of.
        manifest_sha256: of its ``manifest.json``.
        started, finished: ISO 8601, as run.json has it.
        roles: what the binary was in it: ``new``, ``old``.
        passed, warned, failed: names of its tests, sorted; each in one list, the worst it came to.
        whole: nothing else happened: no test ended otherwise, and the run came to its end.
        slot, elf: how many of its tests are tied to the binary, by what.
    """

    __test__ = False

    run: str
    rig: str
    rig_kind: str
    manifest_sha256: str
    started: str
    finished: str
    roles: tuple[str, ...]
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
    """What a run says of a binary; None if no board of it had that.

    Args:
        run: the run.
        manifest_sha256: of its ``manifest.json``.
        sha256: of the binary.
        events_of: gives a test's ``events.jsonl``; called for those of boards that had the binary.
    """
    boards = dict(_boards(run, sha256))
    if not boards:
        return None
    tests = [test for test in run.tests if test.result and boards.keys() & set(test.result.boards)]
    lists = _lists(tests)
    ties = [tie_of(events_of(test), sha256) if test.folder else Tie() for test in tests]
    return TestedRun(
        run=run.id or run.name,
        rig=str(run.data.get("rig") or "unknown"),
        rig_kind=str(run.data.get("rig_kind") or "unknown"),
        manifest_sha256=manifest_sha256,
        started=str(run.data.get("started") or "unknown"),
        finished=str(run.data.get("finished") or "unknown"),
        roles=tuple(role for role in ROLES if any(role in found for found in boards.values())),
        **lists,
        whole=run.complete and all(test.word in LISTS or test.word == "skipped" for test in tests),
        slot=sum(tie.slot for tie in ties),
        elf=sum(tie.elf for tie in ties),
    )


def _boards(run: Run, sha256: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The boards that had a binary, each with what it was there."""
    firmware: Any = run.data.get("firmware") or {}
    for board, images in firmware.items():
        roles = frozenset(
            role for role in ROLES if (images.get(role) or {}).get("sha256") == sha256
        )
        if roles:
            yield board, roles


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
