"""What run.json and results.jsonl say of each other, and whether it agrees. Pure: no file.

Whatever the manifest says: each of the files is believed alone, by an exit code here and by a
reader of the page there. What an older format did not hold is not asked of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_blynk_ota.evidence import chain
from pytest_blynk_ota.evidence.event import shown
from pytest_blynk_ota.evidence.marks import Flaw, Mark
from pytest_blynk_ota.evidence.results import RESULTS, TestResult, counted, result_of

RUN = "run.json"
RESULT_WORDS = ("ok", "incomplete", "rig", "firmware")
"""What a run may come to, the best first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One whole line of results.jsonl: as it stands, and what it says."""

    number: int
    text: bytes
    result: TestResult


@dataclass(frozen=True, slots=True)
class Said:
    """What two files of a run say.

    Attributes:
        data: run.json as it stands.
        schema: the version that it claims.
        lines: of results.jsonl.
    """

    data: Mapping[str, Any]
    schema: int
    lines: Sequence[Line]

    @property
    def counts(self) -> Counter[str]:
        """How many tests came to what, by their lines."""
        return counted((line.result.id, line.result.word) for line in self.lines)

    @property
    def ended(self) -> bool:
        """Whether the end of the run was written."""
        return "finished" in self.data


def disagreements(said: Said) -> Iterator[Mark]:
    """What in the two files does not agree."""
    for since, check in CHECKS:
        if said.schema >= since:
            yield from check(said)


def _edited(what: str) -> Mark:
    return Mark(RUN, Flaw.EDITED, what)


def _result(said: Said) -> Iterator[Mark]:
    """A run that says it came to less than one of its tests did."""
    word = said.data.get("result")
    came = result_of(said.counts, complete=True)
    if word in RESULT_WORDS and said.ended:
        if not said.lines:
            if word == "ok":
                yield _edited("result: it says ok, but no test is on record")
        elif RESULT_WORDS.index(word) < RESULT_WORDS.index(came):
            yield _edited(f"result: it says {word}, but the tests in {RESULTS} came to {came}")


def _end(said: Said) -> Iterator[Mark]:
    """Whether all that a run writes at its end is there, and unchanged."""
    complete = said.data.get("complete") is True
    if complete and not said.ended:
        yield _edited("it says that it is complete, and not when it finished")
    if said.ended and said.data.get(chain.DIGEST) != chain.of_run(said.data):
        yield _edited("its content is not that of its digest")
    if not said.ended and (left := sorted(set(said.data) & ONLY_AT_THE_END)):
        yield _edited(f"{left[0]}: only the end of a run writes it, and there is no finished")


ONLY_AT_THE_END = frozenset({"results", "collected", "ended", "logs", chain.DIGEST})


def _exact(said: Said) -> Iterator[Mark]:
    """Whether the numbers are those of the lines."""
    if not said.ended:
        return
    data, counts = said.data, said.counts
    complete = data.get("complete") is True
    if data.get("counts") != dict(counts):
        yield _edited(f"counts: it has {shown(data.get('counts'))}, {RESULTS} {dict(counts)}")
    if data.get("result") != (came := result_of(counts, complete)):
        yield _edited(f"result: it says {shown(data.get('result'))}, its tests came to {came}")
    collected, ended = data.get("collected"), data.get("ended")
    if type(collected) is not int or type(ended) is not int:
        yield _edited("collected, ended: expected two whole numbers")
    elif counts.total() > ended or (complete and collected > ended):
        what = f"of {collected} tests collected {ended} ended, {counts.total()} of them on the rig"
        yield _edited(f"{what}, and it says that it is{'' if complete else ' not'} complete")


def _chained(said: Said) -> Iterator[Mark]:
    """Whether each line follows the one before, and the last is the last."""
    last = chain.of_start(said.data)
    for line in said.lines:
        if line.result.before != last:
            what = "the beginning of run.json" if line.number == 1 else "the line before it"
            yield Mark(RESULTS, Flaw.EDITED, f"line {line.number} does not follow {what}")
            return
        last = chain.of_line(line.text)
    if not said.ended:
        return
    told = said.data.get("results")
    told = told if isinstance(told, dict) else {}
    if told.get("lines") != len(said.lines):
        what = f"it has {len(said.lines)} lines, the run ended with {told.get('lines')!r}"
        yield Mark(RESULTS, Flaw.CUT, what)
    elif told.get("last") != last:
        yield Mark(RESULTS, Flaw.EDITED, "its last line is not that with which the run ended")


CHECKS: Sequence[tuple[int, Callable[[Said], Iterator[Mark]]]] = (
    (2, _result),
    (chain.SINCE, _end),
    (chain.SINCE, _exact),
    (chain.SINCE, _chained),
)
"""From which schema of run.json on what is asked."""


def too_new(said: Said, *, manifest: bool, results: bool, bound: bool) -> Iterator[Mark]:
    """What a run has that the format it claims did not.

    Args:
        said: the two files.
        manifest: whether there is a manifest.json.
        results: whether there is a results.jsonl.
        bound: whether the evidence of a test names its run.
    """
    own = [line.result for line in said.lines]
    has: Sequence[tuple[int, str, bool]] = (
        (2, "an id", "id" in said.data),
        (2, "a manifest.json", manifest),
        (2, f"a {RESULTS}", results),
        (3, "a digest", bool(ONLY_AT_THE_END & set(said.data))),
        (3, f"a {RESULTS} whose lines hold together", any(one.before for one in own)),
        (3, "evidence that names its run", bound),
    )
    for since, what, there in has:
        if there and said.schema < since:
            why = f"schema: it says {said.schema}, but it has {what}"
            yield _edited(f"{why}, which came with {since}")
            return
