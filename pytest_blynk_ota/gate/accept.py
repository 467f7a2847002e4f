"""Which of the evidence may count for one binary, and why the rest may not. Pure; the time is an
argument."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from pytest_blynk_ota.gate.claims import Claim, RunSeen, clock
from pytest_blynk_ota.gate.words import count

FUTURE_S = 300.0
"""Seconds by which the clock of another host may be ahead of ours."""
PROBLEMS_TOLD = 5
"""Of one run; the number tells of the others."""


@dataclass(frozen=True, slots=True)
class Binary:
    """The binary that is decided on.

    Attributes:
        name: of its file.
        chip: that it is for; None where only its hash is known.
        derived: sha256 of images in the evidence that were made from it in a way that the policy
            allows, worked out from its bytes.
        refused: likewise, in a way that the policy does not allow.
        given: as the user named it; "" where only its hash is known.
    """

    name: str
    sha256: str
    chip: str | None = None
    derived: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    given: str = ""

    @property
    def hashes(self) -> frozenset[str]:
        """Its own, and those of what may stand for it."""
        return self.derived | {self.sha256}


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the evidence.

    Attributes:
        blocks: whether the gate must not pass because of it.
        remedy: what to do; "" for nothing.
    """

    run: str
    text: str
    blocks: bool = False
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The evidence that may count, and what was said of the rest.

    Attributes:
        claims: of tests in which the binary took part, in the order of their time.
        runs: all that were given, each once.
        notes: what is wrong with it, and what was left out.
        barred: of tests in which only images made from it took part, which the policy does not let
            stand for it.
    """

    claims: tuple[Claim, ...]
    runs: tuple[RunSeen, ...]
    notes: tuple[Note, ...]
    barred: tuple[Claim, ...] = ()

    @property
    def blocked(self) -> frozenset[str]:
        """Paths of runs that must not make the gate pass."""
        return frozenset(note.run for note in self.notes if note.blocks)


def accept(runs: Sequence[RunSeen], binary: Binary, now: float) -> Accepted:
    """Sort out the evidence on one binary.

    Args:
        now: seconds since the epoch.
    """
    notes: list[Note] = []
    once = list(_once(runs, notes))
    for run in once:
        notes += _of_run(run, now)
    notes += _copies(once)
    claims = [one for run in once for one in run.claims]
    notes += _strangers(once, binary)
    mine = [one for one in claims if concerns(one, binary)]
    barred = [one for one in claims if one.touched & binary.refused and not concerns(one, binary)]
    return Accepted(tuple(sorted(mine, key=_order)), tuple(once), tuple(notes), tuple(barred))


def _order(claim: Claim) -> tuple[float, str, str]:
    return claim.began, claim.id, claim.digest or ""


def concerns(claim: Claim, binary: Binary) -> bool:
    """Whether the binary took part in a test; of one without an update, whether it was to."""
    if claim.touched:
        return bool(claim.touched & binary.hashes)
    return bool(claim.named & binary.hashes)


def _once(runs: Sequence[RunSeen], notes: list[Note]) -> Iterator[RunSeen]:
    """Each run once; of two with one id that differ, both, for one of them was changed."""
    seen: dict[str, RunSeen] = {}
    for run in sorted(runs, key=lambda one: (one.began, one.manifest_sha256, one.path)):
        key = run.id or run.manifest_sha256
        before = seen.get(key) if key else None
        if before is None:
            if key:
                seen[key] = run
            yield run
        elif before.manifest_sha256 == run.manifest_sha256:
            notes.append(Note(run.path, f"is {before.path} again: it counts once"))
        else:
            what = (
                f"has the id of {before.path} ({run.id}), and other files: one of them was changed"
            )
            notes.append(Note(run.path, what, True, "give the one that the runner wrote"))
            yield run


def _of_run(run: RunSeen, now: float) -> Iterator[Note]:
    remedy = "leave it out and run it again, or take it from the runner once more"
    for text in run.problems[:PROBLEMS_TOLD]:
        yield Note(run.path, text, True, remedy)
    if (left := len(run.problems) - PROBLEMS_TOLD) > 0:
        yield Note(run.path, f"and {count(left, 'problem')} more", True, remedy)
    for text in run.notes:
        yield Note(run.path, text)
    latest = max([run.began, run.ended, *(one.ended for one in run.claims)])
    if latest > now + FUTURE_S:
        yield Note(
            run.path,
            f"it is of {clock(latest)}, which is to come: it is {clock(now)} here",
            True,
            "set the clocks of runner and gate, and run it again",
        )


def _copies(runs: Sequence[RunSeen]) -> Iterator[Note]:
    """Tests whose events are those of another test, or began and ended in the same microseconds: no
    two tests do."""
    paths = {claim.run: run.path for run in runs for claim in run.claims}
    for told, key in COPIES:
        same: dict[Hashable, list[Claim]] = defaultdict(list)
        for run in runs:
            for claim in run.claims:
                if (value := key(claim)) is not None:
                    same[value].append(claim)
        copied: Counter[tuple[str, str]] = Counter()
        for first, *others in same.values():
            copied.update((paths[one.run], paths[first.run]) for one in others)
        for (path, of), number in sorted(copied.items()):
            what = f"the evidence of {count(number, 'test')} is that of {of}, {told}: it was copied"
            yield Note(path, what, True, "leave the copy out")
        if copied:
            return


COPIES: Sequence[tuple[str, Callable[[Claim], Hashable]]] = (
    ("byte for byte", lambda claim: claim.digest),
    ("to the microsecond", lambda claim: claim.moments),
)


def _strangers(runs: Sequence[RunSeen], binary: Binary) -> Iterator[Note]:
    """Results on other binaries; of a run without any of this one, which they are."""
    for run in runs:
        others = [one for one in run.claims if not concerns(one, binary)]
        if not others:
            continue
        of = Counter(sha for one in others for sha in one.offered or one.named)
        named = ", ".join(f"{sha[:12]}…" for sha, _ in of.most_common(3)) or "no binary"
        yield Note(
            run.path,
            f"{count(len(others), 'result is', 'results are')} not of {binary.sha256[:12]}…: "
            f"{named}{_made_from_it(of, binary)}: they do not count",
        )


def _made_from_it(of: Counter[str], binary: Binary) -> str:
    if binary.refused.isdisjoint(of):
        return ""
    return ", made from it under another version, which the policy does not let stand for it"
